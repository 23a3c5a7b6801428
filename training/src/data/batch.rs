//! Batches: features, CTC targets, right and wrong windows with their texts.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kws_live::frontend::{FrontendConfig, LogMel, MelBank};
use kws_live::text::Phone;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::augment::{AugmentConfig, Augmenter, move_formants};
use super::builder::BatchBuilder;
use super::crop::{Crop, Span, Utterance};
use super::{BatchSource, Cache, Corpus, RATE};
use crate::net::StreamConfig;

/// What a batch holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Crops a batch.
    pub crops: usize,
    /// Encoder frames scored of a crop (30 ms each).
    pub frames: usize,
    /// Windows with the right text, a crop.
    pub spans: usize,
    /// Wrong windows (half, shifted, overlong) for a right one, on average.
    pub wrong: f32,
    /// Border jitter of right windows, seconds each way.
    pub jitter: f32,
    /// Mutated texts for each right text.
    pub mutants: usize,
    /// Share of recordings drawn for a theme word, so that words repeat over speakers.
    pub theme: f32,
    /// Theme words a batch.
    pub themes: usize,
    /// Share of crops without speech.
    pub speechless: f32,
    /// Share of crops that hold single words far apart, as commands are said, in place of running speech.
    pub isolated: f32,
    /// Windows at random places of every crop, which no text matches unless it is said just there.
    pub background: usize,
    /// Machine transcripts below this mean log probability are left out.
    pub min_confidence: f32,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            crops: 32,
            frames: 200,
            spans: 11,
            wrong: 0.5,
            jitter: 0.08,
            mutants: 2,
            theme: 0.4,
            themes: 12,
            speechless: 0.04,
            isolated: 0.25,
            background: 8,
            min_confidence: -0.5,
        }
    }
}

/// Shape of the encoder that a batch is cut for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Feature frames an encoder frame.
    pub stride: usize,
    /// Encoder frames by which the output lags.
    pub delay: usize,
    /// Sub-spans of a window.
    pub parts: usize,
}

/// One training step's data, plain vectors.
#[derive(Debug, Default)]
pub struct Batch {
    /// `[crops, mels, feature frames]`.
    pub features: Vec<f32>,
    /// The same crops before rooms, noise, bands and masks, for a teacher; as long as `features`, or empty without one.
    pub clean: Vec<f32>,
    /// Shape of `features`.
    pub features_shape: [i64; 3],
    /// Encoder frames of a crop that count; the features go on for as many as the output lags.
    pub frames: usize,
    /// Concatenated CTC targets and the length of each crop's.
    pub targets: Vec<i64>,
    /// Number of targets of each crop.
    pub target_lengths: Vec<i64>,
    /// Pooling weights `[crops, parts, frames, windows]`, zero where a crop has fewer windows.
    pub pool: Vec<f32>,
    /// Windows a crop, at the most.
    pub windows: usize,
    /// Row `crop * windows + window` of each right window.
    pub right: Vec<i64>,
    /// Index into `texts` of each right window.
    pub right_text: Vec<i64>,
    /// Row of each wrong window.
    pub wrong: Vec<i64>,
    /// Index into `texts` of the text that a wrong window must not match.
    pub wrong_text: Vec<i64>,
    /// Row of each background window.
    pub background: Vec<i64>,
    /// Pairs that are neither right nor wrong: row of `wrong` and then `background`, counted on, and text.
    pub doubtful: Vec<(i64, i64)>,
    /// Crops and right texts that are said in them, by spelling or by phones, also across words; voices in the background
    /// count as saying all of them.
    pub said: Vec<(i64, i64)>,
    /// Right texts first, then mutants.
    pub texts: Vec<Vec<Phone>>,
    /// Number of right texts.
    pub true_texts: usize,
    /// Texts with one key are spellings of one word: never negatives of each other.
    pub text_keys: Vec<i64>,
    /// Seconds of audio in the batch.
    pub seconds: f32,
}

