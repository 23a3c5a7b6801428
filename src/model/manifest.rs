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
    /// What kind of model: `stream` (one streaming encoder) or `jmcl` (the paper's towers over sliding windows).
    pub kind: String,
    /// Licence of the weights.
    pub licence: String,
    /// ONNX operator set of every graph, 17.
    pub opset: u32,
    /// Front end that the encoder was trained on.
    pub frontend: FrontendConfig,
    /// Sizes of the encoder of a `stream` model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderSection>,
    /// Sizes of the towers of a `jmcl` model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub towers: Option<TowersSection>,
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
    /// Encoder frames that each block looks ahead, for training to go on with it; where left out, one in as many of the first blocks as
    /// the output lags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<usize>,
    /// Classes of the phone head.
    pub classes: usize,
    /// Sub-spans of a window.
    pub parts: usize,
    /// Channels of a sub-span.
    pub part_dim: usize,
    /// Channels and frames of every state tensor.
    pub states: Vec<[usize; 2]>,
}

/// Sizes of the paper's towers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowersSection {
    /// Mel bands.
    pub mels: usize,
    /// Feature frames between two rounds of windows; the scorer's `window_frames` count in these.
    pub hop_frames: usize,
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
    /// Sizes of the encoder of a `stream` model.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if the model is of another kind.
    pub fn encoder_section(&self) -> Result<&EncoderSection, ModelError> {
        self.encoder.as_ref().ok_or_else(|| missing("encoder", &self.kind))
    }

    /// Sizes of the towers of a `jmcl` model.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if the model is of another kind.
    pub fn towers_section(&self) -> Result<&TowersSection, ModelError> {
        self.towers.as_ref().ok_or_else(|| missing("towers", &self.kind))
    }

    /// The encoder's sizes as the runtime wants them.
    ///
    /// # Errors
    /// As [`Manifest::encoder_section`].
    pub fn encoder_spec(&self) -> Result<EncoderSpec, ModelError> {
        let e = self.encoder_section()?;
        // Each convolution keeps what it looks back on: the stem's feature frames, then encoder frames.
        let lengths = e.states.iter().map(|s| s[1]);
        let memory = lengths.enumerate().map(|(i, l)| if i == 0 { l.div_ceil(e.stride.max(1)) } else { l });
        Ok(EncoderSpec {
            mels: e.mels,
            stride: e.stride,
            delay_frames: e.delay_frames,
            memory_frames: memory.sum(),
            classes: e.classes,
            parts: e.parts,
            part_dim: e.part_dim,
        })
    }

    /// Checks everything that can be checked without opening a graph.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] names the first field that does not fit.
    pub fn check(&self) -> Result<(), ModelError> {
        let mismatch = |field: &str, got, expected| Err(mismatch(field, got, expected));
        if self.format != 1 {
            return mismatch("format", self.format.to_string(), "1".into());
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
        let mels = match self.kind.as_str() {
            "stream" => self.check_encoder()?,
            "jmcl" => self.check_towers()?,
            other => return mismatch("kind", format!("\"{other}\""), "\"stream\" or \"jmcl\"".into()),
        };
        if self.frontend.mels as usize != mels {
            let section = if self.encoder.is_some() { "encoder" } else { "towers" };
            return mismatch("frontend.mels", self.frontend.mels.to_string(), format!("{section}.mels = {mels}"));
        }
        within("embedding.dim", self.embedding.dim, 4096)?;
        if self.text.phones != SYMBOLS {
            let first =
                SYMBOLS.iter().enumerate().find(|(i, s)| self.text.phones.get(*i).map(String::as_str) != Some(**s));
            let place = first.map_or_else(|| "39 phones".into(), |(i, s)| format!("`{s}` at place {i}"));
            return mismatch("text.phones", format!("{} phones", self.text.phones.len()), place);
        }
        self.scorer.check()
    }

    /// Checks the sections of a `stream` model; returns its mel bands.
    fn check_encoder(&self) -> Result<usize, ModelError> {
        let e = self.encoder_section()?;
        if self.towers.is_some() {
            return Err(foreign("towers", &self.kind));
        }
        if e.classes != CLASSES {
            return Err(mismatch("encoder.classes", e.classes.to_string(), CLASSES.to_string()));
        }
        within("encoder.stride", e.stride, 4096)?;
        within("encoder.parts", e.parts, 4096)?;
        within("encoder.part_dim", e.part_dim, 4096)?;
        for (place, &[channels, frames]) in e.states.iter().enumerate() {
            within(&format!("encoder.states[{place}][0]"), channels, 4096)?;
            within(&format!("encoder.states[{place}][1]"), frames, 4096)?;
        }
        if e.delay_frames > 64 {
            return Err(mismatch("encoder.delay_frames", e.delay_frames.to_string(), "at most 64".into()));
        }
        let ahead = e.ahead.iter().fold(0_usize, |sum, frames| sum.saturating_add(*frames));
        if !e.ahead.is_empty() && ahead != e.delay_frames {
            return Err(mismatch(
                "encoder.ahead",
                format!("{ahead} in all"),
                format!("delay_frames = {}", e.delay_frames),
            ));
        }
        Ok(e.mels)
    }

    /// Checks the sections of a `jmcl` model; returns its mel bands.
    fn check_towers(&self) -> Result<usize, ModelError> {
        let towers = self.towers_section()?;
        if self.encoder.is_some() {
            return Err(foreign("encoder", &self.kind));
        }
        within("towers.hop_frames", towers.hop_frames, 100)?;
        Ok(towers.mels)
    }
}

fn mismatch(field: &str, got: String, expected: String) -> ModelError {
    ModelError::Mismatch { field: field.into(), got, expected }
}

fn missing(section: &str, kind: &str) -> ModelError {
    mismatch(section, "missing".into(), format!("a section `[{section}]`, which this use of a `{kind}` model needs"))
}

fn foreign(section: &str, kind: &str) -> ModelError {
    mismatch(section, "there".into(), format!("no such section in a `{kind}` model"))
}

fn within(field: &str, value: usize, most: usize) -> Result<(), ModelError> {
    if (1..=most).contains(&value) { Ok(()) } else { Err(mismatch(field, value.to_string(), format!("1 to {most}"))) }
}
