//! Real recordings with word times, as the runtime hears them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kws_live::audio::decode_16k;
use kws_live::detect::Keyword;
use kws_live::model::Bundle;
use kws_live::spotter::{Spotter, SpotterConfig};
use kws_live::text::Phone;
use sha2::{Digest, Sha256};

use super::disturb::Disturbed;
use crate::data::{Corpus, Word};
use crate::spread;

/// Seconds between the middle of a detection and that of the word at which it still counts as found (NIST STD 2006).
pub const TOLERANCE: f32 = 0.5;

/// Which speakers to take, so that what is fitted on one half can be reported on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Half {
    /// Everyone.
    All,
    /// One half.
    A,
    /// The other.
    B,
}

/// A recording and what is said in it.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// Audio file.
    pub path: PathBuf,
    /// The file's name in its corpus.
    pub file: String,
    /// Length, seconds.
    pub seconds: f32,
    /// Words with their times; empty where nothing is known or nothing is said.
    pub words: Vec<Word>,
    /// Transcript in lower case, words parted by single spaces.
    pub text: String,
    /// Folder of its corpus.
    pub corpus: String,
    /// Who speaks: unique over corpora, the file's name where unknown.
    pub speaker: String,
    /// `f` or `m` where known.
    pub gender: Option<String>,
    /// Years, decade or `adult` where known.
    pub age: Option<String>,
    /// Accent where known.
    pub accent: Option<String>,
    /// What is done to its sound before it is heard.
    pub disturbed: Option<Disturbed>,
}

/// Lower-case words without punctuation, parted by single spaces.
fn plain(text: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || c == '\'' { c.to_ascii_lowercase() } else { ' ' };
    text.chars().map(keep).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn half_of(speaker: &str) -> Half {
    if Sha256::digest(speaker.as_bytes())[0] & 1 == 0 { Half::A } else { Half::B }
}

/// The recordings of a split in manifest folders or files.
///
/// Recordings whose transcript was made by a machine, or whose words would not align, are left out: they could hide a
/// keyword. What has no transcript at all (noise, music) is kept.
///
/// # Errors
/// If a manifest cannot be read or nothing is left.
pub fn read(manifests: &[PathBuf], split: &str, half: Half) -> Result<Vec<Recording>> {
    let mut out = Vec::new();
    for manifest in manifests {
        let corpus = if manifest.is_dir() { Corpus::read(manifest)? } else { Corpus::read_manifest(manifest)? };
        for entry in corpus.entries.iter().filter(|e| e.split == split) {
            let known = entry.source.is_empty() || entry.source == "human";
            let speaker = if entry.speaker.is_empty() { &entry.file } else { &entry.speaker };
            let words = entry.words()?;
            let text = plain(&entry.text);
            if !known || words.is_empty() && !text.is_empty() || half != Half::All && half_of(speaker) != half {
                continue;
            }
            out.push(Recording {
                path: corpus.folder.join(&entry.file),
                file: entry.file.clone(),
                seconds: entry.seconds,
                words,
                text,
                corpus: corpus.name.clone(),
                speaker: speaker.clone(),
                gender: entry.gender.clone(),
                age: entry.age.clone(),
                accent: entry.accent.clone(),
                disturbed: None,
            });
        }
    }
    ensure!(!out.is_empty(), "no usable recording of the split `{split}` in {} manifests", manifests.len());
    ensure!(hours(&out) > 0.0, "no line of the manifests tells the length of its recording (`seconds`)");
    Ok(out)
}

impl Recording {
    /// Its sound, 16 kHz, with the disturbance asked for.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn samples(&self) -> Result<Vec<f32>> {
        let samples = decode_16k(&self.path)?;
        Ok(match &self.disturbed {
            Some(disturbed) => disturbed.apply(&format!("{}/{}", self.corpus, self.file), &samples),
            None => samples,
        })
    }

    /// Start and end, seconds, of every place where the words of `phrase` (lower case) are said.
    pub fn places(&self, phrase: &str) -> Vec<(f32, f32)> {
        let wanted: Vec<&str> = phrase.split(' ').collect();
        self.words
            .windows(wanted.len())
            .filter(|w| w.iter().zip(&wanted).all(|(a, b)| a.text == *b))
            .map(|w| (w[0].start, w[w.len() - 1].end))
            .collect()
    }

    /// The words of which something lies between two seconds.
    pub fn around(&self, start: f32, end: f32) -> impl Iterator<Item = &Word> {
        self.words.iter().filter(move |w| w.end > start && w.start < end)
    }

    /// Whether the words around a stretch, in seconds, hold these phones in a row.
    pub fn holds(&self, start: f32, end: f32, phones: &[Phone]) -> bool {
        let said: Vec<Phone> = self.around(start, end).flat_map(|w| w.phones.iter().copied()).collect();
        !phones.is_empty() && said.windows(phones.len()).any(|w| w == phones)
    }

    /// Whether the words around a stretch, in seconds, hold the phones of one of the keyword's pronunciations in a row.
    pub fn says(&self, start: f32, end: f32, keyword: &Keyword) -> bool {
        keyword.pronunciations.iter().any(|p| self.holds(start, end, &p.phones))
    }
}

