//! The whole: samples to detections, live chunks of 120 ms, and of 90, and scan chunks of 3 s.
#![allow(missing_docs, reason = "criterion's macros make public items")]

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kws_live::spotter::{Spotter, SpotterConfig};

fn pipeline(c: &mut Criterion) {
    let bundle = common::bundle();
    let samples = common::speech();
    for (name, chunk_frames) in [("live", 4), ("live, 90 ms", 3), ("scan", 100)] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(10));
        group.sample_size(10);
        for count in [1, 10, 100, 1_000] {
            group.bench_function(BenchmarkId::new("keywords", count), |b| {
                let config = SpotterConfig { chunk_frames, ..SpotterConfig::default() };
                let mut spotter = Spotter::new(&bundle, config).expect("the built-in model");
                for keyword in common::keywords(&bundle, count) {
                    spotter.add(keyword);
                }
                b.iter(|| spotter.process(&samples, |hit| _ = black_box(hit.score)).expect("samples"));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
