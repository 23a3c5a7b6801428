//! `Spotter`: samples in, detections out. Synchronous and deterministic: no threads, devices or clock.

mod config;
mod core;
mod gate;
mod heard;
mod peaks;
pub(crate) mod room;

use std::collections::VecDeque;
use std::sync::Arc;

pub use self::config::SpotterConfig;
use self::core::{Core, StreamCore, WindowedCore};
use self::gate::{Gate, Turn};
pub use self::heard::{Best, Detection, KeywordId, KeywordStatus, Trace};
use self::peaks::{Clock, RECENT, Slot, emit, keep_misses};
use self::room::warm_up;
use crate::detect::{FrameScore, Keyword, Matcher, Peak, REFRACTORY, ScorerConfig, Trigger, WindowEmbedder};
use crate::frontend::{FrontendConfig, FrontendError, LEVELS, LogMel};
use crate::model::{Bundle, Encoder, EncoderSpec, ModelError};

/// What stops a [`Spotter`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpotError {
    /// The model cannot be loaded or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The front end cannot be built.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
}

/// Length of a scored frame, seconds.
fn frame_seconds(frontend: &FrontendConfig, spec: &EncoderSpec) -> f32 {
    (frontend.hop * spec.stride as u32) as f32 / frontend.sample_rate as f32
}

/// Listens for keywords in a stream of 16 kHz mono samples.
///
/// A stream is heard as if a quiet room came before it: networks that wake up in the middle of a word, as in a clip cut
/// short, would miss it. The stages and what they add to the latency: log-mel (one window), encoder (chunk and look-ahead), scorer (what
/// must stand alone to be heard waits for the pause behind it), trigger (a peak is complete at most [`Trigger::latency_frames`] after its
/// top). A warm `process` allocates nothing outside the backend, live.
pub struct Spotter {
    mel: LogMel,
    core: Box<dyn Core>,
    config: SpotterConfig,
    slots: Vec<Slot>,
    next_id: u64,
    features: Vec<f32>,
    /// A scored frame's features as they come, and their levels.
    incoming: Vec<f32>,
    levels: [f32; LEVELS],
    gate: Option<Gate>,
    /// Scored frames since the last fresh start, heard or not, the warm-up included.
    frames: u64,
    /// Scored frames that the core was given since it was last started.
    fed: u64,
    /// Scored frames that the core heard before those that count, since it was last started.
    filling: u64,
    /// Samples fed since stream start.
    position: u64,
    /// How many of them a flush has added.
    padding: u64,
    /// Sample at which the stream began, anew after a gap.
    start: u64,
    /// Sample at which it begins for the core; moves also when the gate opens.
    origin: u64,
    /// Heard before the first sample.
    warm_up: Arc<[f32]>,
    /// Whether it has not been heard yet.
    cold: bool,
    frame_samples: u64,
    chunk_features: usize,
    hits: Vec<(usize, Peak)>,
    /// Near misses of the last frames, before they are compared with hits.
    misses: Vec<(usize, Peak)>,
    /// The last detections, to judge overlaps.
    recent: VecDeque<Peak>,
    /// Near misses that nobody has taken yet.
    near: VecDeque<Detection>,
}

impl Spotter {
    /// Loads fresh graphs of `bundle`, whichever kind it is of.
    ///
    /// # Errors
    /// If the backend cannot load the graphs.
    pub fn new(bundle: &Bundle, config: SpotterConfig) -> Result<Self, SpotError> {
        let manifest = &bundle.manifest;
        let (frontend, scorer) = (&manifest.frontend, manifest.scorer.clone());
        if let Some(towers) = &manifest.towers {
            let tower = bundle.audio_tower(config.choice)?;
            let seconds = frontend.hop as f32 / frontend.sample_rate as f32;
            let core = WindowedCore::new(tower, scorer, towers.hop_frames, seconds);
            return Self::over(frontend, Box::new(core), config);
        }
        let encoder = bundle.encoder(config.choice)?;
        let head = Box::new(bundle.window_head(config.choice)?);
        let rivals = if config.rivals { bundle.rivals(config.choice)? } else { None };
        let matcher = Matcher::new(scorer, encoder.spec(), head, frame_seconds(frontend, encoder.spec()));
        Self::over(frontend, Box::new(StreamCore::new(encoder, matcher.with_rivals(rivals))), config)
    }

