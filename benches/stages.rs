//! Every stage by itself, over ten seconds of speech; the encoder over six.
#![allow(missing_docs, reason = "criterion's macros make public items")]

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kws_live::audio::{Resampler, capture_ring};
use kws_live::detect::{Matcher, PhonePaths, PrefixRing};
use kws_live::frontend::LogMel;
use kws_live::model::{BackendChoice, EncoderOutput};

const SECONDS: u64 = 10;
/// Frames that the encoder is given: whole chunks of every size, six seconds.
const FRAMES: usize = 200;

fn input(c: &mut Criterion) {
    let samples = common::speech();
    let mut group = c.benchmark_group("input");
    group.throughput(Throughput::Elements(SECONDS));
    group.bench_function("ring", |b| {
        let (mut writer, mut reader) = capture_ring(32_000);
        let mut out = [0.0; 512];
        b.iter(|| {
            for block in samples.chunks(512) {
                writer.push(block);
                black_box(reader.read(&mut out));
            }
        });
    });
    for rate in [44_100, 48_000] {
        let longer: Vec<f32> = samples.iter().copied().cycle().take(rate as usize * SECONDS as usize).collect();
        group.bench_function(BenchmarkId::new("resample", rate), |b| {
            let mut resampler = Resampler::new(rate).expect("a usual rate");
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                longer.chunks(480).for_each(|block| resampler.push(block, &mut out));
            });
        });
    }
    group.bench_function("log-mel", |b| {
        let mut mel = LogMel::new(&common::bundle().manifest.frontend).expect("the model's front end");
        b.iter(|| mel.push(&samples, |frame| _ = black_box(frame[0])));
    });
    group.finish();
}

/// Features of the recording, whole.
fn features() -> Vec<f32> {
    kws_live::frontend::log_mel(&common::bundle().manifest.frontend, &common::speech()).expect("the model's front end")
}

fn encoder(c: &mut Criterion) {
    let bundle = common::bundle();
    let features = features();
    let mut group = c.benchmark_group("encoder, tract");
    group.throughput(Throughput::Elements(6));
    group.sample_size(10);
    for frames in [1, 4, 8, 100] {
        group.bench_function(BenchmarkId::new("frames a chunk", frames), |b| {
            let mut encoder = bundle.encoder(BackendChoice::default()).expect("the built-in model");
            let unit = encoder.spec().stride * encoder.spec().mels;
            let mut out = EncoderOutput::default();
            b.iter(|| {
                for piece in features[..FRAMES * unit].chunks_exact(frames * unit) {
                    encoder.encode(piece, &mut out).expect("a chunk");
                }
            });
        });
    }
    group.finish();
}

fn matcher(c: &mut Criterion) {
    let bundle = common::bundle();
    let features = features();
    let mut encoder = bundle.encoder(BackendChoice::default()).expect("the built-in model");
    let spec = encoder.spec().clone();
    let whole = features.len() / (spec.stride * spec.mels) * spec.stride * spec.mels;
    let mut out = EncoderOutput::default();
    encoder.encode(&features[..whole], &mut out).expect("whole frames");
    let mut group = c.benchmark_group("matcher");
    group.throughput(Throughput::Elements(SECONDS));
    group.sample_size(10);
    group.bench_function("prefix sums and pooling", |b| {
        let windows = &bundle.manifest.scorer.window_frames;
        let longest = windows.last().copied().unwrap_or(1);
        let mut ring = PrefixRing::new(spec.parts, spec.part_dim, longest);
        let mut pooled = vec![0.0; spec.proj_dim()];
        b.iter(|| {
            for row in out.proj.chunks_exact(spec.proj_dim()) {
                ring.push(row);
                for &length in windows {
                    ring.pool(ring.count(), length, &mut pooled);
                }
            }
        });
    });
    for count in [1, 10, 100, 1_000] {
        let keywords = common::keywords(&bundle, count);
        group.bench_function(BenchmarkId::new("phone paths", count), |b| {
            let mut paths = PhonePaths::default();
            for keyword in &keywords {
                paths.add(&keyword.pronunciations[0].phones);
            }
            b.iter(|| {
                for row in out.phones.chunks_exact(spec.classes) {
                    paths.step(row);
                }
            });
        });
        group.bench_function(BenchmarkId::new("all", count), |b| {
            let head = Box::new(bundle.window_head(BackendChoice::default()).expect("the built-in model"));
            let mut matcher = Matcher::new(bundle.manifest.scorer.clone(), &spec, head, 0.03);
            matcher.set_keywords(keywords.iter());
            b.iter(|| matcher.process(&out, 0, |_, _, score| _ = black_box(score)).expect("a chunk"));
        });
    }
    group.finish();
}

criterion_group!(benches, input, encoder, matcher);
criterion_main!(benches);
