//! `kws-train rivals`: the words that compete with keywords in running speech, and which of them follow which
//! (`kws_live::words`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kws_live::text::Phone;
use kws_live::words::{BIGRAMS_FILE, RIVALS_FILE, pack_rivals};

use crate::bigrams::Counts;
use crate::data::prepare::corpora;
use crate::export::add_file;

/// Packs the pronunciations that people used in the training speech into a bundle.
#[derive(Debug, clap::Args)]
pub struct RivalsArgs {
    /// Folder with one sub-folder a corpus, each with its manifest.jsonl; their `train` splits are read.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// The bundle.
    #[arg(long)]
    pub model: PathBuf,
    /// A pronunciation counts if it was said so often.
    #[arg(long, default_value_t = 2)]
    pub least: usize,
    /// Lines of a word and its count; with `--pairs`.
    #[arg(long, requires = "pairs")]
    pub words: Option<PathBuf>,
    /// Lines of two words and their count: what words make of one another goes into the bundle too.
    #[arg(long, requires = "words")]
    pub pairs: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If corpora or bundle cannot be read, nothing is said, or a file cannot be written.
pub fn run(args: &RivalsArgs) -> Result<()> {
    let mut said: BTreeMap<Vec<Phone>, (usize, BTreeSet<String>)> = BTreeMap::new();
    for corpus in corpora(&args.data, &[])? {
        let entries = corpus.entries.iter().filter(|e| e.split == "train");
        // What a machine wrote down may be no words that anybody says.
        for entry in entries.filter(|e| e.source.is_empty() || e.source == "human") {
            for word in entry.words()? {
                let (count, words) = said.entry(word.phones).or_default();
                *count += 1;
                words.insert(word.text.to_lowercase());
            }
        }
    }
    let common: BTreeMap<Vec<Phone>, BTreeSet<String>> = said
        .into_iter()
        .filter(|(phones, (count, _))| !phones.is_empty() && *count >= args.least)
        .map(|(phones, (_, words))| (phones, words))
        .collect();
    ensure!(!common.is_empty(), "no word is said in {}: give a folder of corpora with word times", args.data.display());
    let packed = pack_rivals(&common.keys().cloned().collect::<Vec<_>>());
    add_file(&args.model, RIVALS_FILE, &packed)?;
    log::info!("{} pronunciations, {} kB -> {}", common.len(), packed.len() / 1000, args.model.display());
    if let (Some(words), Some(pairs)) = (&args.words, &args.pairs) {
        let bigrams = Counts::read(words, pairs)?.bigrams(&common).context("bigrams")?;
        let packed = bigrams.pack();
        add_file(&args.model, BIGRAMS_FILE, &packed)?;
        log::info!("{} bigrams, {} kB -> {}", bigrams.len(), packed.len() / 1000, args.model.display());
    }
    Ok(())
}