/// Cuts batches; the batch of a step depends on the seed and the step alone. Clones share the index of the words.
#[derive(Clone)]
pub struct Batcher {
    cache: &'static Cache,
    augmenter: Augmenter<'static>,
    utterances: Arc<Vec<Utterance>>,
    /// Utterance and word position of every occurrence of a word that several speakers say.
    themes: Arc<Vec<Vec<(usize, usize)>>>,
    counts: Arc<HashMap<String, u32>>,
    config: BatchConfig,
    /// Whether a teacher hears the crops as well.
    taught: bool,
    shape: Shape,
    frontend: FrontendConfig,
    /// Centre of each mel band, Hz.
    centres: Vec<f32>,
    seed: u64,
}

/// How the front end hears a crop.
struct Listener {
    /// What it has heard before, samples.
    warm: Vec<f32>,
    /// What the formants are multiplied by.
    formants: Option<f32>,
    /// Mel bands and frames without anything.
    mask: Option<(Range<usize>, Range<usize>)>,
}

/// Seconds by which a recording and its line in the manifest may differ.
const TOLERANCE: f32 = 0.1;

/// Utterances of the train split with aligned words.
///
/// # Errors
/// If there are none, or the cache holds others.
pub(super) fn aligned(cache: &Cache, corpora: &[Corpus], min_confidence: f32) -> Result<Vec<Utterance>> {
    let mut out = Vec::new();
    for corpus in corpora {
        let before = out.len();
        let (mut missing, mut others) = (0, 0);
        for entry in corpus.entries.iter().filter(|e| e.split == "train") {
            let words = entry.words()?;
            let trusted = entry.confidence.is_none_or(|c| c >= min_confidence);
            if !trusted || words.is_empty() || words.iter().any(|w| w.phones.is_empty() || w.end <= w.start) {
                continue;
            }
            let Some(clip) = cache.find(&format!("{}/{}", corpus.name, entry.file)) else {
                missing += 1;
                continue;
            };
            let seconds = cache.samples(clip).len() as f32 / RATE;
            others += usize::from((seconds - entry.seconds).abs() > TOLERANCE);
            out.push(Utterance { clip, words, speaker: entry.speaker.clone() });
        }
        let hint = || {
            format!(
                "run `kws-train prepare` again, with --extra {} if that is no part of --data",
                corpus.folder.display()
            )
        };
        ensure!(
            others == 0,
            "the cache holds {others} recordings of {} in another length than its manifest: {}",
            corpus.name,
            hint()
        );
        // One that could not be decoded is known to `prepare`, which said so.
        ensure!(missing == 0 || out.len() > before, "the cache holds no recording of {}: {}", corpus.name, hint());
        if missing > 0 {
            log::warn!("{missing} recordings of {} are not in the cache: {}", corpus.name, hint());
        }
    }
    ensure!(!out.is_empty(), "no recording of the train split has aligned words");
    Ok(out)
}

