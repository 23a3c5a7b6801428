//! What differs between kinds of model: how feature frames become keyword scores.

use std::ops::Range;

use crate::detect::{Anchors, FrameScore, Keyword, Matcher, Peak, ScorerConfig, sigmoid};
use crate::model::{AudioTower, Encoder, EncoderOutput, ModelError};

/// Feature frames in, keyword scores out; the scored frame is the unit of time.
pub(super) trait Core: Send {
    /// Feature frames a scored frame.
    fn stride(&self) -> usize;

    /// Mel bands of a feature frame.
    fn mels(&self) -> usize;

    /// Scored frames by which scores lag behind the features.
    fn delay_frames(&self) -> usize;

    /// Scored frames after the end of a word in which its score may still rise.
    fn settle_frames(&self) -> usize {
        0
    }

    /// Scored frames before its own that a score may depend on, windows not counted.
    fn memory_frames(&self) -> usize;

    /// Scoring parameters.
    fn scorer(&self) -> &ScorerConfig;

    /// Replaces the keywords.
    fn set_keywords(&mut self, keywords: &[&Keyword]);

    /// Takes the next features, `[frames, mels]`, `frames` a multiple of the stride, and calls
    /// `on_score(frame, keyword, score)` for every scored frame and keyword, in that order.
    fn process(&mut self, features: &[f32], on_score: &mut dyn FnMut(u64, usize, FrameScore))
    -> Result<(), ModelError>;

    /// Starts anew at frame 0, keywords kept.
    fn reset(&mut self);
}

/// One pass of a streaming encoder, windows from prefix sums, phone paths ([`Matcher`]).
pub(super) struct StreamCore {
    encoder: Box<dyn Encoder>,
    matcher: Matcher,
    output: EncoderOutput,
    /// Encoder outputs still to drop because they describe the time before the stream.
    early: usize,
}

impl StreamCore {
    pub(super) fn new(encoder: Box<dyn Encoder>, matcher: Matcher) -> Self {
        Self { early: encoder.spec().delay_frames, output: EncoderOutput::default(), encoder, matcher }
    }
}

impl Core for StreamCore {
    fn stride(&self) -> usize {
        self.encoder.spec().stride
    }

    fn mels(&self) -> usize {
        self.encoder.spec().mels
    }

    fn delay_frames(&self) -> usize {
        self.encoder.spec().delay_frames + self.matcher.delay_frames()
    }

    fn settle_frames(&self) -> usize {
        self.matcher.settle_frames()
    }

    fn memory_frames(&self) -> usize {
        self.encoder.spec().memory_frames
    }

    fn scorer(&self) -> &ScorerConfig {
        self.matcher.config()
    }

    fn set_keywords(&mut self, keywords: &[&Keyword]) {
        self.matcher.set_keywords(keywords.iter().copied());
    }

    fn process(
        &mut self,
        features: &[f32],
        on_score: &mut dyn FnMut(u64, usize, FrameScore),
    ) -> Result<(), ModelError> {
        self.encoder.encode(features, &mut self.output)?;
        let skip = self.early.min(self.output.frames);
        self.early -= skip;
        self.matcher.process(&self.output, skip, on_score)
    }

    fn reset(&mut self) {
        self.early = self.encoder.spec().delay_frames;
        self.encoder.reset();
        self.matcher.reset();
    }
}

/// The paper's way: the audio tower over windows of fixed lengths that end at every hop, cosine, calibration.
///
/// There is no phone path: [`FrameScore::path`] and [`FrameScore::alone`] are 0. A window is scored once it lies wholly inside the stream.
pub(super) struct WindowedCore {
    tower: AudioTower,
    scorer: ScorerConfig,
    /// Feature frames a hop.
    hop: usize,
    frame_seconds: f32,
    /// The longest window before the chunk, then the chunk, `[frames, mels]`.
    history: Vec<f32>,
    /// Scored frames so far.
    frame: u64,
    anchors: Anchors,
    input: Vec<f32>,
    /// Embeddings of the chunk, `[lengths, frames, D]`.
    embedded: Vec<f32>,
}

impl WindowedCore {
    /// `scorer.window_frames` count in hops of `hop` feature frames of `feature_seconds`.
    pub(super) fn new(tower: AudioTower, scorer: ScorerConfig, hop: usize, feature_seconds: f32) -> Self {
        Self {
            anchors: Anchors::new(tower.dim()),
            tower,
            scorer,
            hop,
            frame_seconds: hop as f32 * feature_seconds,
            history: Vec::new(),
            frame: 0,
            input: Vec::new(),
            embedded: Vec::new(),
        }
    }

    /// Embeds the windows of `length` hops, the `index`-th length, that end with the chunk's `hops`; `before` hops precede it.
    fn embed(&mut self, index: usize, length: usize, before: usize, hops: Range<usize>) -> Result<(), ModelError> {
        let unit = self.hop * self.tower.mels();
        let (dim, count) = (self.tower.dim(), hops.end);
        if hops.is_empty() {
            return Ok(());
        }
        self.input.clear();
        for hop in hops.clone() {
            let end = before + hop + 1;
            self.input.extend_from_slice(&self.history[(end - length) * unit..end * unit]);
        }
        let out = &mut self.embedded[(index * count + hops.start) * dim..(index + 1) * count * dim];
        self.tower.embed(&self.input, hops.len(), out)
    }

