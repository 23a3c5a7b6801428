//! Embeddings of stretches of recordings, as enrolment and evaluation compare them. Off the hot path.

use std::ops::Range;

use crate::detect::pool::pool_weights;
use crate::detect::{Embedding, WindowEmbedder};
use crate::frontend::{FrontendConfig, FrontendError, LogMel};
use crate::model::{AudioTower, BackendChoice, Bundle, Encoder, EncoderOutput, EncoderSpec, ModelError, WindowHead};
use crate::spotter::SpotError;
use crate::text::{BLANK, CLASSES, Phone};

/// A stretch of a recording, embedded.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its direction.
    pub embedding: Embedding,
    /// What the phone head heard in it, log-posteriors `[frames, classes]`, the blank first; `None` if the model has none.
    pub posteriors: Option<Vec<f32>>,
    /// Its length in the model's scored frames.
    pub frames: f32,
}

impl Segment {
    /// The likeliest phone of each frame, repeats and blanks dropped; `None` if the model has no phone head.
    pub fn phones(&self) -> Option<Vec<Phone>> {
        self.posteriors.as_deref().map(greedy)
    }
}

/// Embeds stretches of recordings with the model that listens live.
pub trait SegmentEmbedder: Send {
    /// Embeds stretches of one recording, heard from its start.
    ///
    /// `samples`: mono, 16 kHz; `spans`: in samples. `None` for a stretch too short for one frame.
    ///
    /// # Errors
    /// If the backend fails.
    fn embed(&mut self, samples: &[f32], spans: &[Range<usize>]) -> Result<Vec<Option<Segment>>, ModelError>;
}

/// The embedder of a bundle of either kind, with sessions of its own.
///
/// # Errors
/// If the backend cannot load the graphs.
pub fn segment_embedder(bundle: &Bundle, choice: BackendChoice) -> Result<Box<dyn SegmentEmbedder>, SpotError> {
    let frontend = &bundle.manifest.frontend;
    if let Some(towers) = &bundle.manifest.towers {
        return Ok(Box::new(TowerSegments::new(frontend, bundle.audio_tower(choice)?, towers.hop_frames)?));
    }
    let encoder = RecordingEncoder::new(frontend, bundle.encoder(choice)?)?;
    Ok(Box::new(StreamSegments { encoder, head: bundle.window_head(choice)? }))
}

/// Encoder frames in one run: one shape for recordings of all lengths.
const CHUNK: usize = 32;

/// The streaming encoder over whole recordings.
pub struct RecordingEncoder {
    mel: LogMel,
    encoder: Box<dyn Encoder>,
}

impl RecordingEncoder {
    /// A front end and an encoder that belong together.
    ///
    /// # Errors
    /// If the front end's parameters are broken.
    pub fn new(frontend: &FrontendConfig, encoder: Box<dyn Encoder>) -> Result<Self, FrontendError> {
        Ok(Self { mel: LogMel::new(frontend)?, encoder })
    }

    /// Sizes of the encoder.
    pub fn spec(&self) -> &EncoderSpec {
        self.encoder.spec()
    }

    /// Samples of an encoder frame.
    pub fn frame_samples(&self) -> usize {
        self.mel.config().hop as usize * self.encoder.spec().stride
    }

    /// Phones and projections of a recording (mono, 16 kHz), aligned with it: frame `i` begins at sample `i *`
    /// [`Self::frame_samples`].
    ///
    /// # Errors
    /// If the backend fails.
    pub fn encode(&mut self, samples: &[f32]) -> Result<EncoderOutput, ModelError> {
        let spec = self.encoder.spec().clone();
        let hop = self.mel.config().hop as usize;
        let frames = samples.len().div_ceil(hop * spec.stride) + 1;
        let needed = (frames + spec.delay_frames).next_multiple_of(CHUNK) * spec.stride * spec.mels;
        let mut features = Vec::with_capacity(needed);
        self.mel.reset();
        self.mel.push(samples, |frame| features.extend_from_slice(frame));
        // Silence for the look-ahead and up to a whole chunk.
        while features.len() < needed {
            self.mel.push(&[0.0; 160], |frame| features.extend_from_slice(frame));
        }
        self.encoder.reset();
        let (mut chunk, mut all) = (EncoderOutput::default(), EncoderOutput::default());
        for part in features[..needed].chunks_exact(CHUNK * spec.stride * spec.mels) {
            self.encoder.encode(part, &mut chunk)?;
            all.phones.extend_from_slice(&chunk.phones);
            all.proj.extend_from_slice(&chunk.proj);
        }
        all.phones.drain(..spec.delay_frames * spec.classes);
        all.proj.drain(..spec.delay_frames * spec.proj_dim());
        all.frames = frames;
        Ok(all)
    }
}

