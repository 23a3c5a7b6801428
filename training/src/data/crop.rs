//! Crops of continuous speech: stretches of several recordings laid end to end, with every word's place.

use std::ops::Range;

use kws_live::text::Phone;
use rand::Rng;
use rand::rngs::SmallRng;

use super::augment::Augmenter;
use super::{Cache, RATE, Word};

/// A recording with aligned words.
#[derive(Debug, Clone)]
pub struct Utterance {
    /// Index into the cache.
    pub clip: usize,
    /// Aligned words, in order.
    pub words: Vec<Word>,
    /// Speaker; empty where unknown.
    pub speaker: String,
}

/// A word span to embed: consecutive words of one recording.
#[derive(Debug, Clone)]
pub struct Span {
    /// First and one past the last word in [`Crop::words`].
    pub words: Range<usize>,
}

/// Audio of fixed length with its words; times in seconds from the crop's start.
#[derive(Debug, Default)]
pub struct Crop {
    /// Samples at 16 kHz.
    pub audio: Vec<f32>,
    /// Words wholly inside.
    pub words: Vec<Word>,
    /// Recording number of each word, so that no span crosses a seam.
    pub source: Vec<usize>,
}

/// Spelling and phones of consecutive words.
pub(super) fn joined(words: &[Word]) -> (String, Vec<Phone>) {
    let spelling = words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
    (spelling, words.iter().flat_map(|w| w.phones.iter().copied()).collect())
}

/// Room kept on each side of a cut, seconds; shrinks to half the gap to the neighbouring word.
const MARGIN: f32 = 0.2;

impl Crop {
    /// Silence of `samples` samples.
    pub fn empty(samples: usize) -> Self {
        Self { audio: vec![0.0; samples], ..Self::default() }
    }

    /// Lays a stretch of `utterance` around word `focus` into the seconds of `place`: as many words as fit, and no more
    /// than `most`.
    ///
    /// Returns the second at which it ends, or `None` where not even one word fits.
    #[allow(clippy::too_many_arguments, reason = "one call site, and every argument is its own thing")]
    pub fn lay(
        &mut self,
        cache: &Cache,
        augmenter: &Augmenter<'_>,
        rng: &mut SmallRng,
        utterance: &Utterance,
        focus: usize,
        place: Range<f32>,
        most: usize,
    ) -> Option<f32> {
        let Range { start: at, end: until } = place;
        let words = &utterance.words;
        let samples = cache.samples(utterance.clip);
        let speed = augmenter.speed(rng);
        let room = (until - at) * speed;
        let before = |i: usize| {
            let gap = if i == 0 { words[0].start } else { words[i].start - words[i - 1].end };
            words[i].start - if i == 0 { gap.min(MARGIN) } else { (gap / 2.0).clamp(0.0, MARGIN) }
        };
        let total = samples.len() as f32 / RATE;
        let after = |i: usize| {
            let next = words.get(i + 1).map_or(total + MARGIN, |w| w.start);
            (words[i].end + ((next - words[i].end) / 2.0).clamp(0.0, MARGIN)).min(total)
        };
        let (mut first, mut last) = (focus, focus);
        if after(last) - before(first) > room {
            return None;
        }
        // Grow on both sides, at random, until the room is used up or the recording ends.
        loop {
            if last - first + 1 >= most {
                break;
            }
            let left = first > 0 && after(last) - before(first - 1) <= room;
            let right = last + 1 < words.len() && after(last + 1) - before(first) <= room;
            match (left, right) {
                (true, true) if rng.random::<bool>() => first -= 1,
                (true, false) => first -= 1,
                (_, true) => last += 1,
                (false, false) => break,
            }
        }
        let (from, to) = (before(first).max(0.0), after(last));
        let gain = 10_f32.powf((rng.random::<f32>() - 0.5) * 0.6) / 32_768.0;
        let start = (at * RATE) as usize;
        let count = (((to - from) / speed * RATE) as usize).min(self.audio.len().saturating_sub(start));
        let fade = 160.0;
        for i in 0..count {
            let x = from * RATE + i as f32 * speed;
            let k = x as usize;
            if k + 1 >= samples.len() {
                break;
            }
            let t = x - k as f32;
            let value = f32::from(samples[k]) * (1.0 - t) + f32::from(samples[k + 1]) * t;
            let edge = (i as f32 / fade).min((count - i) as f32 / fade).min(1.0);
            self.audio[start + i] = value * gain * edge;
        }
        let source = self.source.last().map_or(0, |s| s + 1);
        for word in &words[first..=last] {
            self.words.push(Word {
                text: word.text.clone(),
                start: at + (word.start - from) / speed,
                end: at + (word.end - from) / speed,
                phones: word.phones.clone(),
            });
            self.source.push(source);
        }
        Some(at + count as f32 / RATE)
    }

    /// Words and short phrases of one recording whose place and `window`, in seconds, share more than 0.4 of what they
    /// cover together: spelling and phones.
    pub fn near(&self, window: Range<f32>) -> Vec<(String, Vec<Phone>)> {
        let mut out = Vec::new();
        for first in 0..self.words.len() {
            for last in first..self.words.len().min(first + 3) {
                let place = self.words[first].start..self.words[last].end;
                if self.source[first] == self.source[last] && overlap(&window, &place) > 0.4 {
                    out.push(joined(&self.words[first..=last]));
                }
            }
        }
        out
    }

    /// Phones of all words, in order: the CTC target.
    pub fn targets(&self) -> Vec<i64> {
        self.words.iter().flat_map(|w| &w.phones).map(|p| p.id() as i64).collect()
    }
}

/// What two stretches share of what they cover together, 0 to 1.
pub(super) fn overlap(a: &Range<f32>, b: &Range<f32>) -> f32 {
    let shared = (a.end.min(b.end) - a.start.max(b.start)).max(0.0);
    shared / (a.end.max(b.end) - a.start.min(b.start))
}
