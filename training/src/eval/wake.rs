//! `kws-train eval wake`: words as wake words, against all other development audio, music and noise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use kws_live::detect::Keyword;
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::text::KeywordSpec;
use serde::Serialize;

use super::candidates::{Judged, candidates, judge, threshold_at};
use super::disturb::Disturbed;
use super::recordings::{Half, Recording, drawn, hours, read};
use super::stats;

/// Misses at few false alarms, typed text alone.
#[derive(Debug, Clone, clap::Args)]
pub struct WakeArgs {
    /// Data folder.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Model bundle; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Words of two to four syllables to draw from the transcripts.
    #[arg(long, default_value_t = 30)]
    pub words: usize,
    /// Words to take besides, parted by commas.
    #[arg(long, default_value = "operator,onword,wildfire,voyager")]
    pub extra: String,
    /// Split to listen to.
    #[arg(long, default_value = "dev")]
    pub split: String,
    /// Which half of the speakers.
    #[arg(long, value_enum, default_value_t = Half::All)]
    pub half: Half,
    /// Noise of the same split at this signal-to-noise ratio, dB.
    #[arg(long, allow_hyphen_values = true)]
    pub snr: Option<f32>,
    /// A measured room of the same split, in place of noise.
    #[arg(long, conflicts_with = "snr")]
    pub room: bool,
    /// Every recording at this level, dB of full scale (root mean square), in place of noise or a room.
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["snr", "room"])]
    pub level: Option<f32>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Speech that is searched; what has no words is counted for false alarms alone.
const SPEECH: [&str; 5] = ["librispeech-dev", "commonvoice-en", "speechocean762", "wuw-telephone", "an4"];
/// Sound without English words.
const OTHER: [&str; 3] = ["noise", "music", "other-languages"];
/// Where words are drawn.
const DRAWN: [&str; 3] = ["librispeech-dev", "commonvoice-en", "speechocean762"];
/// Places at which a drawn word is said at least.
const FEWEST: usize = 4;

/// False alarms an hour and word at which misses are counted.
pub const RATES: [f64; 6] = [0.1, 0.5, 0.7, 1.0, 2.0, 10.0];

/// A miss rate with what it rests on; shares 0 to 1.
#[derive(Debug, Clone, Serialize)]
pub struct Miss {
    /// Share missed.
    pub rate: f64,
    /// Places missed and places in all.
    pub missed: usize,
    /// Places in all.
    pub places: usize,
    /// Wilson's 95 % interval.
    pub interval: (f64, f64),
}

impl Miss {
    fn of(missed: usize, places: usize) -> Self {
        Self { rate: missed as f64 / places.max(1) as f64, missed, places, interval: stats::wilson(missed, places) }
    }
}

/// One word.
#[derive(Debug, Clone, Serialize)]
pub struct WakeWord {
    /// The word.
    pub word: String,
    /// Misses at each of [`RATES`], each word with its own threshold.
    pub miss: Vec<Miss>,
    /// At the model's own threshold: places found.
    pub found: usize,
    /// False alarms an hour there.
    pub alarms_per_hour: f64,
}

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct WakeReport {
    /// Audio, hours.
    pub hours: f64,
    /// Recordings.
    pub recordings: usize,
    /// Every word.
    pub words: Vec<WakeWord>,
    /// Mean over words of the misses at each of [`RATES`], each word with its own threshold.
    pub mean_miss: Vec<f64>,
    /// One threshold for all words: misses where the words have so many false alarms an hour on average.
    pub common_miss: Vec<Miss>,
    /// Misses by kind of speaker at one false alarm an hour and word.
    pub groups: BTreeMap<String, Miss>,
}

/// Syllables of a pronunciation: its vowels.
fn syllables(phones: &[kws_live::text::Phone]) -> usize {
    phones.iter().filter(|p| p.is_vowel()).count()
}

