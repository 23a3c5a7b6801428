//! Phone paths: streaming CTC Viterbi of every pronunciation against the best free phone path.

use crate::text::{BLANK, Phone};

/// A frame's log-likelihood ratio is not allowed below this, so that one bad frame does not hide a word.
const WORST: f32 = -8.0;

/// A frame's log-likelihood ratios of its classes to the best of them.
pub(crate) fn against_best(log_posteriors: &[f32]) -> impl Iterator<Item = f32> {
    let best = log_posteriors.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    log_posteriors.iter().map(move |p| (p - best).max(WORST))
}

/// Viterbi states of many pronunciations, side by side.
///
/// A pronunciation of N phones has the 2N - 1 states `p1 (blank) p2 (blank) ... pN` with optional blanks; equal
/// neighbours need theirs. Emissions are `log p(class) - max log p` of the frame: the ratio to a free phone loop, at most
/// 0. The first state is re-armed every frame. Scores are per phone.
#[derive(Default)]
pub struct PhonePaths {
    labels: Vec<u8>,
    /// Whether the state may be entered from two states before: a phone after a different phone.
    skips: Vec<bool>,
    scores: Vec<f32>,
    /// First state and number of phones of each pronunciation.
    paths: Vec<(usize, usize)>,
    emissions: Vec<f32>,
}

impl PhonePaths {
    /// Adds a pronunciation; returns its index.
    pub fn add(&mut self, phones: &[Phone]) -> usize {
        self.paths.push((self.labels.len(), phones.len()));
        for (i, phone) in phones.iter().enumerate() {
            if i > 0 {
                self.labels.push(BLANK as u8);
                self.skips.push(false);
            }
            self.labels.push(phone.id() as u8);
            self.skips.push(i > 0 && phones[i - 1] != *phone);
        }
        self.scores.resize(self.labels.len(), f32::NEG_INFINITY);
        self.paths.len() - 1
    }

    /// Number of pronunciations.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Removes everything; memory is kept.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.skips.clear();
        self.scores.clear();
        self.paths.clear();
    }

    /// Forgets the audio, keeps the pronunciations.
    pub fn reset(&mut self) {
        self.scores.fill(f32::NEG_INFINITY);
    }

    /// Takes the log-posteriors of the next frame, `[classes]`.
    pub fn step(&mut self, log_posteriors: &[f32]) {
        self.emissions.clear();
        self.emissions.extend(against_best(log_posteriors));
        for (p, &(first, phones)) in self.paths.iter().enumerate() {
            let last = self.paths.get(p + 1).map_or(self.labels.len(), |next| next.0);
            debug_assert_eq!(last - first, (2 * phones).saturating_sub(1));
            let labels = &self.labels[first..last];
            let skips = &self.skips[first..last];
            let scores = &mut self.scores[first..last];
            // From the last state back, so that every state still sees the previous frame.
            for s in (0..labels.len()).rev() {
                let mut score = scores[s];
                if s > 0 {
                    score = score.max(scores[s - 1]);
                }
                if skips[s] {
                    score = score.max(scores[s - 2]);
                }
                if s == 0 {
                    score = score.max(0.0);
                }
                scores[s] = score + self.emissions[usize::from(labels[s])];
            }
        }
    }

    /// Score a phone (at most 0) of the best path of pronunciation `index` that ends in the last frame. A pronunciation without phones
    /// scores 0 everywhere: it has no say.
    pub fn score(&self, index: usize) -> f32 {
        let (first, phones) = self.paths[index];
        if phones == 0 {
            return 0.0;
        }
        self.scores[first + 2 * phones - 2] / phones as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{CLASSES, parse_phones};

    /// Log-posteriors with `ratio` for the given classes relative to the best, which is `best`.
    fn frame(best: usize, others: &[(usize, f32)]) -> Vec<f32> {
        let mut row = vec![-20.0; CLASSES];
        row[best] = -0.1;
        for &(class, ratio) in others {
            row[class] = -0.1 + ratio;
        }
        row
    }

    #[test]
    fn a_clean_word_scores_zero() {
        let word = parse_phones("HH AH L OW").expect("ARPAbet");
        let ids: Vec<usize> = word.iter().map(|p| p.id()).collect();
        let mut paths = PhonePaths::default();
        paths.add(&word);
        let rows = [BLANK, BLANK, ids[0], BLANK, ids[1], ids[2], BLANK, ids[3]];
        for best in rows {
            paths.step(&frame(best, &[]));
        }
        assert!(paths.score(0).abs() < 1e-6, "{}", paths.score(0));
    }

    #[test]
    fn a_doubtful_phone_costs_its_ratio_by_hand() {
        let word = parse_phones("S T").expect("ARPAbet");
        let (s, t) = (word[0].id(), word[1].id());
        let mut paths = PhonePaths::default();
        paths.add(&word);
        paths.step(&frame(s, &[]));
        paths.step(&frame(40 - 1, &[(t, -1.5)]));
        // (0 - 1.5) / 2 phones; staying in S at the floor and never reaching T would be worse.
        assert!((paths.score(0) + 0.75).abs() < 1e-6, "{:?}", paths.score(0));
    }

    #[test]
    fn equal_neighbours_need_a_blank_between() {
        let word = parse_phones("T T").expect("ARPAbet");
        let t = word[0].id();
        let mut paths = PhonePaths::default();
        paths.add(&word);
        paths.step(&frame(t, &[]));
        paths.step(&frame(t, &[(BLANK, -3.0)]));
        assert!(paths.score(0) < -3.0, "no path of two frames can say T T");
        paths.step(&frame(t, &[(BLANK, -3.0)]));
        assert!((paths.score(0) + 1.5).abs() < 1e-6, "blank in frame 1 at -3, over 2 phones");
    }

    #[test]
    fn a_pronunciation_without_phones_scores_zero_and_leaves_the_others_alone() {
        let word = parse_phones("HH AH").expect("ARPAbet");
        let mut paths = PhonePaths::default();
        for phones in [&[][..], &word, &[]] {
            paths.add(phones);
        }
        for phone in word {
            paths.step(&frame(phone.id(), &[]));
        }
        assert_eq!([0, 1, 2].map(|i| paths.score(i)), [0.0; 3]);
    }

    #[test]
    fn reset_equals_new() {
        let word = parse_phones("S T AA P").expect("ARPAbet");
        let run = |paths: &mut PhonePaths| {
            for phone in &word {
                paths.step(&frame(phone.id(), &[]));
            }
            paths.score(0)
        };
        let mut paths = PhonePaths::default();
        paths.add(&word);
        let first = run(&mut paths);
        paths.reset();
        assert_eq!(run(&mut paths), first);
    }
}
