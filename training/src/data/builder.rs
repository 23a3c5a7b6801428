//! The windows of a batch and their texts, collected crop by crop.

use std::collections::HashMap;

use kws_live::detect::pool::pool_weights;
use kws_live::text::Phone;
use rand::Rng;
use rand::rngs::SmallRng;

use super::batch::{Batch, BatchConfig, Shape};
use super::crop::{Crop, Span, joined, overlap};
use super::mutate::mutate;
use crate::net::StreamConfig;

/// A window is not wrong that shares more with the word: the widest that is drawn shares 0.59.
const MOST_OVERLAP: f32 = 0.7;

/// Collects the windows and texts of a batch.
pub(super) struct BatchBuilder<'a> {
    config: &'a BatchConfig,
    shape: Shape,
    /// What has been collected; its features are the caller's.
    pub(super) batch: Batch,
    /// Windows of each crop: start and end in frames.
    windows: Vec<Vec<(f32, f32)>>,
    right: Vec<(usize, usize)>,
    wrong: Vec<(usize, usize)>,
    background: Vec<(usize, usize)>,
    /// What is said about where a wrong or a background window lies: spelling and phones.
    near_wrong: Vec<Vec<(String, Vec<Phone>)>>,
    near_background: Vec<Vec<(String, Vec<Phone>)>>,
    /// Words of each crop, spelled, with a space on either side of each.
    spelled: Vec<String>,
    /// Whether voices in a crop's background may say any text.
    voices: Vec<bool>,
    by_phones: HashMap<Vec<Phone>, i64>,
    keys: HashMap<String, i64>,
}

impl<'a> BatchBuilder<'a> {
    /// A batch of nothing.
    pub(super) fn new(config: &'a BatchConfig, shape: Shape, mels: usize, feature_frames: usize) -> Self {
        let batch = Batch {
            features_shape: [config.crops as i64, mels as i64, feature_frames as i64],
            frames: config.frames,
            features: Vec::with_capacity(config.crops * mels * feature_frames),
            ..Batch::default()
        };
        Self {
            config,
            shape,
            batch,
            windows: Vec::new(),
            right: Vec::new(),
            wrong: Vec::new(),
            background: Vec::new(),
            near_wrong: Vec::new(),
            near_background: Vec::new(),
            spelled: Vec::new(),
            voices: Vec::new(),
            by_phones: HashMap::new(),
            keys: HashMap::new(),
        }
    }

    /// Takes the windows of a crop: of its spans, wrong ones beside them, and some at random places.
    pub(super) fn add(&mut self, rng: &mut SmallRng, crop: &Crop, spans: &[Span], voices: bool) {
        let targets = crop.targets();
        self.batch.target_lengths.push(targets.len() as i64);
        self.batch.targets.extend(targets);
        self.spelled.push(format!(" {} ", joined(&crop.words).0));
        self.voices.push(voices);
        let crop_index = self.windows.len();
        self.windows.push(Vec::new());
        let frames = |seconds: f32| seconds / StreamConfig::FRAME_SECONDS;
        let limit = self.config.frames as f32;
        for span in spans {
            let words = &crop.words[span.words.clone()];
            let (spelling, phones) = joined(words);
            let fresh_key = self.keys.len() as i64;
            let key = *self.keys.entry(spelling).or_insert(fresh_key);
            let fresh_text = self.batch.texts.len() as i64;
            let text = *self.by_phones.entry(phones.clone()).or_insert(fresh_text);
            if text == fresh_text {
                self.batch.texts.push(phones);
                self.batch.text_keys.push(key);
            }
            let (start, end) = (words[0].start, words[words.len() - 1].end);
            let length = end - start;
            let jitter = self.config.jitter.min(0.02 + 0.2 * length);
            let mut shake = || (rng.random::<f32>() * 2.0 - 1.0) * jitter;
            let (from, to) = (start + shake(), end + shake());
            if let Some(window) = self.push(crop_index, frames(from), frames(to), limit) {
                self.right.push(window);
                self.batch.right_text.push(text);
            }
            if rng.random::<f32>() < self.config.wrong {
                let wrong = match rng.random_range(0..5) {
                    0 => (start, start + length * 0.5),
                    1 => (start + length * 0.5, end),
                    2 => (start + length * 0.5, end + length * 0.5),
                    3 => (start - length * 0.5, end - length * 0.5),
                    _ => {
                        let extra = length * 0.7 + 0.1;
                        let split = rng.random::<f32>();
                        (start - extra * split, end + extra * (1.0 - split))
                    }
                };
                // What the end of the crop makes much the same as the word is not wrong.
                let inside = wrong.0.max(0.0)..wrong.1.min(limit * StreamConfig::FRAME_SECONDS);
                if overlap(&inside, &(start..end)) > MOST_OVERLAP {
                    continue;
                }
                if let Some(window) = self.push(crop_index, frames(wrong.0), frames(wrong.1), limit) {
                    self.wrong.push(window);
                    self.batch.wrong_text.push(text);
                    self.near_wrong.push(crop.near(wrong.0..wrong.1));
                }
            }
        }
        for _ in 0..self.config.background {
            // As long as words and short phrases are, short ones as often as long ones.
            let length = 0.18 * 9_f32.powf(rng.random::<f32>());
            let start = rng.random::<f32>() * (limit * StreamConfig::FRAME_SECONDS - length).max(0.0);
            if let Some(window) = self.push(crop_index, frames(start), frames(start + length), limit) {
                self.background.push(window);
                self.near_background.push(crop.near(start..start + length));
            }
        }
    }

