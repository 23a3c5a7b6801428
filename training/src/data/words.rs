//! Batches of the paper: N words with M spoken examples each, cut out of running speech at the aligner's word times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kws_live::frontend::{FrontendConfig, LogMel};
use kws_live::text::Phone;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IteratorRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use super::augment::{AugmentConfig, Augmenter};
use super::batch::{aligned, seeded};
use super::{BatchSource, Cache, Corpus, RATE, Utterance, sample_at};

/// What a batch of words holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordsConfig {
    /// Words a batch, N.
    pub words: usize,
    /// Spoken examples of each, M; words with fewer in the data are left out.
    pub examples: usize,
    /// Shortest word, seconds.
    pub min_seconds: f32,
    /// Longest word, seconds.
    pub max_seconds: f32,
    /// Machine transcripts below this mean log probability are left out.
    pub min_confidence: f32,
}

impl Default for WordsConfig {
    /// The paper's batch and durations.
    fn default() -> Self {
        Self { words: 128, examples: 4, min_seconds: 0.5, max_seconds: 2.0, min_confidence: -0.5 }
    }
}

impl WordsConfig {
    /// Whether a word of this length takes part.
    pub fn takes(&self, seconds: f32) -> bool {
        (self.min_seconds..=self.max_seconds).contains(&seconds)
    }
}

/// One step's words.
#[derive(Debug, Default)]
pub struct WordBatch {
    /// `[N * M, T, mels]`, zero-padded; the M examples of a word in a row.
    pub features: Vec<f32>,
    /// Shape of `features`.
    pub shape: [i64; 3],
    /// True frames of each example.
    pub lengths: Vec<i64>,
    /// Phones of the N words, no two alike.
    pub texts: Vec<Vec<Phone>>,
    /// Seconds of audio in the examples.
    pub seconds: f32,
}

/// A word and where it is said.
struct Entry {
    phones: Vec<Phone>,
    /// Utterance and word position.
    places: Vec<(usize, usize)>,
}

/// Cuts batches of words; the batch of a step depends on the seed and the step alone. Clones share the index of the words.
#[derive(Clone)]
pub struct WordBatcher {
    cache: &'static Cache,
    augmenter: Augmenter<'static>,
    utterances: Arc<Vec<Utterance>>,
    entries: Arc<Vec<Entry>>,
    config: WordsConfig,
    frontend: FrontendConfig,
    seed: u64,
}

impl WordBatcher {
    /// Indexes the words of `corpora`.
    ///
    /// # Errors
    /// If fewer words than a batch needs are said often enough.
    pub fn new(
        cache: &'static Cache,
        corpora: &[Corpus],
        config: WordsConfig,
        augment: AugmentConfig,
        frontend: FrontendConfig,
        seed: u64,
    ) -> Result<Self> {
        let utterances = aligned(cache, corpora, config.min_confidence)?;
        let mut places: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        for (u, utterance) in utterances.iter().enumerate() {
            for (w, word) in utterance.words.iter().enumerate() {
                if config.takes(word.end - word.start) {
                    places.entry(&word.text).or_default().push((u, w));
                }
            }
        }
        let entry = |places: Vec<(usize, usize)>| {
            let mut counts: BTreeMap<&[Phone], usize> = BTreeMap::new();
            for &(u, w) in &places {
                *counts.entry(&utterances[u].words[w].phones).or_default() += 1;
            }
            let phones = counts.into_iter().max_by_key(|(_, n)| *n).map(|(p, _)| p.to_vec()).unwrap_or_default();
            Entry { phones, places }
        };
        let entries: Vec<Entry> =
            places.into_values().filter(|p| p.len() >= config.examples.max(1)).map(entry).collect();
        ensure!(
            entries.len() >= config.words.max(2),
            "{} words are said {} times or more in {} to {} s; words.words is {}",
            entries.len(),
            config.examples,
            config.min_seconds,
            config.max_seconds,
            config.words
        );
        let speech: Vec<usize> = utterances.iter().map(|u| u.clip).collect();
        let augmenter = Augmenter::new(augment, cache, &speech);
        Ok(Self {
            cache,
            augmenter,
            utterances: Arc::new(utterances),
            entries: Arc::new(entries),
            config,
            frontend,
            seed,
        })
    }

