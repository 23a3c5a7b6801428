//! `kws-train`: prepare, fit, evaluate and export.

use clap::{Parser, Subcommand};
use kws_train::data::{prepare, report as data_report};
use kws_train::eval::{calibrate, gate, keywords, phrases, queries, report, terms, wake, windows, words};
use kws_train::{align, export, fit, g2p, levels, lexicon, rivals, synth};

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
    /// Count what the corpora hold.
    DataReport(data_report::DataReportArgs),
    /// Train; the same command again resumes.
    Fit(fit::FitArgs),
    /// Write the weights half-way between the bundle that a run started from and the run's end.
    Mean(fit::mean::MeanArgs),
    /// Write a bundle from a run's newest checkpoint, and prove that it computes the same.
    Export(export::ExportArgs),
    /// Train the grapheme-to-phoneme model on a dictionary, score it on held-out words, export it.
    G2p(g2p::G2pArgs),
    /// Give a transcribed corpus word times, with our own encoder.
    Align(align::AlignArgs),
    /// Make a corpus of synthetic speech with the synthesisers on PATH.
    Synth(synth::SynthArgs),
    /// Pack CMUdict for a bundle.
    Lexicon(lexicon::LexiconArgs),
    /// Pack the words that compete with keywords, out of the training speech.
    Rivals(rivals::RivalsArgs),
    /// Learn how high scores rise where a text is not said.
    Levels(levels::LevelsArgs),
    /// Fit fusion and threshold of a bundle on development recordings.
    Calibrate(calibrate::CalibrateArgs),
    /// Score a model.
    #[command(subcommand)]
    Eval(Eval),
}

#[derive(Subcommand)]
enum Eval {
    /// Word discrimination: average precision over pairs of words, acoustic and cross view.
    Words(words::WordsArgs),
    /// The runtime spotter over recordings: EER, accuracy, misses at false alarms an hour.
    Keywords(keywords::KeywordsArgs),
    /// Phrases of one to four words against easy and hard texts, LibriPhrase-style.
    Phrases(phrases::PhrasesArgs),
    /// Spoken term detection: term-weighted values.
    Terms(terms::TermsArgs),
    /// Spoken term detection by spoken examples; phrases of the list are left out.
    Queries(terms::TermsArgs),
    /// The gate: detections with and without it, and what it saves.
    Gate(gate::GateArgs),
    /// Words as wake words: misses at few false alarms an hour, by kind of speaker, in noise and rooms.
    Wake(wake::WakeArgs),
    /// The paper's fixed windows over running speech, and the live scorer beside them.
    Windows(windows::WindowsArgs),
    /// All of it, as one report.
    Report(report::ReportArgs),
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match Args::parse().command {
        Command::Prepare(args) => prepare::run(&args),
        Command::DataReport(args) => data_report::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Mean(args) => fit::mean::run(&args),
        Command::Export(args) => export::run(&args),
        Command::G2p(args) => g2p::run(&args),
        Command::Align(args) => align::run(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Lexicon(args) => lexicon::run(&args),
        Command::Rivals(args) => rivals::run(&args),
        Command::Levels(args) => levels::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Eval(Eval::Words(args)) => words::run(&args),
        Command::Eval(Eval::Keywords(args)) => keywords::run(&args),
        Command::Eval(Eval::Phrases(args)) => phrases::run(&args),
        Command::Eval(Eval::Terms(args)) => terms::run(&args),
        Command::Eval(Eval::Queries(args)) => queries::run(&args),
        Command::Eval(Eval::Gate(args)) => gate::run(&args),
        Command::Eval(Eval::Wake(args)) => wake::run(&args),
        Command::Eval(Eval::Windows(args)) => windows::run(&args),
        Command::Eval(Eval::Report(args)) => report::run(&args),
    }
}