    /// Puts a spotter together from any encoder and window head; no words compete with its keywords.
    ///
    /// # Errors
    /// If the front end's parameters are broken.
    pub fn from_parts(
        frontend: &FrontendConfig,
        encoder: Box<dyn Encoder>,
        head: Box<dyn WindowEmbedder>,
        scorer: ScorerConfig,
        config: SpotterConfig,
    ) -> Result<Self, SpotError> {
        let matcher = Matcher::new(scorer, encoder.spec(), head, frame_seconds(frontend, encoder.spec()));
        Self::over(frontend, Box::new(StreamCore::new(encoder, matcher)), config)
    }

    fn over(frontend: &FrontendConfig, core: Box<dyn Core>, config: SpotterConfig) -> Result<Self, SpotError> {
        let frame_samples = u64::from(frontend.hop) * core.stride() as u64;
        let unit = core.stride() * core.mels();
        let chunk_features = config.chunk_frames.max(1) * unit;
        let seconds = frame_samples as f32 / frontend.sample_rate as f32;
        let warm_up = warm_up(frame_samples);
        Ok(Self {
            mel: LogMel::new(frontend)?,
            features: Vec::with_capacity(chunk_features),
            incoming: Vec::with_capacity(unit),
            levels: [0.0; LEVELS],
            gate: config.gate.then(|| Gate::new(core.memory_frames() + core.delay_frames(), unit, seconds)),
            frames: 0,
            fed: 0,
            filling: warm_up.len() as u64 / frame_samples,
            start: 0,
            slots: Vec::new(),
            next_id: 0,
            position: 0,
            padding: 0,
            origin: 0,
            warm_up,
            cold: true,
            hits: Vec::with_capacity(16),
            misses: Vec::with_capacity(16),
            recent: VecDeque::with_capacity(RECENT),
            near: VecDeque::with_capacity(RECENT),
            frame_samples,
            chunk_features,
            core,
            config,
        })
    }

    /// Starts to listen for a keyword, which an [`Enroller`](crate::enrol::Enroller) of the same bundle has made: those of another model
    /// mean something else.
    ///
    /// # Panics
    /// If its embeddings have not the size of the model's.
    pub fn add(&mut self, keyword: Keyword) -> KeywordId {
        let id = self.push(keyword);
        self.rebuild();
        id
    }

    fn push(&mut self, keyword: Keyword) -> KeywordId {
        let id = KeywordId(self.next_id);
        self.next_id += 1;
        self.slots.push(Slot::new(id, keyword));
        id
    }

    /// Stops listening for a keyword; false if it was not there.
    pub fn remove(&mut self, id: KeywordId) -> bool {
        let known = self.slots.iter().any(|s| s.id == id);
        self.change(&[id], []);
        known
    }

    /// [`Spotter::remove`] for some and [`Spotter::add`] for others in one go; the handles of the new ones.
    ///
    /// # Panics
    /// As [`Spotter::add`].
    pub fn change(&mut self, gone: &[KeywordId], new: impl IntoIterator<Item = Keyword>) -> Vec<KeywordId> {
        let before = self.slots.len();
        self.slots.retain(|s| !gone.contains(&s.id));
        let kept = self.slots.len();
        let ids: Vec<KeywordId> = new.into_iter().map(|keyword| self.push(keyword)).collect();
        // What was heard of the others so far stays where nothing changes.
        if kept < before || !ids.is_empty() {
            self.rebuild();
        }
        ids
    }

    /// Listens for exactly these from now on, under new handles, which follow one another.
    ///
    /// # Panics
    /// As [`Spotter::add`].
    pub fn set_keywords(&mut self, keywords: impl IntoIterator<Item = Keyword>) -> Vec<KeywordId> {
        self.slots.clear();
        for keyword in keywords {
            self.push(keyword);
        }
        self.rebuild();
        self.slots.iter().map(|s| s.id).collect()
    }

    fn rebuild(&mut self) {
        let keywords: Vec<&Keyword> = self.slots.iter().map(|s| &s.keyword).collect();
        self.core.set_keywords(&keywords);
        self.hits.reserve(self.slots.len());
        // They name keywords by their places.
        self.misses.clear();
        self.misses.reserve(self.slots.len());
    }

