//! What became of a corpus that was aligned.

use anyhow::Result;

use super::borders::Differences;
use crate::data::{Entry, Word};

/// A transcript with its place in a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Words with their times.
    pub words: Vec<Word>,
    /// Mean log-likelihood ratio a phone, at most 0.
    pub score: f32,
}

/// A recording that was listened to.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Its length.
    pub seconds: f32,
    /// `None` where the text does not fit into it or cannot be said.
    pub found: Option<Found>,
}

/// Counts, scores and comparison with the word times that were there before.
#[derive(Debug, Default)]
pub struct Report {
    aligned: usize,
    /// Scored too low.
    doubtful: usize,
    /// The text does not fit into the recording or cannot be said.
    unfit: usize,
    unreadable: usize,
    hours: f64,
    scores: Vec<f32>,
    differences: Differences,
    compared: usize,
}

impl Report {
    /// Puts the outcome for a recording into its manifest line: length, score, and words if the score is high enough.
    ///
    /// `heard` is `None` where the recording could not be read.
    ///
    /// # Errors
    /// If the words that the line had are not ARPAbet.
    pub fn take(&mut self, entry: &mut Entry, heard: Option<Heard>, min_score: f32) -> Result<()> {
        let before = entry.words()?;
        // What cannot be read now may have been read before.
        let Some(Heard { seconds, found }) = heard else {
            self.unreadable += 1;
            return Ok(());
        };
        entry.set_words(&[]);
        entry.align_score = None;
        entry.seconds = (seconds * 100.0).round() / 100.0;
        let Some(Found { words, score }) = found else {
            self.unfit += 1;
            return Ok(());
        };
        self.scores.push(score);
        entry.align_score = Some((score * 1e3).round() / 1e3);
        if score < min_score {
            self.doubtful += 1;
            return Ok(());
        }
        self.aligned += 1;
        self.hours += f64::from(seconds) / 3_600.0;
        self.compared += usize::from(self.differences.add(&words, &before));
        entry.set_words(&words);
        Ok(())
    }

    /// Whether recordings were looked at and none of them could be read.
    pub fn is_deaf(&self) -> bool {
        self.unreadable > 0 && self.aligned + self.doubtful + self.unfit == 0
    }

    /// Writes it to the log; `compare` adds the differences of word borders.
    pub fn log(mut self, min_score: f32, compare: bool) {
        self.scores.sort_by(f32::total_cmp);
        let at = |q: f32| self.scores.get((self.scores.len() as f32 * q) as usize).copied().unwrap_or(f32::NAN);
        log::info!(
            "{} aligned ({:.2} h), {} below {min_score}, {} do not fit or hold a word that cannot be said, {} unreadable",
            self.aligned,
            self.hours,
            self.doubtful,
            self.unfit,
            self.unreadable
        );
        let (low, quarter, median, high) = (at(0.05), at(0.25), at(0.5), at(0.75));
        log::info!("log-likelihood ratio a phone: 5 % {low:.2}, 25 % {quarter:.2}, median {median:.2}, 75 % {high:.2}");
        if compare {
            log::info!("{} recordings with the same words in the manifest", self.compared);
            for line in self.differences.lines() {
                log::info!("{line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_recordings_keep_their_score_and_no_words() {
        let words = vec![Word { text: "a".into(), start: 0.0, end: 0.5, phones: Vec::new() }];
        let (mut report, mut good, mut bad) = (Report::default(), Entry::default(), Entry::default());
        let heard = |score| Some(Heard { seconds: 1.0, found: Some(Found { words: words.clone(), score }) });
        report.take(&mut good, heard(-0.5), -2.0).expect("no old words");
        report.take(&mut bad, heard(-2.5), -2.0).expect("no old words");
        // One that was aligned before, on a disk that is gone.
        let mut gone = good.clone();
        assert!(!report.is_deaf());
        report.take(&mut gone, None, -2.0).expect("its words are fine");
        assert_eq!((gone.words.len(), gone.align_score), (1, Some(-0.5)));
        assert_eq!((good.words.len(), good.align_score), (1, Some(-0.5)));
        assert_eq!((bad.words.len(), bad.align_score), (0, Some(-2.5)));
        assert_eq!((report.aligned, report.doubtful, report.unreadable), (1, 1, 1));
    }
}