    /// Best of the windows of one keyword that end with the chunk's hop `hop` and lie inside the stream.
    fn score(&self, entries: Range<usize>, hop: usize, hops: usize) -> FrameScore {
        let dim = self.tower.dim();
        let end = self.frame + 1;
        let mut best = FrameScore::nothing(self.frame, 0.0);
        let length = |w: usize| self.scorer.window_frames[w] as u64;
        for i in entries {
            let window = |w: usize| {
                let at = (w * hops + hop) * dim;
                (length(w) <= end).then(|| &self.embedded[at..at + dim])
            };
            let Some((cosine, w)) = self.anchors.nearest(i, window) else { continue };
            let fit = self.scorer.fuse(cosine, 0.0, self.anchors.entries()[i].offset);
            if fit > best.fit {
                let score = sigmoid(fit);
                let peak = Peak { score, plain: score, start: end - length(w), end };
                best = FrameScore { peak, cosine, fit, ..best };
            }
        }
        best
    }
}

impl Core for WindowedCore {
    fn stride(&self) -> usize {
        self.hop
    }

    fn mels(&self) -> usize {
        self.tower.mels()
    }

    fn delay_frames(&self) -> usize {
        0
    }

    fn memory_frames(&self) -> usize {
        0
    }

    fn scorer(&self) -> &ScorerConfig {
        &self.scorer
    }

    fn set_keywords(&mut self, keywords: &[&Keyword]) {
        self.anchors.set(keywords.iter().copied(), &self.scorer, self.frame_seconds);
    }

    fn process(
        &mut self,
        features: &[f32],
        on_score: &mut dyn FnMut(u64, usize, FrameScore),
    ) -> Result<(), ModelError> {
        let unit = self.hop * self.tower.mels();
        let hops = features.len() / unit;
        let before = self.history.len() / unit;
        self.history.extend_from_slice(features);
        let lengths = self.scorer.window_frames.len();
        if !self.anchors.entries().is_empty() {
            self.embedded.resize(lengths * hops * self.tower.dim(), 0.0);
            for index in 0..lengths {
                let length = self.scorer.window_frames[index];
                if !self.anchors.entries().iter().any(|entry| entry.windows.contains(&index)) {
                    continue;
                }
                // The first window of the stream ends at hop `length`, counted from 1.
                let first = length.saturating_sub(before + 1).min(hops);
                self.embed(index, length, before, first..hops)?;
            }
        }
        for hop in 0..hops {
            for (keyword, entries) in self.anchors.keywords().enumerate() {
                on_score(self.frame, keyword, self.score(entries, hop, hops));
            }
            self.frame += 1;
        }
        let longest = self.scorer.window_frames.last().copied().unwrap_or(1);
        let excess = self.history.len().saturating_sub((longest - 1) * unit);
        self.history.drain(..excess);
        Ok(())
    }

    fn reset(&mut self) {
        self.history.clear();
        self.frame = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Embedding, Pronunciation};
    use crate::model::{Graph, State, Tensor};

    /// Embeds a segment of one band as (first value, last value).
    struct Ends(Vec<String>);

    impl Graph for Ends {
        fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ModelError> {
            let (shape, data) = (inputs[0].1.shape(), inputs[0].1.as_f32().unwrap_or_default());
            let out = data.chunks_exact(shape[1]).flat_map(|s| [s[0], s[s.len() - 1]]).collect();
            Ok(vec![Tensor::f32(&[shape[0], 2], out)])
        }

        fn output_names(&self) -> &[String] {
            &self.0
        }

        fn keep(&mut self, _: Vec<State>) -> Result<(), ModelError> {
            Ok(())
        }

        fn reset(&mut self) {}
    }

    fn core() -> WindowedCore {
        let tower = AudioTower::new(Box::new(Ends(vec!["embedding".into()])), 1, 2);
        let scorer = ScorerConfig {
            window_frames: vec![2, 3, 5],
            min_seconds_per_phone: 0.0,
            max_seconds_per_phone: 9.0,
            fusion: [0.0, 1.0, 0.0, 0.0],
            ..ScorerConfig::default()
        };
        let mut core = WindowedCore::new(tower, scorer, 2, 0.01);
        // Features count from 1: the five hops 5 to 9 begin with 11 and end with 20, and no other window has that direction.
        let embedding = Embedding::new(vec![11.0, 20.0]).expect("a direction");
        let pronunciation = Pronunciation { phones: Vec::new(), embedding, frames: None, level: None };
        let keyword = Keyword { name: "span".into(), pronunciations: vec![pronunciation], threshold: None };
        core.set_keywords(&[&keyword]);
        core
    }

    fn scores(core: &mut WindowedCore, hops: &[usize]) -> Vec<(u64, FrameScore)> {
        let (mut out, mut next) = (Vec::new(), 1);
        for &n in hops {
            let features: Vec<f32> = (next..next + 2 * n).map(|i| i as f32).collect();
            next += 2 * n;
            core.process(&features, &mut |frame, _, score| out.push((frame, score))).expect("scored");
        }
        out
    }

    #[test]
    fn windows_are_cut_where_they_say_in_chunks_of_any_size() {
        let mut core = core();
        let whole = scores(&mut core, &[60]);
        assert_eq!(whole.len(), 60);
        // Nothing is scored before the shortest window is inside the stream.
        assert_eq!((whole[0].1.peak.score, whole[0].1.cosine), (0.0, -1.0));
        let (frame, best) = whole[1..20]
            .iter()
            .max_by(|a, b| a.1.cosine.total_cmp(&b.1.cosine))
            .map(|(f, s)| (*f, *s))
            .expect("scores");
        assert_eq!((frame, best.peak.start, best.peak.end), (9, 5, 10));
        assert!(best.cosine > 0.999_99);
        for hops in [vec![1; 60], vec![3; 20], vec![7, 1, 1, 30, 2, 19]] {
            core.reset();
            assert_eq!(scores(&mut core, &hops), whole);
        }
    }
}