/// Words said often enough, drawn by hash so that the draw never changes.
fn draw(recordings: &[Recording], most: usize) -> Vec<String> {
    let mut said: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for recording in recordings.iter().filter(|r| DRAWN.contains(&r.corpus.as_str())) {
        for word in recording.words.iter().filter(|w| (2..=4).contains(&syllables(&w.phones)) && w.phones.len() >= 4) {
            let entry = said.entry(&word.text).or_default();
            entry.0 += 1;
            entry.1.insert(&recording.speaker);
        }
    }
    let often = said.into_iter().filter(|(_, (places, speakers))| *places >= FEWEST && speakers.len() > 1);
    drawn(often.map(|(w, _)| w), most)
}

/// Kinds of speaker that a recording counts for.
fn groups(recording: &Recording) -> Vec<String> {
    let mut out = vec![format!("corpus {}", recording.corpus)];
    out.extend(recording.gender.as_ref().map(|g| format!("sex {g}")));
    let child = recording.age.as_deref().is_some_and(|a| a.parse::<u32>().is_ok_and(|years| years < 16));
    if recording.age.is_some() {
        out.push(if child { "child under 16" } else { "adult" }.into());
    }
    // The learners' corpus says their mother tongue.
    if recording.corpus == "speechocean762" {
        out.push("learner of English".into());
    }
    out
}

/// Measures.
///
/// # Errors
/// If recordings or model cannot be used, or no word is said often enough.
pub fn measure(args: &WakeArgs) -> Result<WakeReport> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let folders: Vec<PathBuf> = SPEECH.iter().chain(&OTHER).map(|c| args.data.join(c)).collect();
    let mut recordings = read(&folders, &args.split, args.half)?;
    let mut words = draw(&recordings, args.words);
    for extra in args.extra.split(',').map(|w| w.trim().to_lowercase()).filter(|w| !w.is_empty()) {
        if !words.contains(&extra) {
            words.push(extra);
        }
    }
    let disturbed = match (args.snr, args.room, args.level) {
        (Some(snr), ..) => Some(Disturbed::noise(&args.data, &args.split, snr)?),
        (_, true, _) => Some(Disturbed::room(&args.data, &args.split)?),
        (.., level) => level.map(Disturbed::level),
    };
    // A quiet microphone gives noise and music quietly too.
    for recording in recordings.iter_mut().filter(|r| args.level.is_some() || !OTHER.contains(&r.corpus.as_str())) {
        recording.disturbed.clone_from(&disturbed);
    }
    let mut enroller = Enroller::new(&bundle, BackendChoice::default())?;
    let keywords: Vec<Keyword> =
        words.iter().map(|w| Ok(enroller.text(&KeywordSpec::new(w))?)).collect::<Result<_>>()?;
    let found = candidates(&bundle, &keywords, &recordings, args.threads)?;
    let judged: Vec<(String, Judged)> = words
        .into_iter()
        .enumerate()
        .map(|(k, w)| {
            let judged = judge(k, &keywords[k], &recordings, &found);
            (w, judged)
        })
        .filter(|(_, j)| !j.places.is_empty())
        .collect();
    ensure!(!judged.is_empty(), "none of the words is said");
    Ok(report(&judged, &recordings, bundle.manifest.scorer.threshold))
}

