//! All keywords against every frame.

use std::collections::VecDeque;
use std::ops::Range;

use super::keyword::{Keyword, dot};
use super::path::PhonePaths;
use super::prefix::PrefixRing;
use super::scorer::{ScorerConfig, sigmoid};
use super::trigger::Peak;
use crate::model::{EncoderOutput, EncoderSpec, ModelError, WindowHead};
use crate::words::{self, Rivals, no_share};

/// Turns pooled windows into unit-norm embeddings.
pub trait WindowEmbedder: Send {
    /// Embedding size.
    fn dim(&self) -> usize;

    /// `pooled` `[N, K * part_dim]` to `out` `[N, D]`.
    ///
    /// # Errors
    /// If the backend fails.
    fn embed(&mut self, pooled: &[f32], out: &mut [f32]) -> Result<(), ModelError>;
}

impl WindowEmbedder for WindowHead {
    fn dim(&self) -> usize {
        self.dim()
    }

    fn embed(&mut self, pooled: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        self.embed(pooled, out)
    }
}

/// The witnesses for one keyword in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameScore {
    /// Fused score with the span of the best window.
    pub peak: Peak,
    /// Cosine of the best window.
    pub cosine: f32,
    /// Path score a phone, best of the last frames.
    pub path: f32,
    /// Logit of these two.
    pub fit: f32,
    /// Logit of the share among rivals; the least where there are none, or nobody asked.
    pub share: f32,
}

impl FrameScore {
    /// Nothing was heard.
    pub fn nothing(frame: u64, path: f32) -> Self {
        let peak = Peak { score: 0.0, start: frame, end: frame + 1 };
        Self { peak, cosine: -1.0, path, fit: f32::NEG_INFINITY, share: no_share() }
    }
}

/// Frames that are pooled at once; the ring keeps them beside what windows and rivals look back on.
const PIECE: usize = 100;

/// Frames for which a path score stays valid: the two witnesses rarely peak in the same frame.
pub const PATH_MEMORY: usize = 6;

struct Entry {
    /// Which lengths to compare.
    windows: Range<usize>,
    /// [`ScorerConfig::offset`].
    offset: f32,
    /// Path scores of the last frames.
    recent: [f32; PATH_MEMORY],
}

/// Scores keywords; memory is taken when keywords change and when a chunk is longer than any before.
pub struct Matcher {
    config: ScorerConfig,
    ring: PrefixRing,
    head: Box<dyn WindowEmbedder>,
    paths: PhonePaths,
    rivals: Option<Rivals>,
    /// Scores of the last frames, keyword by keyword, that wait for what their rivals say.
    held: VecDeque<FrameScore>,
    entries: Vec<Entry>,
    /// Embeddings of all pronunciations, `[pronunciations, D]`.
    anchors: Vec<f32>,
    /// One past the last entry of each keyword.
    ends: Vec<usize>,
    pooled: Vec<f32>,
    embedded: Vec<f32>,
    /// Lengths that some keyword compares, of all that could be.
    windows: Range<usize>,
    width: usize,
    frame: u64,
    classes: usize,
    frame_seconds: f32,
}

impl Matcher {
    /// A matcher without keywords.
    pub fn new(config: ScorerConfig, spec: &EncoderSpec, head: Box<dyn WindowEmbedder>, frame_seconds: f32) -> Self {
        let longest = config.window_frames.last().copied().unwrap_or(1);
        Self {
            ring: PrefixRing::new(spec.parts, spec.part_dim, longest),
            paths: PhonePaths::default(),
            rivals: None,
            held: VecDeque::new(),
            entries: Vec::new(),
            anchors: Vec::new(),
            ends: Vec::new(),
            pooled: Vec::new(),
            embedded: Vec::new(),
            windows: 0..0,
            width: spec.proj_dim(),
            classes: spec.classes,
            frame: 0,
            config,
            head,
            frame_seconds,
        }
    }

    /// Lets words compete with the keywords that are set from now on. Scores are then probabilities, also of the keywords that have
    /// no rivals.
    #[must_use]
    pub fn with_rivals(mut self, rivals: Option<Rivals>) -> Self {
        if rivals.is_some() {
            let (parts, longest) = (self.ring.parts(), self.config.window_frames.last().copied().unwrap_or(1));
            self.ring = PrefixRing::new(parts, self.width / parts, PIECE + longest.max(words::MEMORY));
        }
        self.rivals = rivals;
        self
    }

    /// Scoring parameters.
    pub fn config(&self) -> &ScorerConfig {
        &self.config
    }

    /// Frames by which scores lag behind what is heard.
    pub fn delay_frames(&self) -> usize {
        if self.rivals.is_some() { words::AHEAD } else { 0 }
    }

