//! How what the witnesses say becomes one calibrated score.

use serde::{Deserialize, Serialize};

use super::keyword::{Keyword, Pronunciation};
use crate::model::ModelError;
use crate::words::RivalWeights;

/// Scoring parameters; they travel with the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorerConfig {
    /// Window lengths to try, encoder frames, ascending.
    pub window_frames: Vec<usize>,
    /// Shortest window of a text, seconds a phone.
    pub min_seconds_per_phone: f32,
    /// Longest window of a text, seconds a phone.
    pub max_seconds_per_phone: f32,
    /// Added to the longest window, seconds.
    pub slack_seconds: f32,
    /// Gain of the cosine's calibration learned in training: `logit = cos_scale * cos + cos_bias`.
    pub cos_scale: f32,
    /// Its bias.
    pub cos_bias: f32,
    /// Learned on development data: `logit = f0 + f1 * cosine logit + f2 * path + f3 * expected`, the last of
    /// which is [`crate::detect::Pronunciation::expected`].
    pub fusion: [f32; 4],
    /// Learned on development data, and added to that logit: weights of the logarithm of the number of ways to say a keyword, each of
    /// which brings false alarms of its own, and of that of the phones of the way.
    #[serde(default)]
    pub ways: [f32; 2],
    /// Learned on development data, and added to that logit as well: weight of how far a window stands alone
    /// ([`crate::detect::FrameScore::alone`]).
    #[serde(default)]
    pub alone: f32,
    /// Score that counts as a detection at sensitivity 0.5.
    pub threshold: f32,
    /// Learned on development data: logarithm of the odds that what scores 0.5 is the word, among words that are said.
    #[serde(default = "prior")]
    pub prior: f32,
    /// Learned on development data: weights of cosine and phone path where whole words compete (see [`crate::words`]).
    #[serde(default = "words")]
    pub words: [f32; 2],
    /// Learned on development data: how words that may have been said instead are weighed, in a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rivals: Option<RivalWeights>,
}

/// Before it is learned.
fn prior() -> f32 {
    -2.5
}

/// Before they are learned.
fn words() -> [f32; 2] {
    [40.0, 2.0]
}

impl Default for ScorerConfig {
    fn default() -> Self {
        Self {
            window_frames: vec![6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 48, 58],
            min_seconds_per_phone: 0.045,
            max_seconds_per_phone: 0.16,
            slack_seconds: 0.15,
            cos_scale: 10.0,
            cos_bias: -5.0,
            fusion: [0.0, 1.0, 1.0, 0.0],
            ways: [0.0; 2],
            alone: 0.0,
            threshold: 0.5,
            prior: prior(),
            words: words(),
            rivals: None,
        }
    }
}

