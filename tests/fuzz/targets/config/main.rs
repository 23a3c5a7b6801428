//! `--config`: the program's own modules, by links beside this file.
#![no_main]
#![allow(dead_code, unused_imports, unexpected_cfgs)]

mod args;
mod files;
mod service {
    pub mod config;
}

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| std::env::temp_dir().join(format!("kws-fuzz-{}.toml", std::process::id())));

fuzz_target!(|text: &str| {
    std::fs::write(&*FILE, text).expect("room for a file");
    let line = ["kws-live".into(), "--config".into(), FILE.clone().into_os_string()];
    let _ = service::config::load(&line);
});