    /// Replaces the keywords. What was heard of them so far is forgotten by the phone paths, and scores that wait are not told.
    ///
    /// # Panics
    /// If the embeddings of one have not the size of the model's.
    pub fn set_keywords<'a>(&mut self, keywords: impl Iterator<Item = &'a Keyword> + Clone) {
        if let Some(rivals) = &mut self.rivals {
            rivals.set_keywords(keywords.clone());
        }
        self.paths.clear();
        self.held.clear();
        self.entries.clear();
        self.anchors.clear();
        self.ends.clear();
        for keyword in keywords {
            for pronunciation in &keyword.pronunciations {
                let phones = pronunciation.phones.len().max(1);
                let windows = self.config.windows_for(phones, pronunciation.frames, self.frame_seconds);
                self.paths.add(&pronunciation.phones);
                let embedding = pronunciation.embedding.values();
                assert_eq!(embedding.len(), self.head.dim(), "`{}` was enrolled with another model", keyword.name);
                self.anchors.extend_from_slice(embedding);
                let offset = self.config.offset(keyword, pronunciation);
                self.entries.push(Entry { windows, offset, recent: [f32::NEG_INFINITY; PATH_MEMORY] });
            }
            self.ends.push(self.entries.len());
        }
        let first = self.entries.iter().map(|e| e.windows.start).min().unwrap_or(0);
        let last = self.entries.iter().map(|e| e.windows.end).max().unwrap_or(0);
        self.windows = first..last;
    }

    /// Scores a chunk of aligned frames (the encoder's delay already taken off the front by `skip`).
    ///
    /// Calls `on_score(frame, keyword, score)` for every frame and keyword, in that order; with rivals, that of
    /// [`Self::delay_frames`] before.
    ///
    /// # Errors
    /// If the window head fails.
    pub fn process(
        &mut self,
        output: &EncoderOutput,
        skip: usize,
        mut on_score: impl FnMut(u64, usize, FrameScore),
    ) -> Result<(), ModelError> {
        let proj = output.proj.get(skip * self.width..).unwrap_or_default();
        let posteriors = output.phones.get(skip * self.classes..).unwrap_or_default();
        let pieces = proj.chunks(PIECE * self.width).zip(posteriors.chunks(PIECE * self.classes));
        for (proj, posteriors) in pieces {
            self.piece(proj, posteriors, &mut on_score)?;
        }
        Ok(())
    }

    /// [`Self::process`] for so many frames as the ring keeps beside what came before.
    fn piece(
        &mut self,
        proj: &[f32],
        posteriors: &[f32],
        on_score: &mut impl FnMut(u64, usize, FrameScore),
    ) -> Result<(), ModelError> {
        let frames = proj.len() / self.width;
        if self.entries.is_empty() {
            proj.chunks_exact(self.width).for_each(|row| self.ring.push(row));
            if let Some(rivals) = &mut self.rivals {
                posteriors.chunks_exact(self.classes).for_each(|row| rivals.push(row));
            }
            self.frame += frames as u64;
            return Ok(());
        }
        let wanted = &self.config.window_frames[self.windows.clone()];
        let (lengths, shortest) = (wanted.len(), self.windows.start);
        let dim = self.head.dim();
        self.pooled.resize(frames * lengths * self.width, 0.0);
        self.embedded.resize(frames * lengths * dim, 0.0);
        for (row, pooled) in proj.chunks_exact(self.width).zip(self.pooled.chunks_exact_mut(lengths * self.width)) {
            self.ring.push(row);
            for (&length, out) in wanted.iter().zip(pooled.chunks_exact_mut(self.width)) {
                self.ring.pool(self.ring.count(), length, out);
            }
        }
        self.head.embed(&self.pooled, &mut self.embedded)?;
        for (row, windows) in posteriors.chunks_exact(self.classes).zip(self.embedded.chunks_exact(lengths * dim)) {
            self.paths.step(self.frame, row);
            if let Some(rivals) = &mut self.rivals {
                rivals.push(row);
            }
            let end = self.frame + 1;
            let slot = (self.frame % PATH_MEMORY as u64) as usize;
            let mut from = 0;
            for (keyword, &to) in self.ends.iter().enumerate() {
                let mut best = FrameScore::nothing(self.frame, f32::NEG_INFINITY);
                for i in from..to {
                    let entry = &mut self.entries[i];
                    entry.recent[slot] = self.paths.score(i).0;
                    let path = entry.recent.iter().copied().fold(f32::NEG_INFINITY, f32::max).max(-8.0);
                    let anchor = &self.anchors[i * dim..(i + 1) * dim];
                    let (mut cosine, mut length) = (-1.0, 1);
                    for w in entry.windows.clone() {
                        let at = (w - shortest) * dim;
                        let value = dot(anchor, &windows[at..at + dim]);
                        if value > cosine {
                            (cosine, length) = (value, self.config.window_frames[w]);
                        }
                    }
                    let fit = self.config.fuse(cosine, path, entry.offset);
                    if fit > best.fit {
                        let start = end.saturating_sub(length as u64);
                        let peak = Peak { score: sigmoid(fit), start, end };
                        best = FrameScore { peak, cosine, path, fit, ..best };
                    }
                }
                from = to;
                if self.rivals.is_some() {
                    self.held.push_back(best);
                } else {
                    on_score(self.frame, keyword, best);
                }
            }
            // The frame that has waited long enough.
            if let Some(rivals) = self.rivals.as_mut().filter(|_| self.held.len() > words::AHEAD * self.ends.len()) {
                for (keyword, mut score) in self.held.drain(..self.ends.len()).enumerate() {
                    score.peak.score = if !rivals.contest(keyword) {
                        self.config.posterior(score.peak.score)
                    } else if score.fit >= words::LEAST_LOGIT {
                        score.share = rivals.share(keyword, &self.ring, self.head.as_mut())?;
                        sigmoid(self.config.contest(score.fit, score.share))
                    } else {
                        0.0
                    };
                    on_score(self.frame - words::AHEAD as u64, keyword, score);
                }
            }
            self.frame += 1;
        }
        Ok(())
    }

    /// Starts anew at frame 0, keywords kept.
    pub fn reset(&mut self) {
        self.ring.reset();
        self.paths.reset();
        self.held.clear();
        if let Some(rivals) = &mut self.rivals {
            rivals.reset();
        }
        self.frame = 0;
        for entry in &mut self.entries {
            entry.recent = [f32::NEG_INFINITY; PATH_MEMORY];
        }
    }
}
