//! Every place where a keyword may have been heard, with its score: one pass, to be judged at any threshold.
//!
//! The scores are the runtime spotter's own. A candidate is the highest frame of a stretch; no two of a keyword lie closer
//! than the shortest refractory time. So the candidates over a threshold are nearly the detections that a trigger at that threshold would
//! give: the trigger also wants a second frame, rests longer after a long keyword, decides before it has heard what is still
//! higher, and drops what another keyword explains better.

use anyhow::Result;
use kws_live::detect::{Keyword, sigmoid};
use kws_live::model::Bundle;
use kws_live::search::highest;
use kws_live::spotter::{Best, SpotterConfig, Trace};

use super::recordings::{Recording, each, hits};
use crate::data::RATE;

/// Scores below this are of no interest.
const FLOOR: f32 = 1e-4;

/// Frames that may be a keyword: score, start and end, samples.
pub type Frames = Vec<(f32, u64, u64)>;

/// A stretch that may be the keyword; seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Score, 0 to 1.
    pub score: f32,
    /// Start of the window.
    pub start: f32,
    /// Its end.
    pub end: f32,
}

/// Candidates of every keyword in one recording.
pub type Found = Vec<Vec<Candidate>>;

/// Runs the spotter over recordings; one entry a recording, in order.
///
/// # Errors
/// The first failure of a file or of the model.
pub fn candidates(
    bundle: &Bundle,
    keywords: &[Keyword],
    recordings: &[Recording],
    threads: usize,
) -> Result<Vec<Found>> {
    let found = heard(bundle, keywords, recordings, threads, false, |best| [best.score])?;
    Ok(found.into_iter().map(|[live]| live).collect())
}

/// [`candidates`] by what a search with rivals hears: without their part in the scores, as live, and with it.
///
/// # Errors
/// The first failure of a file or of the model.
pub fn contested(
    bundle: &Bundle,
    keywords: &[Keyword],
    recordings: &[Recording],
    threads: usize,
) -> Result<(Vec<Found>, Vec<Found>)> {
    let found = heard(bundle, keywords, recordings, threads, true, |best| [sigmoid(best.fit), best.score])?;
    Ok(found.into_iter().map(|[live, search]| (live, search)).unzip())
}

/// Candidates by each of several scores.
fn heard<const N: usize>(
    bundle: &Bundle,
    keywords: &[Keyword],
    recordings: &[Recording],
    threads: usize,
    rivals: bool,
    scores: impl Fn(&Best) -> [f32; N] + Sync,
) -> Result<Vec<[Found; N]>> {
    let config = SpotterConfig { chunk_frames: 100, threshold: Some(1.0), rivals, ..SpotterConfig::default() };
    each(bundle, keywords, &config, recordings, threads, |spotter, samples| {
        let mut frames: [Vec<Frames>; N] = std::array::from_fn(|_| vec![Frames::new(); keywords.len()]);
        let mut note = |trace: &Trace| {
            for (frames, score) in frames.iter_mut().zip(scores(&trace.heard)) {
                take(&mut frames[trace.keyword], score, &trace.heard);
            }
        };
        spotter.process_traced(samples, |_| {}, &mut note)?;
        spotter.flush_traced(|_| {}, &mut note)?;
        Ok(frames.map(settle))
    })
}

/// Adds a frame, if its score is of interest.
pub fn take(frames: &mut Frames, score: f32, heard: &Best) {
    if score >= FLOOR {
        frames.push((score, heard.start, heard.end));
    }
}

/// The candidates among each keyword's frames.
pub fn settle(frames: Vec<Frames>) -> Found {
    let seconds = |sample: u64| sample as f32 / RATE;
    let candidate = |(score, start, end)| Candidate { score, start: seconds(start), end: seconds(end) };
    let settle = |frames| highest(frames, |one| *one).into_iter().map(candidate).collect();
    frames.into_iter().map(settle).collect()
}

