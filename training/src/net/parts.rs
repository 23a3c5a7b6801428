//! Layers shared by the networks.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

/// Statistics of batch normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The batch's, which also move the running ones.
    Batch,
    /// The running ones.
    Running,
    /// The layers are idle (their weights were folded into the convolutions): each takes the batch's statistics for its own
    /// in such a way that the network goes on computing what it did.
    Adopt,
}

/// How a forward pass computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Whose statistics the batch norms use.
    pub norm: Norm,
    /// Convolutions in bfloat16; norms, heads and losses stay in single precision.
    pub bf16: bool,
}

impl Mode {
    /// Running statistics, single precision: what is exported.
    pub const EVAL: Self = Self { norm: Norm::Running, bf16: false };

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
    pub fn forward(&self, x: &Tensor, norm: Norm) -> Tensor {
        if norm == Norm::Adopt {
            self.adopt(x);
        }
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.var),
            norm == Norm::Batch,
            0.05,
            Self::EPS,
            false,
        )
    }

    /// Takes the statistics of `x`; gain and bias undo them, so that with them `x` comes out as it goes in, plus the bias.
    fn adopt(&self, x: &Tensor) {
        tch::no_grad(|| {
            let x = x.to_kind(Kind::Float);
            let over = [0_i64, 2];
            let mean = x.mean_dim(Some(over.as_slice()), false, Kind::Float);
            let var = x.var_dim(Some(over.as_slice()), false, false);
            let [mut weight, mut bias, mut running_mean, mut running_var] =
                [&self.weight, &self.bias, &self.mean, &self.var].map(Tensor::shallow_clone);
            weight.copy_(&(&var + Self::EPS).sqrt());
            bias += &mean;
            running_mean.copy_(&mean);
            running_var.copy_(&var);
        });
    }
}
