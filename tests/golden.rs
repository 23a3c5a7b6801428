//! The front end against values computed by its definition (the generator lies beside them), and the models against what they heard
//! when they were made.

mod common;

use std::path::Path;

use kws_live::audio::decode_16k;
use kws_live::frontend::{FrontendConfig, log_mel};
use kws_live::model::Bundle;
use kws_live::spotter::SpotterConfig;

#[test]
fn log_mel_is_what_its_definition_says() {
    let samples: Vec<f32> = (0..1040)
        .map(|n| {
            let t = std::f64::consts::TAU * f64::from(n) / 16_000.0;
            (0.3 * (440.0 * t).sin() + 0.1 * (2_500.0 * t + 1.0).sin()) as f32
        })
        .collect();
    let config = FrontendConfig { norm_seconds: 0.0, ..FrontendConfig::default() };
    let got = log_mel(&config, &samples).expect("the default front end");
    let want: Vec<f32> =
        include_str!("golden/log_mel.txt").split_whitespace().map(|v| v.parse().expect("a number")).collect();
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        // Single precision leaves about 1e-7 of the loudest power in every band.
        let tolerance = if *w > -4.0 { 2e-3 } else { 0.1 };
        assert!((g - w).abs() < tolerance, "frame {}, band {}: {g}, by definition {w}", i / 40, i % 40);
    }
}

/// Detections of a model at its own threshold in the fixture, a line each: model, keyword, start and end in seconds, score.
fn heard(model: &str) -> Vec<String> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let bundle = Bundle::load(&models.join(model)).expect("the model");
    let keywords = "hello, yellow, station, nation, stop, top";
    let mut spotter = common::spotter(&bundle, SpotterConfig::default(), keywords);
    let samples = decode_16k(&common::recording()).expect("the fixture");
    let mut out = Vec::new();
    let mut tell = |hit: &kws_live::spotter::Detection| {
        let second = |sample: u64| sample as f64 / 16_000.0;
        out.push(format!("{model} {} {:.2} {:.2} {:.3}", hit.name, second(hit.start), second(hit.end), hit.score));
    };
    spotter.process(&samples, &mut tell).expect("samples");
    spotter.flush(&mut tell).expect("the end");
    out
}

/// Other tests listen at a low threshold and would not notice models that hear less. With other weights or another calibration the file is
/// written anew, from what this prints.
#[test]
fn models_hear_what_they_heard_when_they_were_made() {
    let got: Vec<String> = ["default", "search", "small"].into_iter().flat_map(heard).collect();
    let want: Vec<&str> = include_str!("golden/heard.txt").lines().collect();
    let close = |got: &String, want: &&str| {
        let (got, want): (Vec<&str>, Vec<&str>) = (got.split(' ').collect(), want.split(' ').collect());
        let number = |text: &str| text.parse::<f64>().expect("a number");
        // A frame of 30 ms, and what other processors compute otherwise.
        got[..2] == want[..2]
            && (2..4).all(|i| (number(got[i]) - number(want[i])).abs() < 0.035)
            && (number(got[4]) - number(want[4])).abs() < 0.02
    };
    let same = got.len() == want.len() && got.iter().zip(&want).all(|(got, want)| close(got, want));
    assert!(same, "now:\n{}\n", got.join("\n"));
}