impl ScorerConfig {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] names the field.
    pub fn check(&self) -> Result<(), ModelError> {
        let mismatch = |field: &str, got: String, expected: &str| {
            Err(ModelError::Mismatch { field: format!("scorer.{field}"), got, expected: expected.into() })
        };
        let windows = &self.window_frames;
        if windows.is_empty() || windows[0] == 0 || !windows.is_sorted() || windows[windows.len() - 1] > 512 {
            return mismatch("window_frames", format!("{windows:?}"), "ascending lengths of 1 to 512 frames");
        }
        if !(self.threshold > 0.0 && self.threshold < 1.0) {
            return mismatch("threshold", self.threshold.to_string(), "between 0 and 1");
        }
        let rivals: Vec<f32> = self.rivals.iter().flat_map(RivalWeights::values).collect();
        let numbers: [(&str, &[f32]); 11] = [
            ("min_seconds_per_phone", &[self.min_seconds_per_phone]),
            ("max_seconds_per_phone", &[self.max_seconds_per_phone]),
            ("slack_seconds", &[self.slack_seconds]),
            ("fusion", &self.fusion),
            ("ways", &self.ways),
            ("alone", &[self.alone]),
            ("words", &self.words),
            ("cos_scale", &[self.cos_scale]),
            ("cos_bias", &[self.cos_bias]),
            ("prior", &[self.prior]),
            ("rivals", &rivals),
        ];
        if self.alone < 0.0 {
            return mismatch("alone", self.alone.to_string(), "0 or more");
        }
        match numbers.into_iter().find(|(_, values)| values.iter().any(|v| !v.is_finite())) {
            Some((field, values)) => mismatch(field, format!("{values:?}"), "finite"),
            None => Ok(()),
        }
    }

    /// Shortest and longest window for a text of `phones` phones, in frames of `frame_seconds`.
    pub fn window_range(&self, phones: usize, frame_seconds: f32) -> (f32, f32) {
        let n = phones as f32;
        let low = n * self.min_seconds_per_phone / frame_seconds;
        (low, (n * self.max_seconds_per_phone + self.slack_seconds) / frame_seconds)
    }

    /// Which of `window_frames` to compare with a text of `phones` phones, or with what lasts `frames`; never none.
    pub fn windows_for(&self, phones: usize, frames: Option<(f32, f32)>, frame_seconds: f32) -> std::ops::Range<usize> {
        let windows = &self.window_frames;
        let (low, high) = frames.unwrap_or_else(|| self.window_range(phones, frame_seconds));
        let first = windows.partition_point(|&w| (w as f32) < low);
        let last = windows.partition_point(|&w| w as f32 <= high);
        if first < last {
            return first..last;
        }
        // Longer or shorter than every window: the nearest one.
        let nearest = first.min(windows.len() - 1);
        nearest..nearest + 1
    }

    /// What [`Self::fuse`] starts from for one of the ways to say a keyword.
    pub fn offset(&self, keyword: &Keyword, way: &Pronunciation) -> f32 {
        let [expected, ways, phones] = Self::traits(keyword, way);
        self.fusion[0] + self.fusion[3] * expected + self.ways[0] * ways + self.ways[1] * phones
    }

    /// What the offset depends on: what is expected of the way, and the logarithms of the number of ways and of the way's phones.
    pub fn traits(keyword: &Keyword, way: &Pronunciation) -> [f32; 3] {
        let log = |count: usize| (count.max(1) as f32).ln();
        [way.expected(), log(keyword.pronunciations.len()), log(way.phones.len())]
    }

    /// Fused score, a logit, of a cosine and a path score (mean log-likelihood ratio a phone, at most 0), from a way's offset on.
    pub fn fuse(&self, cosine: f32, path: f32, offset: f32) -> f32 {
        let [_, f1, f2, _] = self.fusion;
        offset + f1 * (self.cos_scale * cosine + self.cos_bias) + f2 * path
    }

    /// Logit of the probability that a keyword is said, by [`crate::detect::FrameScore::fit`] and the logit of the share among rivals.
    pub fn contest(&self, fit: f32, share: f32) -> f32 {
        let [f0, f1, f2] = self.rivals.map_or([0.0, 1.0, 0.0], |r| r.fusion);
        f0 + f1 * fit + f2 * share
    }

    /// The parameters of what a search hears: where words compete, its scores are probabilities already.
    #[must_use]
    pub fn contested(&self) -> Self {
        Self { prior: if self.rivals.is_some() { 0.0 } else { self.prior }, ..self.clone() }
    }

    /// Probability that what scores `score` is the word. The logit of a calibrated score counts false alarms; how often words
    /// are said is the rest.
    pub fn posterior(&self, score: f32) -> f32 {
        sigmoid(logit(score) + self.prior)
    }

    /// Score threshold at `sensitivity` 0 (deaf) to 1 (jumpy). A quarter is a factor of ten in false alarms: the logit of a
    /// calibrated score is minus the logarithm of their number an hour.
    pub fn threshold_at(&self, sensitivity: f32) -> f32 {
        sigmoid(logit(self.threshold) + (0.5 - sensitivity.clamp(0.0, 1.0)) * 4.0 * std::f32::consts::LN_10)
    }
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Inverse of [`sigmoid`], clamped to finite values.
pub fn logit(p: f32) -> f32 {
    let p = p.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

/// `ln(e^a + e^b)`.
pub fn log_add(a: f32, b: f32) -> f32 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f32::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Embedding;
    use crate::text::parse_phones;

    #[test]
    fn sensitivity_moves_the_threshold_both_ways() {
        let config = ScorerConfig { threshold: 0.5, ..ScorerConfig::default() };
        assert!((config.threshold_at(0.5) - 0.5).abs() < 1e-6);
        assert!((config.threshold_at(1.0) - 1.0 / 101.0).abs() < 1e-6);
        assert!((config.threshold_at(0.0) - 100.0 / 101.0).abs() < 1e-6);
    }

    #[test]
    fn a_number_that_is_none_is_told_by_its_name() {
        let broken = [
            (ScorerConfig { prior: f32::NAN, ..ScorerConfig::default() }, "scorer.prior"),
            (ScorerConfig { slack_seconds: f32::INFINITY, ..ScorerConfig::default() }, "scorer.slack_seconds"),
            (ScorerConfig { ways: [0.0, f32::NAN], ..ScorerConfig::default() }, "scorer.ways"),
            (ScorerConfig { alone: f32::NAN, ..ScorerConfig::default() }, "scorer.alone"),
            (ScorerConfig { alone: -1.0, ..ScorerConfig::default() }, "scorer.alone"),
        ];
        for (config, field) in broken {
            let error = config.check().expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
        ScorerConfig::default().check().expect("as it is made");
    }

    #[test]
    fn fusion_by_hand() {
        let config = ScorerConfig {
            cos_scale: 10.0,
            cos_bias: -5.0,
            fusion: [0.5, 2.0, 1.5, -0.25],
            ways: [-0.5, -2.0],
            ..ScorerConfig::default()
        };
        let way = |phones: &str| Pronunciation {
            phones: parse_phones(phones).expect("ARPAbet"),
            embedding: Embedding::new(vec![1.0]).expect("a direction"),
            frames: None,
            level: Some(4.0),
        };
        let pronunciations = vec![way("EH N D"), way("AE N")];
        let keyword = Keyword { name: "and".into(), pronunciations, threshold: None };
        let offset = config.offset(&keyword, &keyword.pronunciations[0]);
        // 0.5 - 0.25 * 4 - 0.5 ln 2 - 2 ln 3
        assert!((offset - (-0.5 - 0.5 * 2_f32.ln() - 2.0 * 3_f32.ln())).abs() < 1e-6);
        // 2 (10 * 0.7 - 5) + 1.5 (-1)
        assert!((config.fuse(0.7, -1.0, offset) - (offset + 4.0 - 1.5)).abs() < 1e-6);
        assert_eq!(config.contest(0.7, -1.0), 0.7);
        let rivals = RivalWeights { fusion: [0.5, 2.0, 1.5], ..RivalWeights::UNLEARNED };
        let config = ScorerConfig { rivals: Some(rivals), ..config };
        // 0.5 + 2 * 2 - 1.5
        assert!((config.contest(2.0, -1.0) - 3.0).abs() < 1e-6);
    }
}
