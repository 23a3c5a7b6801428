//! Recordings: wav, flac, ogg, mp3 and opus, to samples at 16 kHz.
#![no_main]

use std::panic;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    // Decoders of others may panic, and are caught; libFuzzer's hook would end the process for that. Our own code around them runs under
    // the same guard, and must not panic.
    panic::set_hook(Box::new(|panic| {
        let others = |file: &str| file.contains("/registry/") || file.starts_with("/rustc/");
        if !panic.location().is_some_and(|at| others(at.file())) {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
    std::env::temp_dir().join(format!("kws-fuzz-{}", std::process::id()))
});

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, data).expect("room for a file");
    let _ = kws_live::audio::decode_16k(&FILE);
});
