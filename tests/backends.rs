//! tract and ONNX Runtime give the same scores. Needs the feature `ort` and the library that ORT_DYLIB_PATH names.
#![cfg(all(feature = "ort", feature = "tract"))]

mod common;

use kws_live::audio::decode_16k;
use kws_live::model::{Backend, BackendChoice, Bundle, ModelError, Provider};
use kws_live::spotter::{SpotError, Spotter, SpotterConfig};

/// Scores of every keyword after every 90 ms, and the pronunciation guessed for a made-up word.
fn scores(bundle: &Bundle, backend: Backend) -> Vec<f32> {
    let choice = BackendChoice { backend, provider: Provider::Cpu };
    let config = SpotterConfig { choice, ..SpotterConfig::default() };
    let mut spotter = common::spotter(bundle, config, "hello, stop, blorptastic");
    let samples = decode_16k(&common::recording()).expect("the fixture");
    let mut out = Vec::new();
    for piece in samples.chunks(1_440) {
        spotter.process(piece, |_| {}).expect("samples");
        out.extend(spotter.keywords().map(|k| k.score));
    }
    out
}

#[test]
fn both_backends_give_the_same_scores() {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        return common::skip("ORT_DYLIB_PATH is not set: eval \"$(.ci/libtorch)\" sets it");
    }
    let bundle = Bundle::embedded().expect("the built-in model");
    let (a, b) = (scores(&bundle, Backend::Tract), scores(&bundle, Backend::Ort));
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "scores differ by {worst}");
    assert!(a.iter().any(|s| *s > 0.01), "the scores say something");
}

#[test]
fn a_provider_that_is_not_there_is_told() {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        return common::skip("ORT_DYLIB_PATH is not set: eval \"$(.ci/libtorch)\" sets it");
    }
    let bundle = Bundle::embedded().expect("the built-in model");
    let choice = BackendChoice { backend: Backend::Ort, provider: Provider::Cuda };
    // With a GPU build of the library on a machine with a GPU this succeeds, and the scores are tested by the others.
    if let Err(error) = Spotter::new(&bundle, SpotterConfig { choice, ..SpotterConfig::default() }) {
        assert!(matches!(error, SpotError::Model(ModelError::Runtime(_) | ModelError::Graph { .. })), "{error}");
        assert!(error.to_string().contains("CUDA"), "{error}");
    }
}
