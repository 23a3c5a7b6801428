//! What is listened for.

use crate::text::{Phone, arpabet};

/// A unit vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Scales `values` to unit length; `None` if they have no direction.
    pub fn new(mut values: Vec<f32>) -> Option<Self> {
        let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        (norm.is_finite() && norm > 1e-6).then(|| {
            for v in &mut values {
                *v /= norm;
            }
            Self(values.into())
        })
    }

    /// The direction of the sum of several embeddings, weighted.
    pub fn blend<'a>(parts: impl IntoIterator<Item = (f32, &'a Self)>) -> Option<Self> {
        let mut sum: Vec<f32> = Vec::new();
        for (weight, part) in parts {
            sum.resize(part.0.len(), 0.0);
            sum.iter_mut().zip(part.values()).for_each(|(s, v)| *s += weight * v);
        }
        Self::new(sum)
    }

    /// Its values, `[D]`.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Cosine with another embedding.
    pub fn cosine(&self, other: &Self) -> f32 {
        dot(&self.0, &other.0)
    }
}

/// Dot product in eight lanes, so that the compiler can use the vector unit without reordering a sum on its own.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (x, y) in a8.iter().zip(b8) {
        for i in 0..8 {
            lanes[i] += x[i] * y[i];
        }
    }
    let tail: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + tail
}

/// One way to say a keyword.
#[derive(Debug, Clone, PartialEq)]
pub struct Pronunciation {
    /// Phones of the CTC path.
    pub phones: Vec<Phone>,
    /// Embedding to compare windows with.
    pub embedding: Embedding,
    /// Shortest and longest window to compare, encoder frames; `None` to derive it from the phones.
    pub frames: Option<(f32, f32)>,
    /// How high its scores rise in speech that does not hold it. A model that foretells it ([`crate::model::LevelNet`]) needs it, and
    /// [`crate::enrol::Enroller`] sets it; for any other it is `None`, and the number of phones stands for it.
    pub level: Option<f32>,
}

impl Pronunciation {
    /// What the last weight of [`crate::detect::ScorerConfig::fusion`] is for: the level, or the logarithm of the number of phones.
    pub fn expected(&self) -> f32 {
        self.level.unwrap_or_else(|| (self.phones.len().max(1) as f32).ln())
    }
}

/// A keyword ready to be listened for.
#[derive(Debug, Clone, PartialEq)]
pub struct Keyword {
    /// As typed.
    pub name: String,
    /// One or more ways to say it; the best one counts.
    pub pronunciations: Vec<Pronunciation>,
    /// Its own threshold, overriding the common one.
    pub threshold: Option<f32>,
}

impl Keyword {
    /// Its pronunciations on one line, such as `HH AH L OW | HH EH L OW`.
    pub fn said(&self) -> String {
        self.pronunciations.iter().map(|way| arpabet(&way.phones)).collect::<Vec<_>>().join(" | ")
    }
}
