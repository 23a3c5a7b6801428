//! `manifest.toml`: what a bundle holds and what it was made for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EncoderSpec, ModelError};
use crate::detect::ScorerConfig;
use crate::frontend::{FrontendConfig, LogMel};
use crate::text::{CLASSES, SYMBOLS};

/// A bundle's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format, 1.
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// What kind of model: `stream`.
    pub kind: String,
    /// Licence of the weights.
    pub licence: String,
    /// ONNX operator set of every graph, 17.
    pub opset: u32,
    /// Front end that the encoder was trained on.
    pub frontend: FrontendConfig,
    /// Sizes of the encoder.
    pub encoder: EncoderSection,
    /// Sizes of the embedding.
    pub embedding: EmbeddingSection,
    /// Phone set.
    pub text: TextSection,
    /// Scoring parameters.
    pub scorer: ScorerConfig,
    /// Files by name.
    pub files: BTreeMap<String, FileEntry>,
    /// How it was trained: data, hours, steps, date.
    #[serde(default)]
    pub training: toml::Table,
    /// What it scored, with the commands.
    #[serde(default)]
    pub scores: toml::Table,
}

/// Sizes of the encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSection {
    /// Mel bands.
    pub mels: usize,
    /// Feature frames an encoder frame.
    pub stride: usize,
    /// Encoder frames by which the output lags.
    pub delay_frames: usize,
    /// Classes of the phone head.
    pub classes: usize,
    /// Sub-spans of a window.
    pub parts: usize,
    /// Channels of a sub-span.
    pub part_dim: usize,
    /// Channels and frames of every state tensor.
    pub states: Vec<[usize; 2]>,
}

/// Sizes of the embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSection {
    /// D.
    pub dim: usize,
}

/// Phone set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSection {
    /// Symbols in class order, without the blank.
    pub phones: Vec<String>,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// The encoder's sizes as the runtime wants them.
    pub fn encoder_spec(&self) -> EncoderSpec {
        let e = &self.encoder;
        EncoderSpec {
            mels: e.mels,
            stride: e.stride,
            delay_frames: e.delay_frames,
            classes: e.classes,
            parts: e.parts,
            part_dim: e.part_dim,
        }
    }

    /// Checks everything that can be checked without opening a graph.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] names the first field that does not fit.
    pub fn check(&self) -> Result<(), ModelError> {
        let mismatch = |field: &str, got: String, expected: String| {
            Err(ModelError::Mismatch { field: field.into(), got, expected })
        };
        if self.format != 1 {
            return mismatch("format", self.format.to_string(), "1".into());
        }
        if self.kind != "stream" {
            return mismatch("kind", format!("\"{}\"", self.kind), "\"stream\"".into());
        }
        if self.opset != 17 {
            return mismatch("opset", self.opset.to_string(), "17".into());
        }
        if self.frontend.sample_rate != 16_000 {
            return mismatch("frontend.sample_rate", self.frontend.sample_rate.to_string(), "16000".into());
        }
        if let Err(error) = LogMel::new(&self.frontend) {
            return mismatch("frontend", error.to_string(), "a front end that can be built".into());
        }
        if self.frontend.mels as usize != self.encoder.mels {
            return mismatch(
                "frontend.mels",
                self.frontend.mels.to_string(),
                format!("encoder.mels = {}", self.encoder.mels),
            );
        }
        if self.encoder.classes != CLASSES {
            return mismatch("encoder.classes", self.encoder.classes.to_string(), CLASSES.to_string());
        }
        for (field, value) in [
            ("encoder.stride", self.encoder.stride),
            ("encoder.parts", self.encoder.parts),
            ("encoder.part_dim", self.encoder.part_dim),
            ("embedding.dim", self.embedding.dim),
        ] {
            if !(1..=4096).contains(&value) {
                return mismatch(field, value.to_string(), "1 to 4096".into());
            }
        }
        if self.encoder.delay_frames > 64 {
            return mismatch("encoder.delay_frames", self.encoder.delay_frames.to_string(), "at most 64".into());
        }
        if self.text.phones != SYMBOLS {
            let first =
                SYMBOLS.iter().enumerate().find(|(i, s)| self.text.phones.get(*i).map(String::as_str) != Some(**s));
            let place = first.map_or_else(|| "39 phones".into(), |(i, s)| format!("`{s}` at place {i}"));
            return mismatch("text.phones", format!("{} phones", self.text.phones.len()), place);
        }
        self.scorer.check()
    }
}
