//! `kws-live`: type any word, it listens.
//!
//! Results go to stdout, everything else to stderr. Exit 0: something was detected (or the command did its work, or a signal ended a live run without a screen),
//! 1: nothing was detected, 2: an error, told in one line.

mod args;
mod cmd;
mod events;
mod files;
#[cfg(feature = "http")]
mod http;
mod net;
mod output;
#[cfg(any(feature = "mic", feature = "tui"))]
mod quiet;
mod service;
#[cfg(feature = "tui")]
mod tui;
mod wyoming;

use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use args::Command;
use kws_live::audio::decoder_panics;

/// Keeps the panic hook from telling panics of decoders, which are caught and told as errors.
fn hush() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !decoder_panics() {
            hook(panic);
        }
    }));
}

fn main() -> ExitCode {
    hush();
    let started = Instant::now();
    let mut line: Vec<OsString> = std::env::args_os().collect();
    if line.get(1).is_some_and(|first| first == "help") {
        // It is asked for already.
        line.retain(|arg| arg != "--help" && arg != "-h");
    }
    let args = match service::config::load(&line) {
        Ok(args) => args,
        Err(error) => {
            return match error.downcast_ref::<clap::Error>() {
                // Help and version; a reader that has gone away is no error.
                Some(text) if !text.use_stderr() => {
                    let _ = text.print();
                    ExitCode::SUCCESS
                }
                Some(error) => fail(&args::one_line(error)),
                None => fail(&format!("{error:#}")),
            };
        }
    };
    let live = &args.live;
    let placed = |error| service::config::placed(error, live, live.service.check_config);
    let outcome = match args.command {
        None if live.service.check_config => cmd::check::run(live).map_err(placed),
        None if live.service.wyoming.is_some() => cmd::wyoming::run(live, line, started).map_err(placed),
        None => cmd::live::run(live, line, started).map_err(placed),
        Some(Command::Scan(scan)) => cmd::scan::run(&scan),
        Some(Command::Phones(phones)) => cmd::phones::run(&phones),
        Some(Command::Devices) => cmd::devices::run(),
        Some(Command::Doctor(doctor)) => cmd::doctor::run(doctor),
        #[cfg(feature = "tui")]
        Some(Command::Completions { shell }) => cmd::completions::run(shell),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(message: &str) -> ExitCode {
    output::note(&format!("kws-live: {}", message.split_whitespace().collect::<Vec<_>>().join(" ")));
    ExitCode::from(2)
}