/// The generator of a step's batch.
pub(super) fn seeded(seed: u64, step: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

impl Batcher {
    /// Indexes the words of `corpora`.
    ///
    /// # Errors
    /// If no recording has aligned words.
    pub fn new(
        cache: &'static Cache,
        corpora: &[Corpus],
        config: BatchConfig,
        augment: AugmentConfig,
        frontend: FrontendConfig,
        shape: Shape,
        seed: u64,
    ) -> Result<Self> {
        let utterances = aligned(cache, corpora, config.min_confidence)?;
        let mut places: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
        let mut counts: HashMap<String, u32> = HashMap::new();
        for (u, utterance) in utterances.iter().enumerate() {
            for (w, word) in utterance.words.iter().enumerate() {
                *counts.entry(word.text.clone()).or_default() += 1;
                if word.phones.len() >= 2 {
                    places.entry(&word.text).or_default().push((u, w));
                }
            }
        }
        let several = |p: &Vec<(usize, usize)>| {
            p.len() >= 4 && p.iter().any(|&(u, _)| utterances[u].speaker != utterances[p[0].0].speaker)
        };
        let mut themes: Vec<_> = places.into_iter().filter(|(_, p)| several(p)).collect();
        themes.sort_by(|a, b| a.0.cmp(b.0));
        let themes = themes.into_iter().map(|(_, p)| p).collect();
        let speech: Vec<usize> = utterances.iter().map(|u| u.clip).collect();
        let bank = MelBank::new(&frontend);
        Ok(Self {
            cache,
            centres: (0..frontend.mels as usize).map(|i| bank.centre_hz(i)).collect(),
            augmenter: Augmenter::new(augment, cache, &speech),
            utterances: Arc::new(utterances),
            themes: Arc::new(themes),
            counts: Arc::new(counts),
            config,
            taught: false,
            shape,
            frontend,
            seed,
        })
    }

    /// Batches that hold the crops for a teacher as well, see [`Batch::clean`].
    #[must_use]
    pub fn taught(self) -> Self {
        Self { taught: true, ..self }
    }

    /// Number of recordings with aligned words, and of words that several speakers say.
    pub fn sizes(&self) -> (usize, usize) {
        (self.utterances.len(), self.themes.len())
    }

    /// The batch of `step`.
    ///
    /// # Errors
    /// If the front end's parameters are broken.
    pub fn batch(&mut self, step: u64) -> Result<Batch> {
        let mut rng = seeded(self.seed, step);
        let hop = self.frontend.hop as usize;
        let feature_frames = self.shape.stride * (self.config.frames + self.shape.delay);
        let samples = (feature_frames - 1) * hop + self.frontend.window as usize;
        let themes: Vec<usize> =
            (0..self.config.themes.min(self.themes.len())).map(|_| rng.random_range(0..self.themes.len())).collect();
        let mut builder = BatchBuilder::new(&self.config, self.shape, self.frontend.mels as usize, feature_frames);
        let mut mel = LogMel::new(&self.frontend).context("front end")?;
        for _ in 0..self.config.crops {
            let (mut crop, focus) = self.crop(&mut rng, samples, &themes);
            let clean = self.taught.then(|| crop.audio.clone());
            let voices = self.augmenter.crop(&mut rng, &mut crop.audio);
            let listener = self.listener(&mut rng, feature_frames);
            self.features(&listener, &mut mel, &crop.audio, &mut builder.batch.features);
            if let Some(clean) = clean {
                let listener = Listener { mask: None, ..listener };
                self.features(&listener, &mut mel, &clean, &mut builder.batch.clean);
            }
            let spans = self.spans(&mut rng, &crop, &focus);
            builder.add(&mut rng, &crop, &spans, voices);
        }
        let mut batch = builder.finish(&mut rng);
        batch.seconds = (self.config.crops * samples) as f32 / RATE;
        Ok(batch)
    }

    /// Lays recordings end to end; returns also which of the crop's words were asked for.
    fn crop(&self, rng: &mut SmallRng, samples: usize, themes: &[usize]) -> (Crop, Vec<usize>) {
        let mut crop = Crop::empty(samples);
        let mut focus = Vec::new();
        if rng.random::<f32>() < self.config.speechless {
            return (crop, focus);
        }
        let until = self.config.frames as f32 * StreamConfig::FRAME_SECONDS;
        let isolated = rng.random::<f32>() < self.config.isolated;
        let pause = |rng: &mut SmallRng| if isolated { 0.3 + rng.random::<f32>().powi(2) * 2.0 } else { 0.0 };
        let mut at = pause(rng) + rng.random::<f32>() * 0.6;
        let mut misses = 0;
        while misses < 6 && until - at > 0.5 {
            let theme = !themes.is_empty() && rng.random::<f32>() < self.config.theme;
            let (u, w) = if theme {
                let places = &self.themes[themes[rng.random_range(0..themes.len())]];
                places[rng.random_range(0..places.len())]
            } else {
                let u = rng.random_range(0..self.utterances.len());
                (u, rng.random_range(0..self.utterances[u].words.len()))
            };
            // Theme words come in short company, so that a crop holds several.
            let limit = if theme { until.min(at + 0.8 + rng.random::<f32>() * 2.0) } else { until };
            let most = if isolated { 1 + usize::from(rng.random::<f32>() < 0.3) } else { usize::MAX };
            let before = crop.words.len();
            match crop.lay(self.cache, &self.augmenter, rng, &self.utterances[u], w, at..limit, most) {
                Some(end) => {
                    let word = &self.utterances[u].words[w];
                    let asked = |&i: &usize| (theme || isolated) && crop.words[i].text == word.text;
                    focus.extend((before..crop.words.len()).find(asked));
                    at = end + pause(rng) + rng.random::<f32>().powi(2) * 0.7;
                }
                None => misses += 1,
            }
        }
        (crop, focus)
    }

    /// What the front end has heard before a crop half of the time (live, the running mean has always heard something), and how it
    /// hears the crop's `frames`.
    fn listener(&self, rng: &mut SmallRng, frames: usize) -> Listener {
        let mut warm = Vec::new();
        if rng.random::<bool>() {
            let hop = self.frontend.hop as usize;
            let clip = self.cache.samples(self.utterances[rng.random_range(0..self.utterances.len())].clip);
            let hops = (clip.len() / hop).min(rng.random_range(20..250));
            let gain = 10_f32.powf(rng.random::<f32>() * 1.5 - 1.5) / 32_768.0;
            warm = clip[..hops * hop].iter().map(|s| f32::from(*s) * gain).collect();
        }
        let formants = self.augmenter.formants(rng);
        let mask = self.augmenter.masks(rng).then(|| {
            let mels = self.frontend.mels as usize;
            let (band, width) = (rng.random_range(0..mels), rng.random_range(1..8));
            let (start, length) = (rng.random_range(0..frames), rng.random_range(1..8));
            (band..(band + width).min(mels), start..start + length)
        });
        Listener { warm, formants, mask }
    }

    /// Log-mel frames of a crop, transposed to `[mels, frames]`.
    fn features(&self, listener: &Listener, mel: &mut LogMel, audio: &[f32], out: &mut Vec<f32>) {
        mel.reset();
        let (hop, window) = (self.frontend.hop as usize, self.frontend.window as usize);
        let before = listener.warm.len();
        mel.push(&listener.warm, |_| {});
        // Frames that start in the warm-up but were not complete yet come out first.
        let whole = if before < window { 0 } else { (before - window) / hop + 1 };
        let late = before / hop - whole;
        let mels = self.frontend.mels as usize;
        let mut rows = Vec::with_capacity(audio.len() / hop * mels);
        let mut seen = 0;
        mel.push(audio, |frame| {
            if seen >= late {
                rows.extend_from_slice(frame);
            }
            seen += 1;
        });
        let frames = rows.len() / mels;
        if let Some(factor) = listener.formants {
            move_formants(&mut rows, &self.centres, factor);
        }
        if let Some((bands, masked)) = &listener.mask {
            for (t, row) in rows.chunks_exact_mut(mels).enumerate() {
                row[bands.clone()].fill(0.0);
                if masked.contains(&t) {
                    row.fill(0.0);
                }
            }
        }
        for band in 0..mels {
            out.extend((0..frames).map(|t| rows[t * mels + band]));
        }
    }

    /// Word spans of a crop: the words asked for, then random ones; rarer words rather than frequent ones.
    fn spans(&self, rng: &mut SmallRng, crop: &Crop, focus: &[usize]) -> Vec<Span> {
        let mut out: Vec<Span> = focus.iter().map(|&w| Span { words: w..w + 1 }).collect();
        let mut tries = 0;
        while out.len() < self.config.spans && tries < 4 * self.config.spans && !crop.words.is_empty() {
            tries += 1;
            let first = rng.random_range(0..crop.words.len());
            let count = f64::from(self.counts.get(&crop.words[first].text).copied().unwrap_or(1));
            if rng.random::<f64>() > (300.0 / count).sqrt() {
                continue;
            }
            let wanted = match rng.random::<f32>() {
                d if d < 0.62 => 1,
                d if d < 0.9 => 2,
                _ => 3,
            };
            let mut end = first + 1;
            while end < crop.words.len()
                && end - first < wanted
                && crop.source[end] == crop.source[first]
                && crop.words[end].start - crop.words[end - 1].end < 0.3
            {
                end += 1;
            }
            let phones: usize = crop.words[first..end].iter().map(|w| w.phones.len()).sum();
            if (2..=22).contains(&phones) && !out.iter().any(|s| s.words == (first..end)) {
                out.push(Span { words: first..end });
            }
        }
        out
    }
}

impl BatchSource for Batcher {
    type Batch = Batch;

    fn batch(&mut self, step: u64) -> Result<Batch> {
        self.batch(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::tiny_corpus;

    #[test]
    fn what_is_said_in_a_crop_is_known() {
        let (cache, corpus) = tiny_corpus();
        let config = BatchConfig { crops: 12, speechless: 0.3, isolated: 1.0, mutants: 0, ..BatchConfig::default() };
        let shape = Shape { stride: 3, delay: 1, parts: 4 };
        let batch = |augment| {
            Batcher::new(
                cache,
                std::slice::from_ref(&corpus),
                config.clone(),
                augment,
                FrontendConfig::default(),
                shape,
                1,
            )
            .and_then(|mut batcher| batcher.batch(0))
            .expect("a batch")
        };
        let noisy = batch(AugmentConfig { noise: 1.0, ..AugmentConfig::none() });
        let says_all = |crop: i64| noisy.said.iter().filter(|(c, _)| *c == crop).count() == noisy.true_texts;
        let noisy_crops = (0..12).filter(|&c| says_all(c)).count();
        assert!(
            (6..12).contains(&noisy_crops),
            "voices behind {noisy_crops} of 12 crops, coloured noise behind the others"
        );
        let batch = batch(AugmentConfig::none());
        for (row, &text) in batch.right.iter().zip(&batch.right_text) {
            assert!(batch.said.contains(&(row / batch.windows as i64, text)));
        }
        let silent: Vec<i64> = (0..12).filter(|&c| batch.target_lengths[c as usize] == 0).collect();
        assert!(!silent.is_empty() && batch.said.iter().all(|(crop, _)| !silent.contains(crop)));
        let spoken = batch.target_lengths.len() - silent.len();
        assert!(batch.said.len() < spoken * batch.true_texts, "single words: no crop says every text");
    }

    #[test]
    fn a_cache_of_something_else_is_refused() {
        let (cache, corpus) = tiny_corpus();
        let refusal = |corpus: Corpus| aligned(cache, &[corpus], 0.0).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(aligned(cache, std::slice::from_ref(&corpus), 0.0).is_ok());
        // Spoken anew since it was cached.
        let mut other = corpus.clone();
        other.entries[2].seconds = 3.5;
        let error = refusal(other);
        assert!(error.contains("holds 1 recordings of tiny") && error.contains("prepare"), "{error}");
        // Never cached.
        let error = refusal(Corpus { name: "synth".into(), ..corpus });
        assert!(error.contains("no recording of synth") && error.contains("--extra"), "{error}");
    }

    #[test]
    fn a_teacher_hears_the_crops_without_what_was_added() {
        let (cache, corpus) = tiny_corpus();
        let shape = Shape { stride: 3, delay: 1, parts: 4 };
        let batcher = |augment| {
            let config = BatchConfig { crops: 4, ..BatchConfig::default() };
            let (corpora, frontend) = (std::slice::from_ref(&corpus), FrontendConfig::default());
            Batcher::new(cache, corpora, config, augment, frontend, shape, 1).expect("words")
        };
        let batch = |augment| batcher(augment).taught().batch(0).expect("a batch");
        let differ = |b: &Batch| {
            assert_eq!(b.clean.len(), b.features.len());
            let differences = b.clean.iter().zip(&b.features).map(|(a, b)| (a - b).abs());
            differences.sum::<f32>() / b.clean.len() as f32
        };
        let voice = batch(AugmentConfig { formants: [0.9, 1.1], vocal_tract: 1.0, ..AugmentConfig::none() });
        // What 16 bits leave of a crop: where it is silent, features tell it.
        let rounded = differ(&voice);
        assert!(!voice.clean.is_empty() && rounded < 0.05, "a voice is the teacher's as well: {rounded}");
        let noise = AugmentConfig { noise: 1.0, ..AugmentConfig::none() };
        let masks = AugmentConfig { spec_mask: 1.0, ..AugmentConfig::none() };
        for added in [noise.clone(), masks] {
            let added = differ(&batch(added));
            assert!(added > rounded + 0.03, "{added}, of which {rounded} are rounding");
        }
        // What the student hears does not depend on it.
        let alone = batcher(noise.clone()).batch(0).expect("a batch");
        assert!(alone.clean.is_empty() && alone.features == batch(noise).features);
    }
}