fn report(judged: &[(String, Judged)], recordings: &[Recording], own: f32) -> WakeReport {
    let hours = hours(recordings);
    let words: Vec<WakeWord> = judged
        .iter()
        .map(|(word, j)| WakeWord {
            word: word.clone(),
            miss: RATES.iter().map(|&r| Miss::of(j.missed(j.threshold_at(r, hours)), j.places.len())).collect(),
            found: j.places.len() - j.missed(own),
            alarms_per_hour: j.alarms.iter().filter(|s| **s >= own).count() as f64 / hours,
        })
        .collect();
    let mean = |i: usize| words.iter().map(|w| w.miss[i].rate).sum::<f64>() / words.len() as f64;
    let all: Vec<f32> = judged.iter().flat_map(|(_, j)| &j.alarms).copied().collect();
    let places: usize = judged.iter().map(|(_, j)| j.places.len()).sum();
    let common = |rate: f64| {
        let threshold = threshold_at(&all, rate * judged.len() as f64, hours);
        Miss::of(judged.iter().map(|(_, j)| j.missed(threshold)).sum(), places)
    };
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (_, j) in judged {
        let threshold = j.threshold_at(1.0, hours);
        for &(recording, score) in &j.places {
            for group in groups(&recordings[recording]) {
                let entry = counts.entry(group).or_default();
                entry.0 += usize::from(score < threshold);
                entry.1 += 1;
            }
        }
    }
    WakeReport {
        hours,
        recordings: recordings.len(),
        mean_miss: (0..RATES.len()).map(mean).collect(),
        common_miss: RATES.iter().map(|&r| common(r)).collect(),
        groups: counts.into_iter().map(|(g, (missed, places))| (g, Miss::of(missed, places))).collect(),
        words,
    }
}

/// Runs the command.
///
/// # Errors
/// As [`measure`].
pub fn run(args: &WakeArgs) -> Result<()> {
    let report = measure(args)?;
    let percent = |rates: &[f64]| rates.iter().map(|r| format!("{:5.1}", 100.0 * r)).collect::<Vec<_>>().join(" ");
    log::info!("{} recordings, {:.2} h; misses % at {RATES:?} false alarms an hour", report.recordings, report.hours);
    for w in &report.words {
        let rates: Vec<f64> = w.miss.iter().map(|m| m.rate).collect();
        let (found, places) = (w.found, w.miss[0].places);
        log::info!(
            "{:<14} {}  found {found:>3} of {places:>3}, {:.2} FA/h",
            w.word,
            percent(&rates),
            w.alarms_per_hour
        );
    }
    log::info!("mean           {}", percent(&report.mean_miss));
    let common: Vec<f64> = report.common_miss.iter().map(|m| m.rate).collect();
    log::info!("one threshold  {}", percent(&common));
    for (group, m) in &report.groups {
        log::info!("{group:<26} {:5.1} % of {} missed at 1 FA/h", 100.0 * m.rate, m.places);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_let_through_what_they_may() {
        let alarms = [0.9, 0.8, 0.3, 0.2];
        // Two hours at half an alarm an hour: one.
        let threshold = threshold_at(&alarms, 0.5, 2.0);
        assert_eq!(alarms.iter().filter(|a| **a >= threshold).count(), 1);
        assert!(threshold_at(&alarms, 9.0, 2.0) < 0.0);
    }

    #[test]
    fn misses_by_hand() {
        let recording = |gender: &str| Recording {
            seconds: 3_600.0,
            corpus: "librispeech-dev".into(),
            gender: Some(gender.into()),
            ..Recording::default()
        };
        let recordings = [recording("f"), recording("m")];
        // Two hours: one false alarm an hour is two, so the third, 0.3, is too many.
        let a = Judged { places: vec![(0, 0.5), (1, 0.2)], alarms: vec![0.8, 0.6, 0.3], ..Judged::default() };
        let b = Judged { places: vec![(1, f32::NEG_INFINITY)], ..Judged::default() };
        let report = report(&[("a".into(), a), ("b".into(), b)], &recordings, 0.5);
        let one = RATES.iter().position(|r| *r == 1.0).expect("in the list");
        assert_eq!(report.words[0].miss[one].rate, 0.5);
        assert_eq!(report.words[1].miss[one].rate, 1.0);
        assert_eq!(report.mean_miss[one], 0.75);
        // Four alarms allowed in all, there are three: everything with a score is found.
        assert_eq!(report.common_miss[one].missed, 1);
        assert_eq!(report.groups["sex f"].missed, 0);
        assert_eq!(report.groups["sex m"].missed, 2);
        assert_eq!((report.words[0].found, report.words[0].alarms_per_hour), (1, 1.0));
    }
}
