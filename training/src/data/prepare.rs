//! `kws-train prepare`: decode every corpus once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kws_live::audio::decode_16k;

use super::{Cache, Corpus, RATE};
use crate::spread;

/// Decodes all audio below the data folder into the cache.
#[derive(Debug, clap::Args)]
pub struct PrepareArgs {
    /// Folder with one sub-folder a corpus, each with its manifest.jsonl.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Further corpus folders, such as one of synthetic speech, or LibriSpeech as published (it gets a manifest).
    #[arg(long = "extra")]
    pub extra: Vec<PathBuf>,
    /// Where the cache goes (about 115 MB an hour).
    #[arg(long, default_value = "runs/cache")]
    pub out: PathBuf,
    /// Which split to keep.
    #[arg(long, default_value = "train")]
    pub split: String,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Recordings decoded at once, by all threads; what is added to the cache keeps its order.
const AT_ONCE: usize = 512;

/// Folders with a manifest below `data`, sorted, then `extra`.
///
/// # Errors
/// If `data` cannot be listed.
pub fn corpus_folders(data: &std::path::Path, extra: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let listing = std::fs::read_dir(data).with_context(|| format!("cannot list {}", data.display()))?;
    let mut folders: Vec<PathBuf> =
        listing.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.join("manifest.jsonl").exists()).collect();
    folders.sort();
    folders.extend(extra.iter().cloned());
    Ok(folders)
}

/// Reads the corpora of [`corpus_folders`].
///
/// # Errors
/// As [`corpus_folders`], and if a manifest cannot be read or two folders have one name.
pub fn corpora(data: &std::path::Path, extra: &[PathBuf]) -> Result<Vec<Corpus>> {
    let all: Vec<Corpus> =
        corpus_folders(data, extra)?.iter().map(|folder| Corpus::read(folder)).collect::<Result<_>>()?;
    let mut names = BTreeMap::new();
    for corpus in &all {
        if let Some(other) = names.insert(&corpus.name, &corpus.folder) {
            let (one, two) = (other.display(), corpus.folder.display());
            bail!("{one} and {two} have one name, by which recordings are told apart: rename one of them");
        }
    }
    Ok(all)
}

/// Runs the command.
///
/// # Errors
/// If a manifest cannot be read or the cache cannot be written; unreadable recordings are counted and named.
pub fn run(args: &PrepareArgs) -> Result<()> {
    let mut corpora = corpora(&args.data, &args.extra)?;
    let total = corpora.iter().flat_map(|c| &c.entries).filter(|e| e.split == args.split).count();
    let bar = ProgressBar::new(total as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {eta} {msg}")?);
    ensure!(total > 0, "there is no recording of the split `{}`", args.split);
    let (mut cache, mut left_out) = (Cache::default(), 0);
    for corpus in &mut corpora {
        bar.set_message(corpus.name.clone());
        let mut entries: Vec<_> = corpus.entries.iter_mut().filter(|e| e.split == args.split).collect();
        for entries in entries.chunks_mut(AT_ONCE) {
            let decode = |(): &mut (), i: usize| Ok(decode_16k(&corpus.folder.join(&entries[i].file)));
            let (decoded, _) = spread::over(entries.len(), args.threads, || Ok(()), decode)?;
            for (entry, audio) in entries.iter_mut().zip(decoded) {
                match audio {
                    Ok(audio) => {
                        entry.seconds = (audio.len() as f32 / RATE * 100.0).round() / 100.0;
                        cache.add(format!("{}/{}", corpus.name, entry.file), &audio);
                    }
                    Err(error) => {
                        left_out += 1;
                        bar.suspend(|| log::warn!("left out: {error}"));
                    }
                }
            }
            bar.inc(entries.len() as u64);
        }
        // A published folder gets a manifest; `align` then adds the word times.
        let manifest = corpus.folder.join("manifest.jsonl");
        if !manifest.exists() {
            Corpus::write(&manifest, &corpus.entries)?;
        }
    }
    bar.finish_and_clear();
    ensure!(left_out < total, "none of {total} recordings can be read");
    if left_out > 0 {
        log::warn!("{left_out} of {total} recordings are left out");
    }
    cache.write(&args.out)?;
    log::info!("{} recordings, {:.2} h in {}", cache.clips().len(), cache.seconds() / 3600.0, args.out.display());
    Ok(())
}
