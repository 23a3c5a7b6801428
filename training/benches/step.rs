//! A training step of `stream`, whole and in parts, in seconds of audio a second (criterion's `elem/s`), on real batches.
//!
//! From the repository's root, after `kws-train prepare`: `cargo bench -p kws-train`; `KWS_CONFIG` names another configuration.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kws_train::data::Cache;
use kws_train::data::prepare::corpora;
use kws_train::fit::{FitConfig, computes_bf16, stream_batcher};
use kws_train::model::StreamModel;
use kws_train::net::{Mode, Norm};
use kws_train::optim::Optimizer;
use tch::{Device, Kind, Tensor};

fn step(c: &mut Criterion) {
    // cargo starts benches in the crate's folder; the paths of a configuration begin at the repository's root.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).expect("the repository");
    let file = std::env::var_os("KWS_CONFIG").unwrap_or_else(|| "training/configs/stream.toml".into());
    let config = FitConfig::read(file.as_ref()).expect("a configuration");
    let cache: &'static Cache = Box::leak(Box::new(Cache::read(&config.cache).expect("what kws-train prepare makes")));
    let corpora = corpora(&config.data, &config.extra).expect("corpora");
    let mut batcher = stream_batcher(&config, cache, &corpora, 0).expect("words");
    let batch = batcher.batch(1).expect("a batch");
    tch::set_num_threads(2);
    let model = StreamModel::new(Device::Cpu, &config.stream, &config.text);
    let variables = model.vars.variables().into_iter().filter(|(_, v)| v.requires_grad()).collect();
    let mut optimizer = Optimizer::new(variables, config.optim.clone());
    let mode = Mode { norm: Norm::Batch, bf16: config.bf16 && computes_bf16(Device::Cpu) };
    let loss = || model.loss(&batch, &config.loss, false, mode, None).expect("a batch of that shape").0;
    // Without gradients the optimizer does nothing, where it is measured alone.
    loss().backward();

    let mut group = c.benchmark_group("train");
    group.throughput(Throughput::Elements(batch.seconds as u64));
    group.sample_size(10);
    let mut at = 1;
    group.bench_function("loading, one thread", |b| {
        b.iter(|| {
            at += 1;
            black_box(batcher.batch(at).expect("a batch"))
        });
    });
    group.bench_function("encoder", |b| {
        b.iter(|| {
            let features = Tensor::from_slice(&batch.features).view(batch.features_shape);
            let (logits, proj) = model.net.forward(&features, mode);
            (logits.sum(Kind::Float) + proj.sum(Kind::Float)).backward();
        });
    });
    group.bench_function("text tower", |b| {
        b.iter(|| model.text.forward(&batch.texts, Device::Cpu, mode).sum(Kind::Float).backward());
    });
    group.bench_function("optimizer", |b| b.iter(|| optimizer.step(1, 1e-9)));
    group.bench_function("step", |b| {
        b.iter(|| {
            let loss = loss();
            optimizer.zero_grad();
            loss.backward();
            optimizer.step(1, 1e-9)
        });
    });
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