    /// Number of words to draw from, and of their examples.
    pub fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.iter().map(|e| e.places.len()).sum())
    }

    /// N words, no two of which sound alike by their phones.
    fn words(&self, rng: &mut SmallRng) -> Vec<usize> {
        let mut taken = HashSet::new();
        let mut out = Vec::new();
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.shuffle(rng);
        for i in order {
            if out.len() < self.config.words && taken.insert(&self.entries[i].phones) {
                out.push(i);
            }
        }
        out
    }

    /// M places of a word, by as many speakers as there are.
    fn examples(&self, rng: &mut SmallRng, entry: &Entry) -> Vec<(usize, usize)> {
        let mut drawn = entry.places.iter().copied().choose_multiple(rng, 8 * self.config.examples);
        drawn.shuffle(rng);
        let mut said: HashMap<&str, usize> = HashMap::new();
        let mut ranked: Vec<(usize, (usize, usize))> = drawn
            .into_iter()
            .map(|place| {
                let speaker = self.utterances[place.0].speaker.as_str();
                // A speaker's first example comes before anybody's second; unknown speakers are taken to differ.
                let turn =
                    if speaker.is_empty() { 0 } else { *said.entry(speaker).and_modify(|n| *n += 1).or_default() };
                (turn, place)
            })
            .collect();
        ranked.sort_by_key(|(turn, _)| *turn);
        ranked.into_iter().take(self.config.examples).map(|(_, place)| place).collect()
    }

    /// Log-mel frames of one word, appended to `out` as `[frames, mels]`. The running mean of the front end has heard up
    /// to two seconds of what comes before, as it will have live.
    fn cut(&mut self, rng: &mut SmallRng, mel: &mut LogMel, place: (usize, usize), out: &mut Vec<f32>) {
        let utterance = &self.utterances[place.0];
        let word = &utterance.words[place.1];
        let samples = self.cache.samples(utterance.clip);
        let at = |seconds| sample_at(seconds, samples.len());
        let from = at(word.start - rng.random_range(0.3..2.0));
        let to = (at(word.end) + self.frontend.window as usize).min(samples.len());
        let mut audio: Vec<f32> = samples[from..to].iter().map(|s| f32::from(*s) / 32_768.0).collect();
        let _ = self.augmenter.crop(rng, &mut audio);
        let wanted = self.frontend.frames_within(at(word.start) - from..at(word.end) - from);
        mel.reset();
        let mut frame_number = 0;
        mel.push(&audio, |frame| {
            if wanted.contains(&frame_number) {
                out.extend_from_slice(frame);
            }
            frame_number += 1;
        });
    }
}

impl BatchSource for WordBatcher {
    type Batch = WordBatch;

    fn batch(&mut self, step: u64) -> Result<WordBatch> {
        let mut rng = seeded(self.seed, step);
        let mut mel = LogMel::new(&self.frontend).context("front end")?;
        let mels = self.frontend.mels as usize;
        let mut segments: Vec<Vec<f32>> = Vec::new();
        let mut batch = WordBatch::default();
        for index in self.words(&mut rng) {
            batch.texts.push(self.entries[index].phones.clone());
            for place in self.examples(&mut rng, &self.entries[index]) {
                let mut segment = Vec::new();
                self.cut(&mut rng, &mut mel, place, &mut segment);
                // A word that ends with its recording may come out one frame short of nothing.
                if segment.is_empty() {
                    segment.resize(mels, 0.0);
                }
                segments.push(segment);
            }
        }
        let longest = segments.iter().map(Vec::len).max().unwrap_or(mels);
        for mut segment in segments {
            batch.lengths.push((segment.len() / mels) as i64);
            segment.resize(longest, 0.0);
            batch.features.extend(segment);
        }
        batch.shape = [batch.lengths.len() as i64, (longest / mels) as i64, mels as i64];
        batch.seconds = batch.lengths.iter().sum::<i64>() as f32 * self.frontend.hop as f32 / RATE;
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::tiny_corpus;

    fn batcher(config: WordsConfig) -> Result<WordBatcher> {
        let (cache, corpus) = tiny_corpus();
        let quiet = AugmentConfig::none();
        WordBatcher::new(cache, &[corpus], config, quiet, FrontendConfig::default(), 7)
    }

    #[test]
    fn a_batch_has_m_examples_of_n_words_by_different_speakers() {
        let config = WordsConfig { words: 3, examples: 2, ..WordsConfig::default() };
        let mut batcher = batcher(config).expect("enough words");
        let (words, examples) = batcher.sizes();
        assert!(words >= 3 && examples >= 6, "{words} words, {examples} examples");
        let batch = batcher.batch(5).expect("a batch");
        assert_eq!((batch.texts.len(), batch.lengths.len()), (3, 6));
        assert_eq!(batch.features.len() as i64, batch.shape.iter().product::<i64>());
        // 0.6 s are 60 frames.
        assert!(batch.lengths.iter().all(|n| (58..=61).contains(n)), "{:?}", batch.lengths);
        let again = batcher.batch(5).expect("a batch");
        assert_eq!(batch.features, again.features);
        let mut rng = seeded(1, 1);
        for entry in batcher.entries.iter() {
            let speakers: HashSet<&str> = batcher
                .examples(&mut rng, entry)
                .iter()
                .map(|(u, _)| batcher.utterances[*u].speaker.as_str())
                .collect();
            assert_eq!(speakers.len(), 2);
        }
    }

    #[test]
    fn words_outside_the_durations_are_left_out() {
        let config = WordsConfig { words: 2, examples: 2, min_seconds: 0.7, ..WordsConfig::default() };
        let error = batcher(config).err().expect("all words last 0.6 s").to_string();
        assert!(error.starts_with("0 words"), "{error}");
    }
}