/// Pooled windows of the streaming encoder.
struct StreamSegments {
    encoder: RecordingEncoder,
    head: WindowHead,
}

impl SegmentEmbedder for StreamSegments {
    fn embed(&mut self, samples: &[f32], spans: &[Range<usize>]) -> Result<Vec<Option<Segment>>, ModelError> {
        let spec = self.encoder.spec().clone();
        let out = self.encoder.encode(samples)?;
        let (width, size) = (spec.proj_dim(), self.encoder.frame_samples() as f32);
        let mut segments = Vec::with_capacity(spans.len());
        for span in spans {
            let (start, end) = (span.start as f32 / size, (span.end as f32 / size).min(out.frames as f32));
            if end - start < 1.0 {
                segments.push(None);
                continue;
            }
            let (first, last) = (start as usize, (end.ceil() as usize).min(out.frames));
            let count = last - first;
            let mut weights = vec![0.0; spec.parts * count];
            pool_weights(start - first as f32, end - first as f32, spec.parts, count, &mut weights);
            let mut pooled = vec![0.0; width];
            for (c, value) in pooled.iter_mut().enumerate() {
                let row = &weights[c / spec.part_dim * count..][..count];
                *value = row.iter().enumerate().map(|(t, w)| w * out.proj[(first + t) * width + c]).sum();
            }
            let mut embedding = vec![0.0; WindowEmbedder::dim(&self.head)];
            self.head.embed(&pooled, &mut embedding)?;
            let posteriors = Some(out.phones[first * spec.classes..last * spec.classes].to_vec());
            segments.push(Embedding::new(embedding).map(|embedding| Segment {
                embedding,
                posteriors,
                frames: end - start,
            }));
        }
        Ok(segments)
    }
}

/// Whole segments through the paper's audio tower.
struct TowerSegments {
    mel: LogMel,
    tower: AudioTower,
    hop_frames: usize,
}

impl TowerSegments {
    fn new(frontend: &FrontendConfig, tower: AudioTower, hop_frames: usize) -> Result<Self, FrontendError> {
        Ok(Self { mel: LogMel::new(frontend)?, tower, hop_frames })
    }
}

impl SegmentEmbedder for TowerSegments {
    fn embed(&mut self, samples: &[f32], spans: &[Range<usize>]) -> Result<Vec<Option<Segment>>, ModelError> {
        let mels = self.tower.mels();
        let mut features = Vec::new();
        self.mel.reset();
        self.mel.push(samples, |frame| features.extend_from_slice(frame));
        let total = features.len() / mels;
        let mut segments = Vec::with_capacity(spans.len());
        for span in spans {
            let frames = self.mel.config().frames_within(span.clone());
            let frames = frames.start.min(total)..frames.end.min(total);
            if frames.is_empty() {
                segments.push(None);
                continue;
            }
            let mut embedding = vec![0.0; self.tower.dim()];
            self.tower.embed(&features[frames.start * mels..frames.end * mels], 1, &mut embedding)?;
            let frames = frames.len() as f32 / self.hop_frames as f32;
            segments.push(Embedding::new(embedding).map(|embedding| Segment { embedding, posteriors: None, frames }));
        }
        Ok(segments)
    }
}

fn greedy(log_posteriors: &[f32]) -> Vec<Phone> {
    let mut last = BLANK;
    let mut out = Vec::new();
    for row in log_posteriors.chunks_exact(CLASSES) {
        let best = (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(BLANK);
        if best != last {
            out.extend(Phone::from_id(best));
        }
        last = best;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_drops_repeats_and_blanks() {
        let mut rows = Vec::new();
        for best in [0, 5, 5, 0, 5, 7, 7] {
            let mut row = vec![-9.0; 40];
            row[best] = 0.0;
            rows.extend(row);
        }
        let ids: Vec<usize> = greedy(&rows).iter().map(|p| p.id()).collect();
        assert_eq!(ids, [5, 5, 7]);
    }
}
