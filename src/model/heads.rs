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

/// How high the two witnesses of a text rise in speech that does not hold it; enrolment only.
///
/// Some words sound like much that people say, others like nothing else. A small network, trained on what thousands of texts reached in
/// the training speech (`kws-train levels`), foretells it from the text's embedding.
pub struct LevelNet {
    graph: Box<dyn Graph>,
}

impl LevelNet {
    /// Wraps a graph `text` `[1, D + 1]`, an embedding and the logarithm of its number of phones, to `level` `[1, 1]`.
    pub fn new(graph: Box<dyn Graph>) -> Self {
        Self { graph }
    }

    /// The value of cosine and path, weighed, that one false alarm an hour reaches.
    ///
    /// `embedding`: unit norm, `[D]`.
    ///
    /// # Errors
    /// If the backend fails, or what it returns is no number.
    pub fn level(&mut self, embedding: &[f32], phones: usize) -> Result<f32, ModelError> {
        let text = embedding.iter().copied().chain([(phones.max(1) as f32).ln()]).collect();
        let outputs = self.graph.run(&[("text", &Tensor::f32(&[1, embedding.len() + 1], text))])?;
        match outputs.first().and_then(Tensor::as_f32).unwrap_or_default() {
            [level] if level.is_finite() => Ok(*level),
            other => Err(ModelError::Shape { what: "level", got: other.len(), expected: "one number".into() }),
        }
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