    /// Gives a keyword its own threshold, 0 to 1.
    pub fn set_threshold(&mut self, id: KeywordId, threshold: f32) {
        if let Some(slot) = self.slots.iter_mut().find(|s| s.id == id) {
            slot.threshold = Some(threshold.clamp(0.0, 1.0));
        }
    }

    /// Moves the common threshold, also where [`SpotterConfig::threshold`] had set it; what [`Spotter::set_threshold`] gave a keyword stays.
    pub fn set_sensitivity(&mut self, sensitivity: f32) {
        self.config.sensitivity = sensitivity;
        self.config.threshold = None;
    }

    fn common_threshold(&self) -> f32 {
        self.config.threshold.unwrap_or_else(|| self.core.scorer().threshold_at(self.config.sensitivity))
    }

    /// Feeds mono samples at 16 kHz in [-1, 1], any number of them.
    ///
    /// # Errors
    /// If the backend fails; the spotter is then best reset.
    pub fn process(&mut self, samples: &[f32], on_hit: impl FnMut(&Detection)) -> Result<(), SpotError> {
        self.process_traced(samples, on_hit, |_| {})
    }

    /// [`Spotter::process`] that also hands out the score of every keyword in every frame, for plots and evaluation.
    ///
    /// # Errors
    /// As [`Spotter::process`].
    pub fn process_traced(
        &mut self,
        samples: &[f32],
        mut on_hit: impl FnMut(&Detection),
        mut on_score: impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        if self.cold && !samples.is_empty() {
            self.cold = false;
            let room = self.warm_up.clone();
            let position = self.position;
            self.hear(&room, &mut on_hit, &mut on_score)?;
            self.position = position;
        }
        self.hear(samples, &mut on_hit, &mut on_score)
    }

