//! All keywords against every frame.

use std::collections::VecDeque;
use std::ops::Range;

use super::alone::{AFTER, Alone};
use super::anchors::Anchors;
use super::keyword::Keyword;
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
    /// How far the window stands alone, 0 to 1; 0 before that is known, and where it weighs nothing.
    pub alone: f32,
    /// Logit of all three.
    pub fit: f32,
    /// Logit of the share among rivals; the least where there are none, or nobody asked.
    pub share: f32,
}

impl FrameScore {
    /// Nothing was heard.
    pub fn nothing(frame: u64, path: f32) -> Self {
        let peak = Peak { score: 0.0, plain: 0.0, start: frame, end: frame + 1 };
        Self { peak, cosine: -1.0, path, alone: 0.0, fit: f32::NEG_INFINITY, share: no_share() }
    }
}

/// Frames that are pooled at once; the ring keeps them beside what windows and rivals look back on.
const PIECE: usize = 100;

/// Frames for which a path score stays valid: the two witnesses rarely peak in the same frame.
pub const PATH_MEMORY: usize = 6;

/// Scores keywords; memory is taken when keywords change and when a chunk is longer than any before.
pub struct Matcher {
    config: ScorerConfig,
    ring: PrefixRing,
    head: Box<dyn WindowEmbedder>,
    paths: PhonePaths,
    rivals: Option<Rivals>,
    /// Scores of the last frames, keyword by keyword, that wait for what is heard after them.
    held: VecDeque<FrameScore>,
    alone: Alone,
    anchors: Anchors,
    /// Path scores of the last frames of each of the anchors' entries, frame `f` at `f % PATH_MEMORY`.
    recent: Vec<[f32; PATH_MEMORY]>,
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
            alone: Alone::new(longest + words::AHEAD.max(AFTER)),
            anchors: Anchors::new(head.dim()),
            recent: Vec::new(),
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

    /// Frames after the end of a word in which its score may still rise.
    pub fn settle_frames(&self) -> usize {
        // With rivals, all scores wait for longer than that.
        if self.config.alone > 0.0 && self.rivals.is_none() { AFTER } else { 0 }
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
        for pronunciation in keywords.clone().flat_map(|keyword| &keyword.pronunciations) {
            self.paths.add(&pronunciation.phones);
        }
        self.anchors.set(keywords, &self.config, self.frame_seconds);
        self.recent.clear();
        self.recent.resize(self.paths.len(), [f32::NEG_INFINITY; PATH_MEMORY]);
        self.windows = self.anchors.windows();
        self.held.reserve((self.settle_frames().max(self.delay_frames()) + 1) * self.anchors.keywords().len());
    }

