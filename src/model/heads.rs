//! The small graphs around the encoder: window head and text tower.

use super::{Graph, ModelError, Tensor};
use crate::detect::{dot, pool::pool_matrix};
use crate::text::Phone;

/// Scales a vector to unit length; a zero vector stays.
pub(crate) fn unit(v: &mut [f32]) {
    let norm = dot(v, v).max(1e-12).sqrt();
    for x in v {
        *x /= norm;
    }
}

/// Runs a graph of one input and writes its first output as unit-norm rows of `dim`.
pub(super) fn unit_rows(
    graph: &mut dyn Graph,
    input: (&str, &Tensor),
    dim: usize,
    out: &mut [f32],
) -> Result<(), ModelError> {
    let outputs = graph.run(&[input])?;
    let data = outputs.first().and_then(Tensor::as_f32).unwrap_or_default();
    if data.len() != out.len() {
        return Err(ModelError::Shape { what: "embedding", got: data.len(), expected: out.len().to_string() });
    }
    out.copy_from_slice(data);
    out.chunks_exact_mut(dim).for_each(unit);
    Ok(())
}

/// Pooled projections of windows to embeddings.
pub struct WindowHead {
    graph: Box<dyn Graph>,
    input: Tensor,
    width: usize,
    dim: usize,
}

impl WindowHead {
    /// Wraps a graph `pooled` `[N, width]` to `embedding` `[N, dim]`.
    pub fn new(graph: Box<dyn Graph>, width: usize, dim: usize) -> Self {
        Self { graph, input: Tensor::f32(&[0, width], Vec::new()), width, dim }
    }

    /// Embedding size, D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Embeds windows.
    ///
    /// # Shapes
    /// `pooled`: `[N, K * part_dim]`; `out`: `[N, D]`, unit-norm rows.
    ///
    /// # Errors
    /// If sizes do not fit or the backend fails.
    pub fn embed(&mut self, pooled: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        let rows = pooled.len() / self.width;
        if pooled.len() != rows * self.width || out.len() != rows * self.dim {
            let expected = format!("{rows} rows of {}", self.dim);
            return Err(ModelError::Shape { what: "embedding", got: out.len(), expected });
        }
        if let Tensor::F32 { shape, data } = &mut self.input {
            shape[0] = rows;
            data.clear();
            data.extend_from_slice(pooled);
        }
        unit_rows(self.graph.as_mut(), ("pooled", &self.input), self.dim, out)
    }
}

/// Phones to embeddings; enrolment only.
pub struct TextEncoder {
    graph: Box<dyn Graph>,
    parts: Option<usize>,
    dim: usize,
}

impl TextEncoder {
    /// Wraps a graph `phones` `[1, P]` to `embedding` `[1, dim]`, with a second input `pool` `[K, P, 1]` if `parts`, K, are
    /// given.
    pub fn new(graph: Box<dyn Graph>, parts: Option<usize>, dim: usize) -> Self {
        Self { graph, parts, dim }
    }

    /// Embedding of a phone sequence, unit norm, `[D]`.
    ///
    /// # Errors
    /// If `phones` is empty or the backend fails.
    pub fn embed(&mut self, phones: &[Phone]) -> Result<Vec<f32>, ModelError> {
        if phones.is_empty() {
            return Err(ModelError::Shape { what: "phones", got: 0, expected: "one or more".into() });
        }
        let ids = Tensor::i64(&[1, phones.len()], phones.iter().map(|p| p.id() as i64).collect());
        let outputs = if let Some(parts) = self.parts {
            let pool = Tensor::f32(&[parts, phones.len(), 1], pool_matrix(phones.len(), parts));
            self.graph.run(&[("phones", &ids), ("pool", &pool)])?
        } else {
            self.graph.run(&[("phones", &ids)])?
        };
        let mut out = outputs.first().and_then(Tensor::as_f32).unwrap_or_default().to_vec();
        if out.len() != self.dim {
            return Err(ModelError::Shape { what: "embedding", got: out.len(), expected: self.dim.to_string() });
        }
        unit(&mut out);
        Ok(out)
    }
}
