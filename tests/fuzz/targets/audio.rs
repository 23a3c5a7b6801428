//! Recordings: wav, flac, ogg, mp3 and opus, to samples at 16 kHz. Decoders of others that panic are caught; this is about the rest.
#![no_main]

use std::panic;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    // libFuzzer's hook ends the process also for panics that are caught.
    panic::set_hook(Box::new(|_| {}));
    std::env::temp_dir().join(format!("kws-fuzz-{}", std::process::id()))
});

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, data).expect("room for a file");
    let _ = kws_live::audio::decode_16k(&FILE);
});
