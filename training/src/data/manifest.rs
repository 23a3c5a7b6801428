//! Manifests of speech and of other sounds: one JSON object a line (`../shared/data/README.md`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kws_live::text::{Phone, arpabet, parse_phones};
use serde::{Deserialize, Serialize};

use super::librispeech::published;
use crate::whole;

/// One line of a manifest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Entry {
    /// Path relative to the manifest's folder.
    pub file: String,
    /// Speaker, unique over corpora; empty where unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub speaker: String,
    /// `f` or `m` where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<String>,
    /// Years or `adult` where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
    /// Accent where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accent: Option<String>,
    /// `train` or `dev`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub split: String,
    /// Length of the audio, seconds.
    #[serde(default)]
    pub seconds: f32,
    /// Transcript.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Who wrote the transcript: `human` or the name of a recogniser.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Mean log probability a token of a machine transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Mean log-likelihood ratio a phone of our own aligner, at most 0; nothing where another aligner was at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub align_score: Option<f32>,
    /// Aligned words as the file has them: text, start and end in seconds, phones; see [`Entry::words`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<(String, f32, f32, String)>,
}

/// A word with its place in the recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Spelling, lower case.
    pub text: String,
    /// Start, seconds.
    pub start: f32,
    /// End, seconds.
    pub end: f32,
    /// What the aligner took it to be pronounced as.
    pub phones: Vec<Phone>,
}

impl Entry {
    /// The aligned words.
    ///
    /// # Errors
    /// If a pronunciation is not ARPAbet.
    pub fn words(&self) -> Result<Vec<Word>> {
        let read = |(text, start, end, phones): &(String, f32, f32, String)| {
            let phones = parse_phones(phones).with_context(|| format!("{}: word `{text}`", self.file))?;
            Ok(Word { text: text.to_lowercase(), start: *start, end: *end, phones })
        };
        self.words.iter().map(read).collect()
    }

    /// Replaces the aligned words; times are rounded to 10 ms.
    pub fn set_words(&mut self, words: &[Word]) {
        let round = |t: f32| (t * 100.0).round() / 100.0;
        self.words = words.iter().map(|w| (w.text.clone(), round(w.start), round(w.end), arpabet(&w.phones))).collect();
    }
}

/// A folder's manifest.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// Its lines, in file order.
    pub entries: Vec<Entry>,
}

impl Corpus {
    /// Reads `folder/manifest.jsonl`, or a folder of LibriSpeech as published, which has none.
    ///
    /// # Errors
    /// Names the file and line that cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("manifest.jsonl");
        if !path.exists() && folder.is_dir() {
            let entries = published(folder)?;
            if !entries.is_empty() {
                return Ok(Self::of(folder, entries));
            }
        }
        Self::read_manifest(&path)
    }

    /// Reads a manifest of any name; its recordings lie in its folder.
    ///
    /// # Errors
    /// Names the file and line that cannot be read.
    pub fn read_manifest(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let entries = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                serde_json::from_str(line).with_context(|| format!("{}:{}: not a manifest line", path.display(), i + 1))
            })
            .collect::<Result<_>>()?;
        Ok(Self::of(path.parent().unwrap_or(Path::new("")), entries))
    }

    /// A corpus is named after its folder.
    fn of(folder: &Path, entries: Vec<Entry>) -> Self {
        let name = folder.file_name().map_or_else(|| "corpus".into(), |n| n.to_string_lossy().into_owned());
        Self { name, folder: folder.to_owned(), entries }
    }

    /// Writes a manifest, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(path: &Path, entries: &[Entry]) -> Result<()> {
        let mut text = String::new();
        for entry in entries {
            text.push_str(&serde_json::to_string(entry)?);
            text.push('\n');
        }
        whole::write(path, &text)
    }
}
