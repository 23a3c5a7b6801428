//! `manifest.toml` of a model, with all that is checked before its files are opened.
#![no_main]

use kws_live::model::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(manifest) = toml::from_str::<Manifest>(text) else { return };
    if manifest.check().is_ok() {
        let _ = manifest.encoder_spec();
        let _ = kws_live::frontend::LogMel::new(&manifest.frontend);
    }
});
