//! `kws-live`: type any word, it listens.
//!
//! Results go to stdout, everything else to stderr. Exit 0: something was detected (or the command did its work),
//! 1: nothing was detected, 2: an error, told in one line.

mod args;
mod cmd;
mod output;
#[cfg(any(feature = "mic", feature = "tui"))]
mod quiet;
#[cfg(feature = "tui")]
mod tui;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let started = Instant::now();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            // Help and version; a reader that has gone away is no error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&args::one_line(&error)),
    };
    let outcome = match args.command {
        None => cmd::live::run(&args.live, started),
        Some(Command::Scan(scan)) => cmd::scan::run(&scan),
        Some(Command::Phones(phones)) => cmd::phones::run(&phones),
        Some(Command::Devices) => cmd::devices::run(),
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
