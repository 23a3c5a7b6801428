//! What a spotter tells: detections, scores, the state of its keywords.

use std::sync::Arc;

use crate::detect::Keyword;

/// Handle of a keyword in a [`Spotter`](super::Spotter); never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeywordId(pub u64);

/// A keyword was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Which keyword.
    pub keyword: KeywordId,
    /// Its name.
    pub name: Arc<str>,
    /// Calibrated score, 0 to 1, when it came out: what is told before it is known whether the word stands alone is told without what
    /// that adds ([`crate::detect::ScorerConfig::alone`]).
    pub score: f32,
    /// First sample of the word, counted from stream start at 16 kHz.
    pub start: u64,
    /// One past its last sample.
    pub end: u64,
    /// Samples that had been fed when the detection came out: `emitted - end` is the latency.
    pub emitted: u64,
}

/// A keyword's score in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trace {
    /// Index of the keyword, in the order they were added.
    pub keyword: usize,
    /// The score and what it is of.
    pub heard: Best,
}

/// A score of a keyword and the window it was reached on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Score, 0 to 1.
    pub score: f32,
    /// First sample of its window.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Cosine at that frame.
    pub cosine: f32,
    /// Path score a phone at that frame.
    pub path: f32,
    /// How far the window stands alone, 0 to 1; 0 where it weighs nothing.
    pub alone: f32,
    /// Logit of all three.
    pub fit: f32,
    /// Logit of the share among rivals.
    pub share: f32,
}

/// A keyword's state, for display.
#[derive(Debug, Clone)]
pub struct KeywordStatus<'a> {
    /// Handle.
    pub id: KeywordId,
    /// The keyword.
    pub keyword: &'a Keyword,
    /// Highest score of the last chunk.
    pub score: f32,
    /// Threshold in force.
    pub threshold: f32,
    /// Highest score since start or reset; `None` before the first frame.
    pub best: Option<Best>,
}
