//! What the benches share: the built-in model, a recording, keywords.

use std::path::Path;

use kws_live::audio::decode_16k;
use kws_live::detect::Keyword;
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::text::{KeywordSpec, Phone};

/// The built-in model.
pub fn bundle() -> Bundle {
    Bundle::embedded().expect("the built-in model")
}

/// Ten seconds of speech.
pub fn speech() -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hello-stop.wav");
    decode_16k(&path).expect("the fixture").iter().copied().cycle().take(160_000).collect()
}

/// `count` keywords of four to nine phones, all different.
pub fn keywords(bundle: &Bundle, count: usize) -> Vec<Keyword> {
    let mut enroller = Enroller::new(bundle, BackendChoice::default()).expect("the built-in model");
    let mut state = 1_u64;
    (0..count)
        .map(|i| {
            let mut next = |n: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % n
            };
            let phones = (0..4 + next(6)).filter_map(|_| Phone::from_id(1 + next(39) as usize)).collect();
            let spec = KeywordSpec { phones: vec![phones], ..KeywordSpec::new(&format!("word {i}")) };
            enroller.text(&spec).expect("phones")
        })
        .collect()
}
