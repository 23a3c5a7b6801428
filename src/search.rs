//! Spoken term detection: what counts as found is decided for each keyword over all that was searched.
//!
//! Live, a score has to be judged when it is heard. A search knows every place of a keyword before it has to decide, and
//! the scores of all of them together tell how often the keyword is said and how often something sounds like it. The
//! threshold of a keyword is then the probability at which one more place is worth its risk under the term-weighted value
//! (keyword-specific threshold: Miller et al., "Rapid and accurate spoken term detection", Interspeech 2007).

use crate::detect::{ScorerConfig, logit, sigmoid};

/// Price of a false alarm against a miss (NIST STD 2006).
pub const BETA: f64 = 999.9;

/// What is less likely to be the keyword is not worth a look. A word that is said once in ten hours is worth its risk from three
/// hundredths on.
pub const LEAST: f32 = 0.01;

/// The least that a search counts as searched, seconds. In less audio, what a false alarm costs would let nothing through.
pub const LEAST_SECONDS: f64 = 3_600.0;

/// How relevant the places of one keyword are, 0 to 1, in the order of their `scores`: 0.5 and above counts as found.
///
/// `scores` are those of all places that may be it in `seconds` of audio; what is less likely than [`LEAST`] has no relevance. The
/// order of the places does not change, only where the border lies.
pub fn relevance(scores: &[f32], scorer: &ScorerConfig, seconds: f64) -> Vec<f32> {
    let seconds = seconds.max(LEAST_SECONDS);
    let likely = |score: f32| Some(scorer.posterior(score)).filter(|p| *p >= LEAST);
    let said: f64 = scores.iter().filter_map(|&s| likely(s)).map(f64::from).sum();
    let threshold = BETA * said / (seconds + (BETA - 1.0) * said);
    let over = |p: f32| sigmoid(logit(p) - logit(threshold as f32));
    scores.iter().map(|&s| likely(s).map_or(0.0, over)).collect()
}

/// Samples between the middles of two places of one keyword, at least (0.6 s).
pub const APART: u64 = 9_600;

/// The highest of what may be a keyword, from the highest score down, none nearer than [`APART`] to a higher one. `of` tells score, first
/// sample and end.
pub fn highest<T>(mut heard: Vec<T>, of: impl Fn(&T) -> (f32, u64, u64)) -> Vec<T> {
    heard.sort_by(|a, b| of(b).0.total_cmp(&of(a).0));
    // Twice the middle, so that it is whole.
    let middle = |one: &T| of(one).1 + of(one).2;
    let mut places: Vec<T> = Vec::new();
    for one in heard {
        if places.iter().all(|place| middle(place).abs_diff(middle(&one)) >= 2 * APART) {
            places.push(one);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_highest_of_near_frames_stays() {
        let heard = |score: f32, start: u64| (score, start, start + 6_400);
        let frames = vec![heard(0.2, 0), heard(0.9, 1_600), heard(0.5, 10_400), heard(0.4, 11_200)];
        assert_eq!(highest(frames, |one| *one), [heard(0.9, 1_600), heard(0.4, 11_200)]);
    }

    #[test]
    fn the_threshold_by_hand() {
        // Posteriors are the scores. Two hours; 0.9 + 0.5 + 0.1 = 1.5 places expected.
        let scorer = ScorerConfig { prior: 0.0, ..ScorerConfig::default() };
        let found = relevance(&[0.9, 0.5, 0.1], &scorer, 7_200.0);
        let threshold = 999.9 * 1.5 / (7_200.0 + 998.9 * 1.5);
        for (got, p) in found.iter().zip([0.9_f64, 0.5, 0.1]) {
            let odds = p / (1.0 - p) * (1.0 - threshold) / threshold;
            assert!((f64::from(*got) - odds / (1.0 + odds)).abs() < 1e-4, "{got} of {p}");
        }
        assert!(found[1] > 0.5 && found[2] < 0.5);
    }

    #[test]
    fn a_word_that_much_sounds_like_needs_more_than_one_that_little_does() {
        let scorer = ScorerConfig::default();
        let of = |others: usize| {
            let mut scores = vec![0.4; others];
            scores.push(0.6);
            relevance(&scores, &scorer, 7_200.0)[others]
        };
        assert!(of(1) > of(30), "{} {}", of(1), of(30));
    }

    #[test]
    fn a_short_recording_is_judged_as_part_of_an_hour() {
        let scorer = ScorerConfig::default();
        assert_eq!(relevance(&[0.7], &scorer, 5.0), relevance(&[0.7], &scorer, 3_600.0));
        assert!(relevance(&[0.7], &scorer, 5.0)[0] > 0.5);
        assert!(relevance(&[], &scorer, 5.0).is_empty());
    }

    #[test]
    fn what_is_not_worth_a_look_is_not_relevant() {
        // With the prior of a model whose scores are no probabilities, 0.05 is less likely than a hundredth.
        let scorer = ScorerConfig::default();
        assert!(scorer.posterior(0.05) < LEAST && scorer.posterior(0.2) > LEAST);
        assert_eq!(relevance(&[0.05], &scorer, 7_200.0), [0.0]);
        assert_eq!(relevance(&[0.6, 0.05], &scorer, 7_200.0)[0], relevance(&[0.6], &scorer, 7_200.0)[0]);
    }
}
