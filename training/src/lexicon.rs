//! `kws-train lexicon`: packs CMUdict into a bundle.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kws_live::text::{Lexicon, read_cmudict};

use crate::whole;

/// Packs CMUdict into `lexicon.bin`.
#[derive(Debug, clap::Args)]
pub struct LexiconArgs {
    /// CMUdict in its text form.
    #[arg(long, default_value = "../shared/data/lexicon/cmudict.dict")]
    pub cmudict: PathBuf,
    /// File to write; the next `export` lists it in the manifest.
    #[arg(long, default_value = "models/default/lexicon.bin")]
    pub out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If the dictionary cannot be read or the file cannot be written.
pub fn run(args: &LexiconArgs) -> Result<()> {
    let text = fs::read_to_string(&args.cmudict).with_context(|| format!("cannot read {}", args.cmudict.display()))?;
    let words = read_cmudict(&text).with_context(|| args.cmudict.display().to_string())?;
    ensure!(!words.is_empty(), "{} holds no word", args.cmudict.display());
    let packed = Lexicon::pack(&words);
    whole::write(&args.out, &packed)?;
    log::info!("{} words, {} kB -> {}", words.len(), packed.len() / 1000, args.out.display());
    Ok(())
}