    /// Scores a chunk of aligned frames (the encoder's delay already taken off the front by `skip`).
    ///
    /// Calls `on_score(frame, keyword, score)` for every frame and keyword, in that order; with rivals, that of
    /// [`Self::delay_frames`] before. Without, a score may be that of a window that ended [`Self::settle_frames`] before, told again
    /// because it stands alone.
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
        if self.paths.is_empty() {
            proj.chunks_exact(self.width).for_each(|row| self.ring.push(row));
            for row in posteriors.chunks_exact(self.classes) {
                self.alone.push(row);
                if let Some(rivals) = &mut self.rivals {
                    rivals.push(row);
                }
            }
            self.frame += frames as u64;
            return Ok(());
        }
        let wanted = &self.config.window_frames[self.windows.clone()];
        let lengths = wanted.len();
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
        for (i, row) in posteriors.chunks_exact(self.classes).take(frames).enumerate() {
            self.paths.step(row);
            self.alone.push(row);
            if let Some(rivals) = &mut self.rivals {
                rivals.push(row);
            }
            self.score_frame(i * lengths * dim);
            if self.rivals.is_some() {
                self.tell_contested(on_score)?;
            } else {
                self.tell(on_score);
            }
            self.frame += 1;
        }
        Ok(())
    }

    /// Scores all keywords by the frame's windows, which lie from `first` on in what is embedded, and by what the paths have heard.
    fn score_frame(&mut self, first: usize) {
        let (dim, shortest, end) = (self.head.dim(), self.windows.start, self.frame + 1);
        let slot = (self.frame % PATH_MEMORY as u64) as usize;
        for entries in self.anchors.keywords() {
            let mut best = FrameScore::nothing(self.frame, f32::NEG_INFINITY);
            for i in entries {
                self.recent[i][slot] = self.paths.score(i);
                let path = self.recent[i].iter().copied().fold(f32::NEG_INFINITY, f32::max).max(-8.0);
                let window = |w: usize| {
                    let at = first + (w - shortest) * dim;
                    self.embedded.get(at..at + dim)
                };
                let Some((cosine, w)) = self.anchors.nearest(i, window) else { continue };
                let fit = self.config.fuse(cosine, path, self.anchors.entries()[i].offset);
                if fit > best.fit {
                    let start = end.saturating_sub(self.config.window_frames[w] as u64);
                    let score = sigmoid(fit);
                    let peak = Peak { score, plain: score, start, end };
                    best = FrameScore { peak, cosine, path, fit, ..best };
                }
            }
            self.held.push_back(best);
        }
    }

    /// Adds how far the window stands alone.
    fn raised(score: FrameScore, alone: f32, weight: f32) -> FrameScore {
        let fit = score.fit + weight * alone;
        FrameScore { alone, fit, peak: Peak { score: sigmoid(fit), ..score.peak }, ..score }
    }

    /// Tells the frame's scores: those of the windows that end with it, or, where they are higher, those of the windows that ended
    /// [`AFTER`] frames before, of which it is known by now whether they stand alone.
    fn tell(&mut self, on_score: &mut impl FnMut(u64, usize, FrameScore)) {
        let keywords = self.anchors.keywords().len();
        let (wait, now) = (self.settle_frames() * keywords, self.held.len() - keywords);
        let (settled, weight) = (now >= wait, self.config.alone);
        // Where something is said right behind them, none does.
        let most = if wait > 0 && settled { self.alone.most(self.held[0].peak.end) } else { 0.0 };
        for keyword in 0..keywords {
            let (mut score, held) = (self.held[now + keyword], self.held[keyword]);
            if most > 0.0 && held.fit + weight * most > score.fit {
                let alone = self.alone.of(held.peak.start, held.peak.end);
                if alone > 0.0 && held.fit + weight * alone > score.fit {
                    score = Self::raised(held, alone, weight);
                }
            }
            on_score(self.frame, keyword, score);
        }
        if settled {
            self.held.drain(..keywords);
        }
    }

    /// Tells the scores of the frame that has waited long enough for its rivals.
    fn tell_contested(&mut self, on_score: &mut impl FnMut(u64, usize, FrameScore)) -> Result<(), ModelError> {
        let keywords = self.anchors.keywords().len();
        let Some(rivals) = self.rivals.as_mut().filter(|_| self.held.len() > words::AHEAD * keywords) else {
            return Ok(());
        };
        for (keyword, score) in self.held.drain(..keywords).enumerate() {
            let weight = self.config.alone;
            let alone = if weight > 0.0 { self.alone.of(score.peak.start, score.peak.end) } else { 0.0 };
            let mut score = Self::raised(score, alone, weight);
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
        Ok(())
    }

    /// Starts anew at frame 0, keywords kept.
    pub fn reset(&mut self) {
        self.ring.reset();
        self.paths.reset();
        self.held.clear();
        self.alone.reset();
        if let Some(rivals) = &mut self.rivals {
            rivals.reset();
        }
        self.frame = 0;
        self.recent.fill([f32::NEG_INFINITY; PATH_MEMORY]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Embedding, Pronunciation};
    use crate::text::{BLANK, CLASSES, parse_phones};

    /// Embeds the mean of two channels as its direction.
    struct Direction;

    impl WindowEmbedder for Direction {
        fn dim(&self) -> usize {
            2
        }

        fn embed(&mut self, pooled: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
            for (mean, out) in pooled.chunks_exact(2).zip(out.chunks_exact_mut(2)) {
                let norm = mean[0].hypot(mean[1]);
                out.copy_from_slice(&[mean[0] / norm, mean[1] / norm]);
            }
            Ok(())
        }
    }

    fn way(phones: &str, direction: [f32; 2], frames: (f32, f32)) -> Pronunciation {
        Pronunciation {
            phones: parse_phones(phones).expect("ARPAbet"),
            embedding: Embedding::new(direction.to_vec()).expect("a direction"),
            frames: Some(frames),
            level: None,
        }
    }

    /// A matcher over windows of up to five frames of two channels, in which standing alone weighs `alone`.
    fn matcher(alone: f32) -> Matcher {
        let spec = EncoderSpec {
            mels: 1,
            stride: 1,
            delay_frames: 0,
            memory_frames: 0,
            classes: CLASSES,
            parts: 1,
            part_dim: 2,
        };
        let scorer = ScorerConfig {
            // Nothing is compared with the first: what is embedded begins with the second.
            window_frames: vec![1, 2, 3, 5],
            cos_scale: 1.0,
            cos_bias: 0.0,
            fusion: [0.0, 1.0, 0.1, 0.0],
            alone,
            ..ScorerConfig::default()
        };
        let mut matcher = Matcher::new(scorer, &spec, Box::new(Direction), 0.03);
        let keyword = |pronunciations| Keyword { name: "word".into(), pronunciations, threshold: None };
        let two_ways = keyword(vec![way("S", [1.0, 0.0], (2.0, 3.0)), way("", [1.0, 4.0], (3.0, 5.0))]);
        let one_way = keyword(vec![way("", [0.0, 1.0], (2.0, 2.0))]);
        matcher.set_keywords([&two_ways, &one_way].into_iter());
        matcher
    }

    /// Posteriors of frames in each of which the blank is certain, or a phone.
    fn blanks(frames: usize, but: &[usize]) -> Vec<f32> {
        let mut phones = vec![-20.0; frames * CLASSES];
        for (frame, row) in phones.chunks_exact_mut(CLASSES).enumerate() {
            row[if but.contains(&frame) { CLASSES - 1 } else { BLANK }] = 0.0;
        }
        phones
    }

    /// What is told of frames in chunks of these sizes.
    fn hear(matcher: &mut Matcher, phones: &[f32], proj: &[f32], sizes: &[usize]) -> Vec<(usize, FrameScore)> {
        matcher.reset();
        let (mut told, mut from) = (Vec::new(), 0);
        for &frames in sizes {
            let to = from + frames;
            let chunk = EncoderOutput {
                frames,
                phones: phones[from * CLASSES..to * CLASSES].to_vec(),
                proj: proj[from * 2..to * 2].to_vec(),
            };
            matcher.process(&chunk, 0, |_, keyword, score| told.push((keyword, score))).expect("scored");
            from = to;
        }
        told
    }

    #[test]
    fn what_stands_alone_is_told_again_and_higher_once_that_is_known() {
        // The second keyword is heard in frames 10 and 11.
        let mut proj = [1.0, 0.0].repeat(20);
        proj[20..24].copy_from_slice(&[0.0, 1.0, 0.0, 1.0]);
        let mut matcher = matcher(2.0);
        assert_eq!(matcher.settle_frames(), AFTER);
        let mut second = |beside: &[usize]| {
            let phones = blanks(20, &[beside, &[10, 11]].concat());
            let whole = hear(&mut matcher, &phones, &proj, &[20]);
            assert_eq!(hear(&mut matcher, &phones, &proj, &[3, 9, 1, 7]), whole);
            let scores: Vec<FrameScore> = whole.into_iter().filter(|s| s.0 == 1).map(|s| s.1).collect();
            assert_eq!((scores[11].alone, scores[11].fit), (0.0, 1.0));
            scores[11 + AFTER]
        };
        // (phones beside it, how far it then stands alone)
        for (beside, alone) in [(&[][..], 1.0), (&[13], (-1.0_f32 / 0.8).exp())] {
            let late = second(beside);
            assert!((late.alone - alone).abs() < 1e-5 && (late.fit - 1.0 - 2.0 * alone).abs() < 1e-5, "{late:?}");
            assert_eq!((late.peak.start, late.peak.end), (10, 12));
            let (plain, score) = (sigmoid(1.0), sigmoid(1.0 + 2.0 * alone));
            assert!((late.peak.plain - plain).abs() < 1e-6 && (late.peak.score - score).abs() < 1e-6, "{late:?}");
        }
        let among_others = second(&[8, 13]);
        assert_eq!((among_others.alone, among_others.peak.end), (0.0, 16));
    }

    #[test]
    fn the_best_window_of_the_best_way_counts_by_hand_and_in_chunks_of_any_size() {
        let (x, y) = ([1.0, 0.0], [0.0, 1.0]);
        let proj = [y, y, x, y, y, x, x, x].concat();
        // S is heard in frame 1, half a nat below the blank, and remembered for six frames.
        let mut phones = blanks(8, &[]);
        phones[CLASSES + way("S", x, (1.0, 1.0)).phones[0].id()] = -0.5;
        let mut matcher = matcher(0.0);
        let mut hear = |sizes: &[usize]| hear(&mut matcher, &phones, &proj, sizes);
        let whole = hear(&[8]);
        assert_eq!(whole.len(), 16);
        // Cosine, path, and span of each keyword, from frame 4 on.
        let want = [
            // (1, 4) itself, in all five frames.
            [(1.0, 0.0, 0, 5), (1.0, 0.0, 3, 5)],
            // (1, 2) with (1, 4), in three frames; five would be 0.942, the first way 0.707.
            [(9.0 / 85_f32.sqrt(), 0.0, 3, 6), (0.5_f32.sqrt(), 0.0, 4, 6)],
            // The first way, in two frames.
            [(1.0, -0.5, 5, 7), (0.0, 0.0, 5, 7)],
            // (3, 2) with (1, 4), in five frames: the first way has a cosine of 1, but S is forgotten.
            [(11.0 / 221_f32.sqrt(), 0.0, 3, 8), (0.0, 0.0, 6, 8)],
        ];
        for ((keyword, score), (cosine, path, start, end)) in whole[8..].iter().zip(want.concat()) {
            let near = |got: f32, want: f32| (got - want).abs() < 1e-6;
            assert!(near(score.cosine, cosine) && near(score.path, path), "keyword {keyword}: {score:?}");
            assert_eq!((score.peak.start, score.peak.end), (start, end), "keyword {keyword}: {score:?}");
            assert!(near(score.peak.score, sigmoid(cosine + 0.1 * path)), "keyword {keyword}: {score:?}");
        }
        for sizes in [&[1; 8][..], &[3, 5], &[6, 1, 1]] {
            assert_eq!(hear(sizes), whole);
        }
    }
}
