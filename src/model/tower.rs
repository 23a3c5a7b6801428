//! The audio tower of a `jmcl` model: whole segments to embeddings.

use super::heads::unit_rows;
use super::{Graph, ModelError, Tensor};

/// Segments in one run of the graph; more are split into these, so that a backend meets few different shapes.
const GROUPS: [usize; 4] = [32, 8, 2, 1];

/// Segments of log-mel frames to embeddings; no state.
pub struct AudioTower {
    graph: Box<dyn Graph>,
    input: Tensor,
    mels: usize,
    dim: usize,
}

impl AudioTower {
    /// Wraps a graph `features` `[N, T, mels]` to `embedding` `[N, dim]`.
    pub fn new(graph: Box<dyn Graph>, mels: usize, dim: usize) -> Self {
        Self { graph, input: Tensor::f32(&[0, 0, mels], Vec::new()), mels, dim }
    }

    /// Mel bands of a frame.
    pub fn mels(&self) -> usize {
        self.mels
    }

    /// Embedding size, D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Embeds `rows` segments of one length.
    ///
    /// # Shapes
    /// `features`: `[rows, T, mels]`; `out`: `[rows, D]`, unit-norm rows.
    ///
    /// # Errors
    /// If sizes do not fit or the backend fails.
    pub fn embed(&mut self, features: &[f32], rows: usize, out: &mut [f32]) -> Result<(), ModelError> {
        let frames = features.len() / (rows.max(1) * self.mels);
        if frames == 0 || features.len() != rows * frames * self.mels || out.len() != rows * self.dim {
            let expected = format!("{rows} segments of one length, {} bands, D = {}", self.mels, self.dim);
            return Err(ModelError::Shape { what: "features", got: features.len(), expected });
        }
        let (size, mut done) = (frames * self.mels, 0);
        while done < rows {
            let group = GROUPS.into_iter().find(|&g| g <= rows - done).unwrap_or(1);
            let (from, to) = (done * size, (done + group) * size);
            self.run(&features[from..to], [group, frames], &mut out[done * self.dim..(done + group) * self.dim])?;
            done += group;
        }
        Ok(())
    }

    /// One run of the graph over `[rows, frames]`.
    fn run(&mut self, features: &[f32], [rows, frames]: [usize; 2], out: &mut [f32]) -> Result<(), ModelError> {
        if let Tensor::F32 { shape, data } = &mut self.input {
            (shape[0], shape[1]) = (rows, frames);
            data.clear();
            data.extend_from_slice(features);
        }
        unit_rows(self.graph.as_mut(), ("features", &self.input), self.dim, out)
    }
}