/// Length of all of them, hours.
pub fn hours(recordings: &[Recording]) -> f64 {
    recordings.iter().map(|r| f64::from(r.seconds)).sum::<f64>() / 3600.0
}

/// The first `most` of some words by hash, so that the draw never changes.
pub fn drawn<'a>(words: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut all: Vec<_> = words.into_iter().map(|w| (Sha256::digest(w.as_bytes()), w)).collect();
    all.sort();
    all.into_iter().take(most).map(|(_, w)| w.to_owned()).collect()
}

/// Whether a detection from second `start` to `end` is the word at `place`.
pub fn hits(start: f32, end: f32, place: (f32, f32)) -> bool {
    (f32::midpoint(start, end) - f32::midpoint(place.0, place.1)).abs() <= TOLERANCE
}

/// [`spread::over`] recordings.
///
/// # Errors
/// The first failure of a worker, with the recording's name.
pub fn spread<W: Send, T: Send>(
    recordings: &[Recording],
    threads: usize,
    start: impl Fn() -> Result<W> + Sync,
    work: impl Fn(&mut W, &Recording) -> Result<T> + Sync,
) -> Result<(Vec<T>, Vec<W>)> {
    spread::over(recordings.len(), threads, start, |worker, i| {
        let recording = &recordings[i];
        work(worker, recording).with_context(|| recording.path.display().to_string())
    })
}

/// Runs a fresh spotter over every recording on `threads` threads, and hands `work` the spotter and the samples.
///
/// Results come in the recordings' order.
///
/// # Errors
/// The first failure of a file or of the model.
pub fn each<T: Send>(
    bundle: &Bundle,
    keywords: &[Keyword],
    config: &SpotterConfig,
    recordings: &[Recording],
    threads: usize,
    work: impl Fn(&mut Spotter, &[f32]) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let start = || -> Result<Spotter> {
        let mut spotter = Spotter::new(bundle, config.clone())?;
        spotter.set_keywords(keywords.iter().cloned());
        Ok(spotter)
    };
    let (results, _) = spread(recordings, threads, start, |spotter, recording| {
        spotter.reset();
        work(spotter, &recording.samples()?)
    })?;
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start: f32) -> Word {
        Word { text: text.into(), start, end: start + 0.25, phones: Vec::new() }
    }

    #[test]
    fn phrases_are_found_where_their_words_follow_each_other() {
        let words = vec![word("smart", 0.0), word("mirror", 0.5), word("mirror", 1.0), word("smart", 2.0)];
        let recording = Recording { words, ..Recording::default() };
        assert_eq!(recording.places("mirror"), [(0.5, 0.75), (1.0, 1.25)]);
        assert_eq!(recording.places("smart mirror"), [(0.0, 0.75)]);
        assert!(hits(0.2, 0.6, (0.4, 0.7)) && !hits(1.2, 1.8, (0.4, 0.7)));
    }

    #[test]
    fn recordings_are_spread_over_workers_and_come_back_in_their_order() {
        let recordings: Vec<Recording> =
            (0..40_u8).map(|i| Recording { seconds: f32::from(i), ..Recording::default() }).collect();
        let (results, workers) = spread(
            &recordings,
            3,
            || Ok(0),
            |heard, recording| {
                *heard += 1;
                Ok(recording.seconds)
            },
        )
        .expect("no worker fails");
        assert!(results.iter().zip(&recordings).all(|(a, b)| *a == b.seconds) && results.len() == 40);
        assert!(workers.len() == 3 && workers.iter().sum::<i32>() == 40);
        let error = spread(
            &recordings,
            2,
            || Ok(()),
            |(), recording| {
                anyhow::ensure!(recording.seconds < 7.0, "too long");
                Ok(())
            },
        );
        assert!(error.is_err_and(|e| format!("{e:#}").contains("too long")));
    }

    #[test]
    fn both_halves_hold_speakers_and_none_in_common() {
        let speakers: Vec<String> = (0..40).map(|i| format!("ls{i}")).collect();
        let a = speakers.iter().filter(|s| half_of(s) == Half::A).count();
        assert!((8..32).contains(&a), "{a} of 40");
        assert_eq!(plain("Stop -- it's  LATE!"), "stop it's late");
    }
}
