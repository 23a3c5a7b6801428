//! Whether a stretch stands alone: a word said by itself has a pause before it and after it, and hardly any false alarm has.

use super::prefix::PrefixRing;
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
    /// Probability that a frame holds a phone.
    phones: PrefixRing,
}

impl Alone {
    /// For stretches of which the first frame lies up to `longest` frames back.
    pub fn new(longest: usize) -> Self {
        Self { phones: PrefixRing::new(1, 1, longest + BEFORE) }
    }

    /// Takes the log-posteriors of the next frame, `[classes]`.
    pub fn push(&mut self, log_posteriors: &[f32]) {
        self.phones.push(&[1.0 - log_posteriors[BLANK].exp()]);
    }

    /// How far the stretch from frame `start` to before frame `end` stands alone, 0 to 1; [`AFTER`] frames behind it have been heard.
    pub fn of(&self, start: u64, end: u64) -> f32 {
        let heard = |end: u64, frames: usize| {
            let mut mean = [0.0];
            self.phones.pool(end, frames, &mut mean);
            mean[0] * frames as f32
        };
        let alone = (-(heard(start, BEFORE) + heard(end + AFTER as u64, AFTER)) / PHONES).exp();
        if alone < LEAST { 0.0 } else { alone }
    }

    /// Forgets what was heard.
    pub fn reset(&mut self) {
        self.phones.reset();
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
        near(alone.of(10, 16), 0.5);
        // The last frame of the word lies outside.
        near(alone.of(10, 14), 1.0);
        alone.reset();
        assert_eq!(alone.of(0, 0), 1.0, "before the stream nothing was said");
    }
}
