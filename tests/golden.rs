//! The front end against values computed by its definition; the generator lies beside them.

use kws_live::frontend::{FrontendConfig, log_mel};

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