    /// Takes a window of a crop, if enough of it lies inside.
    fn push(&mut self, crop: usize, from: f32, to: f32, limit: f32) -> Option<(usize, usize)> {
        let (from, to) = (from.max(0.0), to.min(limit));
        (to - from >= 2.0).then(|| {
            self.windows[crop].push((from, to));
            (crop, self.windows[crop].len() - 1)
        })
    }

    /// Which texts are said in which crops.
    fn said(&self) -> Vec<(i64, i64)> {
        let texts: Vec<Vec<i64>> =
            self.batch.texts.iter().map(|text| text.iter().map(|p| p.id() as i64).collect()).collect();
        let spellings: HashMap<i64, String> = self.keys.iter().map(|(s, &key)| (key, format!(" {s} "))).collect();
        let mut said = Vec::new();
        let mut from = 0;
        for (crop, (spelled, &length)) in self.spelled.iter().zip(&self.batch.target_lengths).enumerate() {
            let targets = &self.batch.targets[from..from + length as usize];
            from += length as usize;
            for (text, (phones, key)) in texts.iter().zip(&self.batch.text_keys).enumerate() {
                let heard = targets.windows(phones.len()).any(|window| window == phones.as_slice());
                if self.voices[crop] || heard || spelled.contains(&spellings[key]) {
                    said.push((crop as i64, text as i64));
                }
            }
        }
        said
    }

    /// The batch: pooling weights, doubtful pairs, what is said where, mutants.
    pub(super) fn finish(mut self, rng: &mut SmallRng) -> Batch {
        let (parts, frames) = (self.shape.parts, self.config.frames);
        let most = self.windows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let mut pool = vec![0.0; self.windows.len() * parts * frames * most];
        let mut weights = vec![0.0; parts * frames];
        for (c, windows) in self.windows.iter().enumerate() {
            for (w, &(from, to)) in windows.iter().enumerate() {
                pool_weights(from, to, parts, frames, &mut weights);
                for (row, &value) in weights.iter().enumerate() {
                    pool[(c * parts * frames + row) * most + w] = value;
                }
            }
        }
        let rows = |list: &[(usize, usize)]| list.iter().map(|&(c, w)| (c * most + w) as i64).collect();
        self.batch.right = rows(&self.right);
        self.batch.wrong = rows(&self.wrong);
        self.batch.background = rows(&self.background);
        self.batch.pool = pool;
        self.batch.windows = most;
        self.batch.true_texts = self.batch.texts.len();
        for (row, near) in self.near_wrong.iter().chain(&self.near_background).enumerate() {
            let own = self.batch.wrong_text.get(row).map(|&t| self.batch.text_keys[t as usize]);
            for (spelling, phones) in near {
                let key = self.keys.get(spelling).copied();
                let text = self.by_phones.get(phones).copied();
                for (t, &k) in self.batch.text_keys.iter().enumerate() {
                    if own != Some(k) && (key == Some(k) || text == Some(t as i64)) {
                        self.batch.doubtful.push((row as i64, t as i64));
                    }
                }
            }
        }
        self.batch.said = self.said();
        let mut key = self.keys.len() as i64;
        for parent in 0..self.batch.true_texts {
            for _ in 0..self.config.mutants {
                let Some(mutant) = mutate(rng, &self.batch.texts[parent]) else { continue };
                if !self.by_phones.contains_key(&mutant) {
                    self.by_phones.insert(mutant.clone(), self.batch.texts.len() as i64);
                    self.batch.texts.push(mutant);
                    self.batch.text_keys.push(key);
                    key += 1;
                }
            }
        }
        self.batch
    }
}
