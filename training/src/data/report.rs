//! `kws-train data-report`: what the corpora hold, as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::prepare::corpora;
use super::{Corpus, Entry};

/// Counts hours, speakers, words and phones of every corpus and split.
#[derive(Debug, clap::Args)]
pub struct DataReportArgs {
    /// Folder with one sub-folder a corpus, each with its manifest.jsonl.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Further corpus folders.
    #[arg(long = "extra")]
    pub extra: Vec<PathBuf>,
    /// File for the table; standard output if left out.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What some recordings hold.
#[derive(Default)]
struct Counts {
    recordings: usize,
    seconds: f64,
    machine: f64,
    speakers: BTreeSet<String>,
    unknown: usize,
    /// Recordings in which a speaker is said to be a woman, and a man: not every one tells it, and some contradict others.
    sexes: BTreeMap<String, [usize; 2]>,
    words: usize,
    types: BTreeSet<String>,
    phones: usize,
}

impl Counts {
    fn add(&mut self, entry: &Entry) -> Result<()> {
        self.recordings += 1;
        self.seconds += f64::from(entry.seconds);
        if !entry.source.is_empty() && entry.source != "human" {
            self.machine += f64::from(entry.seconds);
        }
        if entry.speaker.is_empty() {
            self.unknown += 1;
        } else {
            self.speakers.insert(entry.speaker.clone());
            if let Some(sex) = ["f", "m"].iter().position(|sex| entry.gender.as_deref() == Some(sex)) {
                self.sexes.entry(entry.speaker.clone()).or_default()[sex] += 1;
            }
        }
        for word in entry.words()? {
            self.words += 1;
            self.phones += word.phones.len();
            self.types.insert(word.text);
        }
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.recordings += other.recordings;
        self.seconds += other.seconds;
        self.machine += other.machine;
        self.unknown += other.unknown;
        self.words += other.words;
        self.phones += other.phones;
        for (speaker, [women, men]) in &other.sexes {
            let all = self.sexes.entry(speaker.clone()).or_default();
            *all = [all[0] + women, all[1] + men];
        }
        self.speakers.extend(other.speakers.iter().cloned());
        self.types.extend(other.types.iter().cloned());
    }

    fn row(&self, corpus: &str, split: &str) -> String {
        let women = self.sexes.values().filter(|[women, men]| women > men).count();
        let men = self.sexes.values().filter(|[women, men]| men > women).count();
        let speakers = match (self.speakers.len(), self.unknown) {
            (0, _) => "-".into(),
            (known, 0) => format!("{known} ({women} f, {men} m)"),
            (known, unknown) => format!("{known} ({women} f, {men} m), unknown in {unknown} recordings"),
        };
        format!(
            "| {corpus} | {split} | {} | {:.2} | {:.2} | {speakers} | {} | {} | {} |\n",
            self.recordings,
            self.seconds / 3600.0,
            self.machine / 3600.0,
            self.words,
            self.types.len(),
            self.phones
        )
    }
}

/// The table of some corpora.
///
/// # Errors
/// If a pronunciation in a manifest is not ARPAbet.
pub fn table(corpora: &[Corpus]) -> Result<String> {
    let mut out = String::from(
        "| corpus | split | recordings | hours | of them with machine text | speakers | aligned words | different | phones |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for split in ["train", "dev"] {
        let mut all = Counts::default();
        for corpus in corpora {
            let mut counts = Counts::default();
            for entry in corpus.entries.iter().filter(|e| e.split == split) {
                counts.add(entry)?;
            }
            if counts.recordings > 0 {
                out.push_str(&counts.row(&corpus.name, split));
                all.merge(&counts);
            }
        }
        if all.recordings > 0 {
            out.push_str(&all.row("**all**", split));
        }
    }
    Ok(out)
}

/// Runs the command.
///
/// # Errors
/// If a manifest cannot be read or the file cannot be written.
pub fn run(args: &DataReportArgs) -> Result<()> {
    let corpora = corpora(&args.data, &args.extra)?;
    ensure!(!corpora.is_empty(), "{} holds no folder with a manifest.jsonl", args.data.display());
    let mut text = String::from(
        "# What the model was trained and developed on\n\n`kws-train data-report`; nothing of it is in this repository.\n\n",
    );
    let _ = write!(text, "{}", table(&corpora)?);
    match &args.out {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
        None => std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).context("cannot write the table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let line = |speaker: &str, gender: &str, split: &str, source: &str| -> Entry {
            serde_json::from_str(&format!(
                r#"{{"file": "a", "speaker": "{speaker}", "gender": "{gender}", "split": "{split}", "seconds": 1800,
                "source": "{source}", "words": [["stop", 0, 1, "S T AA P"], ["now", 1, 2, "N AW"]]}}"#
            ))
            .expect("a manifest line")
        };
        let entries =
            vec![line("a", "f", "train", "human"), line("a", "f", "train", "whisper"), line("b", "m", "dev", "human")];
        let text = table(&[Corpus { name: "c".into(), folder: PathBuf::new(), entries }]).expect("well formed");
        assert!(text.contains("| c | train | 2 | 1.00 | 0.50 | 1 (1 f, 0 m) | 4 | 2 | 12 |"), "{text}");
        assert!(text.contains("| c | dev | 1 | 0.50 | 0.00 | 1 (0 f, 1 m) | 2 | 2 | 6 |"), "{text}");
        assert!(text.contains("**all**"));
    }
}