    fn hear(
        &mut self,
        samples: &[f32],
        on_hit: &mut impl FnMut(&Detection),
        on_score: &mut impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        let unit = self.unit();
        let mut rest = samples;
        // A hop's samples at a time: no more than one feature frame each.
        let hop = self.mel.config().hop as usize;
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(hop));
            let (incoming, levels) = (&mut self.incoming, &mut self.levels);
            self.mel.push_leveled(head, |frame, loud| {
                incoming.extend_from_slice(frame);
                levels.iter_mut().zip(loud).for_each(|(sum, level)| *sum += level);
            });
            self.position += head.len() as u64;
            rest = tail;
            if self.incoming.len() == unit {
                self.take_frame(on_hit, on_score)?;
            }
        }
        Ok(())
    }

    /// Features of a scored frame.
    fn unit(&self) -> usize {
        self.core.stride() * self.core.mels()
    }

    /// A scored frame's features are complete: hears them, unless the gate is shut.
    fn take_frame(
        &mut self,
        on_hit: &mut impl FnMut(&Detection),
        on_score: &mut impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        self.frames += 1;
        let levels = self.levels.map(|sum| sum / self.core.stride() as f32);
        self.levels = [0.0; LEVELS];
        let incoming = std::mem::take(&mut self.incoming);
        let turn = self.gate.as_mut().map_or(Turn::Hear, |gate| gate.step(&incoming, levels));
        let outcome = match turn {
            Turn::Hear => self.feed(&incoming, on_hit, on_score),
            Turn::Open => self.replay(on_hit, on_score),
            Turn::Shut => self.shut(on_hit, on_score),
            Turn::Rest => Ok(()),
        };
        self.incoming = incoming;
        self.incoming.clear();
        outcome
    }

    /// Adds a scored frame's features to the chunk, and runs the core when it is full.
    fn feed(
        &mut self,
        features: &[f32],
        on_hit: &mut impl FnMut(&Detection),
        on_score: &mut impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        self.features.extend_from_slice(features);
        if self.features.len() < self.chunk_features {
            return Ok(());
        }
        self.run_chunk(on_hit, on_score)
    }

    /// The gate has opened: starts the core anew with as much of the past as it remembers, and the onset.
    fn replay(
        &mut self,
        on_hit: &mut impl FnMut(&Detection),
        on_score: &mut impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        let Some(mut gate) = self.gate.take() else { return Ok(()) };
        let (filling, features) = gate.replay();
        let fresh = (features.len() / self.unit() - filling) as u64;
        self.core.reset();
        self.fed = 0;
        // Peaks of the core's old count of frames mean nothing in the new one.
        self.recent.clear();
        self.misses.clear();
        for slot in &mut self.slots {
            slot.forget();
        }
        self.filling = filling as u64;
        let warm = self.warm_up.len() as u64 / self.frame_samples;
        self.origin = self.start + (self.frames - fresh).saturating_sub(warm) * self.frame_samples;
        let mut outcome = Ok(());
        for value in features {
            self.features.push(value);
            if self.features.len() == self.chunk_features {
                outcome = self.run_chunk(on_hit, on_score);
                if outcome.is_err() {
                    break;
                }
            }
        }
        self.gate = Some(gate);
        outcome
    }

    /// The gate has shut: what was still to be heard is heard, and what the triggers hold comes out.
    fn shut(
        &mut self,
        on_hit: &mut impl FnMut(&Detection),
        on_score: &mut impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        if !self.features.is_empty() {
            self.run_chunk(on_hit, on_score)?;
        }
        self.close(on_hit);
        for slot in &mut self.slots {
            slot.score = 0.0;
        }
        Ok(())
    }

    /// Ends open peaks; the triggers are to be reset before they are used again.
    fn close(&mut self, on_hit: &mut impl FnMut(&Detection)) {
        let frame = u64::MAX / 2;
        let (threshold, clock) = (self.common_threshold(), self.clock());
        for (k, slot) in self.slots.iter_mut().enumerate() {
            slot.settle(clock, on_hit);
            self.hits.extend(slot.trigger.close(frame).map(|p| (k, p)));
            let threshold = slot.threshold.unwrap_or(threshold);
            self.misses.extend(slot.near.close(frame).filter(|peak| peak.score < threshold).map(|p| (k, p)));
        }
        emit(&self.slots, &mut self.hits, &mut self.recent, clock, on_hit);
        keep_misses(&self.slots, &mut self.misses, frame, &self.recent, clock, &mut self.near);
    }

    fn clock(&self) -> Clock {
        let position = self.position - self.padding;
        Clock { origin: self.origin, frame: self.frame_samples, warm: self.filling, position }
    }

    /// Runs the core over the features that have gathered, whole scored frames. A chunk that is not full is the last one before
    /// a fresh start: it is filled up, since a length of its own would cost the backend another plan, and what the core says of
    /// the filling is not heard.
    fn run_chunk(
        &mut self,
        on_hit: &mut impl FnMut(&Detection),
        on_score: &mut impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        let threshold = self.common_threshold();
        let clock = self.clock();
        let fed = self.fed + (self.features.len() / self.unit()) as u64;
        let least = self.config.near.map(|sensitivity| self.core.scorer().threshold_at(sensitivity));
        let (slots, hits, recent) = (&mut self.slots, &mut self.hits, &mut self.recent);
        let (misses, near, search) = (&mut self.misses, &mut self.near, self.config.rivals);
        for slot in slots.iter_mut() {
            slot.score = 0.0;
        }
        self.features.resize(self.chunk_features, 0.0);
        let known = clock.warm..fed.saturating_sub(self.core.delay_frames() as u64);
        let mut take = |frame: u64, keyword: usize, score: FrameScore| {
            if !known.contains(&frame) {
                return;
            }
            // What is told late may have ended before the frames that are new.
            let score = if score.peak.end > known.start { score } else { FrameScore::nothing(frame, score.path) };
            let slot = &mut slots[keyword];
            slot.score = slot.score.max(score.peak.score);
            let heard = Best {
                score: score.peak.score,
                start: clock.samples(score.peak.start),
                end: clock.samples(score.peak.end),
                cosine: score.cosine,
                path: score.path,
                alone: score.alone,
                fit: score.fit,
                share: score.share,
            };
            on_score(&Trace { keyword, heard });
            if slot.best.is_none_or(|b| heard.score > b.score) {
                slot.best = Some(heard);
            }
            let threshold = slot.threshold.unwrap_or(threshold);
            if search {
                return slot.gather(frame, score.peak, threshold, clock, on_hit);
            }
            let hit = slot.trigger.step(frame, score.peak, threshold);
            if let Some(peak) = hit {
                hits.push((keyword, peak));
                // A word that was heard is no near miss, nor is its echo.
                slot.near = slot.trigger.clone();
            }
            let miss = least.filter(|_| hit.is_none());
            let miss = miss.and_then(|least| slot.near_miss(frame, score.peak, least, threshold));
            misses.extend(miss.map(|peak| (keyword, peak)));
            // Judged frame by frame, so that chunks change nothing.
            if keyword + 1 == slots.len() {
                emit(slots, hits, recent, clock, on_hit);
                // By then all that may still be a detection there has come out.
                keep_misses(slots, misses, frame.saturating_sub(REFRACTORY), recent, clock, near);
            }
        };
        let outcome = self.core.process(&self.features, &mut take);
        self.features.clear();
        outcome.inspect_err(|_| {
            // A frame that was broken off leaves peaks that nobody judges any more.
            self.hits.clear();
            self.misses.clear();
        })?;
        self.fed = fed;
        Ok(())
    }

    /// The stream has ended: lets the last words through the look-ahead and closes open peaks.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn flush(&mut self, on_hit: impl FnMut(&Detection)) -> Result<(), SpotError> {
        self.flush_traced(on_hit, |_| {})
    }

    /// [`Spotter::flush`] that also hands out scores, as [`Spotter::process_traced`] does.
    ///
    /// # Errors
    /// As [`Spotter::flush`].
    pub fn flush_traced(
        &mut self,
        mut on_hit: impl FnMut(&Detection),
        mut on_score: impl FnMut(&Trace),
    ) -> Result<(), SpotError> {
        let position = self.position;
        let quiet = [0.0; 160];
        let mut left = ((self.lag_frames() + 2) * self.frame_samples) as usize;
        while left > 0 {
            let piece = left.min(quiet.len());
            // No word ends in it, and nobody has fed it.
            self.padding += piece as u64;
            self.process_traced(&quiet[..piece], &mut on_hit, &mut on_score)?;
            left -= piece;
        }
        if !self.features.is_empty() {
            self.run_chunk(&mut on_hit, &mut on_score)?;
        }
        self.close(&mut on_hit);
        self.position = position;
        self.restart(position);
        Ok(())
    }

    /// `samples` samples were lost: starts anew behind the gap, the clock goes on.
    pub fn skip(&mut self, samples: u64) {
        self.position += samples;
        self.restart(self.position);
    }

    /// Forgets everything heard; the clock starts at 0, keywords stay.
    pub fn reset(&mut self) {
        self.position = 0;
        self.restart(0);
        self.near.clear();
        for slot in &mut self.slots {
            slot.best = None;
        }
    }

    fn restart(&mut self, origin: u64) {
        self.padding = 0;
        (self.start, self.origin) = (origin, origin);
        self.frames = 0;
        self.filling = self.warm_up.len() as u64 / self.frame_samples;
        self.cold = true;
        self.mel.reset();
        self.core.reset();
        self.fed = 0;
        self.features.clear();
        self.incoming.clear();
        self.levels = [0.0; LEVELS];
        self.misses.clear();
        if let Some(gate) = &mut self.gate {
            gate.reset();
        }
        self.recent.clear();
        for slot in &mut self.slots {
            slot.forget();
            slot.score = 0.0;
        }
    }

    /// Takes the near misses since the last call, oldest first: what came near a detection and was none, if
    /// [`SpotterConfig::near`] asks for it. At most 32 are kept.
    pub fn near_misses(&mut self) -> impl Iterator<Item = Detection> {
        self.near.drain(..)
    }

    /// Samples between the end of a word and its detection, at the most, from all stages.
    pub fn latency(&self) -> u64 {
        let frames = self.lag_frames() + self.config.chunk_frames as u64;
        self.mel.latency_samples() as u64 + frames * self.frame_samples
    }

    /// Scored frames between the end of a word and its detection, at the most, without those that make a chunk.
    fn lag_frames(&self) -> u64 {
        (self.core.delay_frames() + self.core.settle_frames()) as u64 + Trigger::latency_frames()
    }

    /// Samples in which the gate let the model rest since the spotter was made.
    pub fn rested(&self) -> u64 {
        self.gate.as_ref().map_or(0, Gate::skipped) * self.frame_samples
    }

    /// Samples fed (or skipped) since stream start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The keywords, in the order they were added.
    pub fn keywords(&self) -> impl Iterator<Item = KeywordStatus<'_>> {
        let common = self.common_threshold();
        self.slots.iter().map(move |s| KeywordStatus {
            id: s.id,
            keyword: &s.keyword,
            score: s.score,
            threshold: s.threshold.unwrap_or(common),
            best: s.best,
        })
    }
}

#[cfg(test)]
mod tests;
