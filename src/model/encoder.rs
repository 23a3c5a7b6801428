//! The streaming encoder: log-mel frames in, phone posteriors and window projections out.

use super::{Graph, ModelError, State, Tensor, place};

/// What an encoder takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderSpec {
    /// Mel bands of a feature frame.
    pub mels: usize,
    /// Feature frames an encoder frame.
    pub stride: usize,
    /// Encoder frames by which the output lags: output `i` describes frame `i - delay_frames`.
    pub delay_frames: usize,
    /// Encoder frames before its own that an output may depend on.
    pub memory_frames: usize,
    /// Classes of the phone head, the CTC blank first.
    pub classes: usize,
    /// Sub-spans of a window, K.
    pub parts: usize,
    /// Channels of a sub-span.
    pub part_dim: usize,
}

impl EncoderSpec {
    /// Width of the window projection, K * `part_dim`.
    pub fn proj_dim(&self) -> usize {
        self.parts * self.part_dim
    }
}

/// Frames of one chunk; the vectors are reused from call to call.
#[derive(Debug, Default, Clone)]
pub struct EncoderOutput {
    /// Number of encoder frames.
    pub frames: usize,
    /// Log-posteriors, `[frames, classes]`.
    pub phones: Vec<f32>,
    /// Window projections, `[frames, K * part_dim]`.
    pub proj: Vec<f32>,
}

/// A causal encoder with state; one per stream.
pub trait Encoder: Send {
    /// Its sizes.
    fn spec(&self) -> &EncoderSpec;

    /// Encodes the next chunk.
    ///
    /// # Shapes
    /// `features`: `[frames, mels]` row-major, `frames` a multiple of the stride. `out` is overwritten.
    ///
    /// # Errors
    /// If the chunk has a wrong size or the backend fails.
    fn encode(&mut self, features: &[f32], out: &mut EncoderOutput) -> Result<(), ModelError>;

    /// Forgets everything heard.
    fn reset(&mut self);
}

/// [`Encoder`] over an ONNX graph with explicit state tensors, which the backend keeps from chunk to chunk.
pub struct StreamEncoder {
    graph: Box<dyn Graph>,
    spec: EncoderSpec,
    features: Tensor,
    phones: usize,
    proj: usize,
}

impl StreamEncoder {
    /// Wraps a graph with inputs `features`, `state_0`.. and outputs `phones`, `proj`, `next_state_0`..; `states` are
    /// `[channels, frames]`.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if the graph lacks an input or output.
    pub fn new(mut graph: Box<dyn Graph>, spec: EncoderSpec, states: &[[usize; 2]]) -> Result<Self, ModelError> {
        let state = |(i, &[channels, frames]): (usize, &[usize; 2])| State {
            input: format!("state_{i}"),
            output: format!("next_state_{i}"),
            shape: vec![1, channels, frames],
        };
        graph.keep(states.iter().enumerate().map(state).collect())?;
        let (phones, proj) = {
            let find = |name| place(graph.output_names(), name, "encoder.onnx", "output");
            (find("phones")?, find("proj")?)
        };
        let features = Tensor::f32(&[1, spec.mels, 0], Vec::new());
        Ok(Self { graph, spec, features, phones, proj })
    }
}

/// Copies `[1, channels, frames]` into `[frames, channels]`.
fn transpose(from: &[f32], channels: usize, frames: usize, to: &mut Vec<f32>) {
    to.clear();
    for t in 0..frames {
        to.extend((0..channels).map(|c| from[c * frames + t]));
    }
}

/// Turns logits of each frame into log-probabilities, in place.
pub(crate) fn log_softmax(rows: &mut [f32], classes: usize) {
    for row in rows.chunks_exact_mut(classes) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|v| (v - most).exp()).sum();
        let shift = most + sum.ln();
        for v in row {
            *v -= shift;
        }
    }
}

impl Encoder for StreamEncoder {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode(&mut self, features: &[f32], out: &mut EncoderOutput) -> Result<(), ModelError> {
        let (mels, stride) = (self.spec.mels, self.spec.stride);
        let count = features.len() / mels;
        if !features.len().is_multiple_of(mels) || !count.is_multiple_of(stride) || count == 0 {
            let expected = format!("a multiple of {}", mels * stride);
            return Err(ModelError::Shape { what: "features", got: features.len(), expected });
        }
        if let Tensor::F32 { shape, data } = &mut self.features {
            shape[2] = count;
            data.clear();
            for band in 0..mels {
                data.extend((0..count).map(|t| features[t * mels + band]));
            }
        }
        let outputs = self.graph.run(&[("features", &self.features)])?;
        let frames = count / stride;
        let (classes, width) = (self.spec.classes, self.spec.proj_dim());
        for (index, channels, to, what) in
            [(self.phones, classes, &mut out.phones, "phones"), (self.proj, width, &mut out.proj, "proj")]
        {
            let data = outputs[index].as_f32().unwrap_or_default();
            if data.len() != channels * frames {
                return Err(ModelError::Shape { what, got: data.len(), expected: (channels * frames).to_string() });
            }
            transpose(data, channels, frames, to);
        }
        out.frames = frames;
        log_softmax(&mut out.phones, classes);
        Ok(())
    }

    fn reset(&mut self) {
        self.graph.reset();
    }
}