/// A keyword over many recordings.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Of every place where it is said: the recording and the score of the candidate there, or minus infinity.
    pub places: Vec<(usize, f32)>,
    /// Scores of the candidates elsewhere.
    pub alarms: Vec<f32>,
    /// Scores of those where its very phones are said inside something else (`general` in `generally`): neither.
    pub inside: Vec<f32>,
}

impl Judged {
    /// Lowest threshold at which no more than `rate` false alarms an hour come.
    pub fn threshold_at(&self, rate: f64, hours: f64) -> f32 {
        threshold_at(&self.alarms, rate, hours)
    }

    /// Places missed at a threshold.
    pub fn missed(&self, threshold: f32) -> usize {
        self.places.iter().filter(|p| p.1 < threshold).count()
    }
}

/// Lowest threshold at which no more than `rate` of these false alarms come an hour.
pub fn threshold_at(alarms: &[f32], rate: f64, hours: f64) -> f32 {
    let mut sorted = alarms.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    threshold_over(&sorted, (rate * hours).floor() as usize)
}

/// Lowest threshold that no more than `most` false alarms reach, sorted from the highest down: just above the first that is too many.
pub fn threshold_over(sorted: &[f32], most: usize) -> f32 {
    sorted.get(most).map_or(f32::MIN, |alarm| alarm.next_up())
}

/// Sorts the candidates of keyword number `index` into places and false alarms; each is used once.
pub fn judge(index: usize, keyword: &Keyword, recordings: &[Recording], found: &[Found]) -> Judged {
    let phrase = keyword.name.to_lowercase();
    let mut out = Judged::default();
    for (number, (recording, found)) in recordings.iter().zip(found).enumerate() {
        let mut places: Vec<((f32, f32), f32)> =
            recording.places(&phrase).into_iter().map(|p| (p, f32::NEG_INFINITY)).collect();
        // From the highest score down, as they are sorted.
        for candidate in &found[index] {
            let open = |place: &&mut ((f32, f32), f32)| {
                place.1 == f32::NEG_INFINITY && hits(candidate.start, candidate.end, place.0)
            };
            match places.iter_mut().find(open) {
                Some(place) => place.1 = candidate.score,
                None if recording.says(candidate.start, candidate.end, keyword) => out.inside.push(candidate.score),
                None => out.alarms.push(candidate.score),
            }
        }
        out.places.extend(places.into_iter().map(|(_, score)| (number, score)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Word;
    use kws_live::detect::{Embedding, Pronunciation};
    use kws_live::text::parse_phones;

    fn candidate(score: f32, start: f32) -> Candidate {
        Candidate { score, start, end: start + 0.4 }
    }

    #[test]
    fn a_place_takes_one_candidate_and_the_rest_are_false_alarms() {
        let phones = |text: &str| parse_phones(text).expect("ARPAbet");
        let word = |text: &str, said: &str, start: f32| Word {
            text: text.into(),
            start,
            end: start + 0.4,
            phones: phones(said),
        };
        let words =
            vec![word("stop", "S T AA P", 1.0), word("stopped", "S T AA P T", 4.0), word("stop", "S T AA P", 7.0)];
        let recording = Recording { words, ..Recording::default() };
        let embedding = Embedding::new(vec![1.0]).expect("a direction");
        let pronunciations = vec![Pronunciation { phones: phones("S T AA P"), embedding, frames: None, level: None }];
        let keyword = Keyword { name: "Stop".into(), pronunciations, threshold: None };
        // At a place, beside it, inside another word, nowhere.
        let found = vec![vec![candidate(0.9, 1.1), candidate(0.8, 0.6), candidate(0.7, 4.0), candidate(0.3, 3.0)]];
        let judged = judge(0, &keyword, &[recording], &[found]);
        assert_eq!(judged.places, [(0, 0.9), (0, f32::NEG_INFINITY)]);
        assert_eq!((judged.alarms, judged.inside), (vec![0.8, 0.3], vec![0.7]));
    }
}
