//! Layers shared by the networks.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

/// How a forward pass computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Batch statistics instead of running ones.
    pub train: bool,
    /// Convolutions in bfloat16; norms, heads and losses stay in single precision.
    pub bf16: bool,
}

impl Mode {
    /// Running statistics, single precision: what is exported.
    pub const EVAL: Self = Self { train: false, bf16: false };

    /// The tensor in the precision of the convolutions.
    pub fn cast(self, x: &Tensor) -> Tensor {
        if self.bf16 { x.to_kind(Kind::BFloat16) } else { x.shallow_clone() }
    }
}

/// He initialisation for a convolution's weight `[out, in, k]`.
pub fn he(path: &Path<'_>, name: &str, shape: &[i64]) -> Tensor {
    let fan_in: i64 = shape[1..].iter().product();
    path.var(name, shape, Init::Randn { mean: 0.0, stdev: (2.0 / fan_in as f64).sqrt() })
}

/// Small initialisation for an output layer.
pub fn out(path: &Path<'_>, name: &str, shape: &[i64]) -> Tensor {
    let fan_in: i64 = shape[1..].iter().product();
    path.var(name, shape, Init::Randn { mean: 0.0, stdev: (1.0 / fan_in as f64).sqrt() })
}

/// Batch normalisation over `[batch, channels, time]`.
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
}

impl BatchNorm {
    /// Epsilon added to the variance; `export` folds with the same.
    pub const EPS: f64 = 1e-5;

    /// A layer for `channels` channels, its gain starting at `gain`.
    pub fn new(path: &Path<'_>, channels: i64, gain: f64) -> Self {
        Self {
            weight: path.var("weight", &[channels], Init::Const(gain)),
            bias: path.zeros("bias", &[channels]),
            mean: path.zeros_no_train("running_mean", &[channels]),
            var: path.ones_no_train("running_var", &[channels]),
        }
    }

    /// Normalises `x`, `[batch, channels, time]`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.var),
            train,
            0.05,
            Self::EPS,
            false,
        )
    }
}
