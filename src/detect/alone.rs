//! Whether a stretch stands alone: a word said by itself has a pause before it and after it, and hardly any false alarm has.

use std::ops::Range;

use crate::text::BLANK;

/// Frames before a stretch in which nothing should be said (240 ms).
const BEFORE: usize = 8;
/// Frames after it (120 ms): what is said alone may be told so much later.
pub(super) const AFTER: usize = 4;
/// Phone frames in both that take most of it away.
const PHONES: f32 = 0.8;
/// What stands alone by less does not at all.
const LEAST: f32 = 0.1;

/// Where phones were heard of late.
pub(super) struct Alone {
    /// Probability that a frame holds a phone, frame `f` at `f % len`, a power of two.
    phones: Vec<f32>,
    /// Frames heard.
    count: u64,
}

impl Alone {
    /// For stretches of which the first frame lies up to `longest` frames back.
    pub fn new(longest: usize) -> Self {
        Self { phones: vec![0.0; (longest + BEFORE).next_power_of_two()], count: 0 }
    }

    /// Takes the log-posteriors of the next frame, `[classes]`.
    pub fn push(&mut self, log_posteriors: &[f32]) {
        let slot = self.slot(self.count);
        self.phones[slot] = 1.0 - log_posteriors[BLANK].exp();
        self.count += 1;
    }

    fn slot(&self, frame: u64) -> usize {
        frame as usize & (self.phones.len() - 1)
    }

    /// How many of these frames hold phones; those that were not heard, or are no longer kept, hold none.
    fn heard(&self, frames: Range<u64>) -> f32 {
        let kept = self.count.saturating_sub(self.phones.len() as u64);
        (frames.start.max(kept)..frames.end.min(self.count)).map(|frame| self.phones[self.slot(frame)]).sum()
    }

    /// How far a stretch that ends before frame `end` may stand alone at the most, by what was heard behind it.
    pub fn most(&self, end: u64) -> f32 {
        Self::by(self.heard(end..end + AFTER as u64))
    }

    fn by(phones: f32) -> f32 {
        let alone = (-phones / PHONES).exp();
        if alone < LEAST { 0.0 } else { alone }
    }

    /// How far the stretch from frame `start` to before frame `end` stands alone, 0 to 1; [`AFTER`] frames behind it have been heard.
    pub fn of(&self, start: u64, end: u64) -> f32 {
        let before = start.saturating_sub(BEFORE as u64)..start;
        Self::by(self.heard(before) + self.heard(end..end + AFTER as u64))
    }

    /// Forgets what was heard.
    pub fn reset(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::CLASSES;

    #[test]
    fn phones_on_either_side_count_and_those_inside_and_far_off_do_not() {
        let mut alone = Alone::new(20);
        // Frames 10 to 14 are a word, in frame 1 something is said, in frame 19 something half likely.
        for frame in 0..24 {
            let blank: f32 = if frame == 1 || (10..15).contains(&frame) {
                1e-9
            } else if frame == 19 {
                0.5
            } else {
                1.0
            };
            let mut row = vec![-20.0; CLASSES];
            row[BLANK] = blank.ln();
            alone.push(&row);
        }
        assert_eq!(alone.of(10, 15), 1.0);
        let near = |got: f32, phones: f32| assert!((got - (-phones / PHONES).exp()).abs() < 1e-6, "{got}");
        near(alone.of(9, 15), 1.0);
        assert_eq!((alone.most(15), alone.most(10)), (1.0, 0.0));
        near(alone.of(10, 16), 0.5);
        // The last frame of the word lies outside.
        near(alone.of(10, 14), 1.0);
        // Frames that are no longer kept were overwritten by others.
        let silence: Vec<f32> = (0..CLASSES).map(|class| if class == BLANK { 0.0 } else { -20.0 }).collect();
        (0..32).for_each(|_| alone.push(&silence));
        assert_eq!((alone.of(26, 30), alone.of(15, 20)), (1.0, 1.0));
        alone.push(&[-20.0; CLASSES]);
        near(alone.of(50, 53), 1.0);
        alone.reset();
        assert_eq!(alone.of(0, 0), 1.0, "before the stream nothing was said");
    }
}
