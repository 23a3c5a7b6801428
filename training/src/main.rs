//! `kws-train`: prepare, fit, evaluate and export.

use clap::{Parser, Subcommand};
use kws_train::{data::prepare, export, fit, g2p};

#[derive(Parser)]
#[command(version, about = "Trains the models of kws-live. No Python.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Decode every corpus once into a cache.
    Prepare(prepare::PrepareArgs),
    /// Train; the same command again resumes.
    Fit(fit::FitArgs),
    /// Write a bundle from a run's newest checkpoint, and prove that it computes the same.
    Export(export::ExportArgs),
    /// Train the grapheme-to-phoneme model on a dictionary, score it on held-out words, export it.
    G2p(g2p::G2pArgs),
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match Args::parse().command {
        Command::Prepare(args) => prepare::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Export(args) => export::run(&args),
        Command::G2p(args) => g2p::run(&args),
    }
}
