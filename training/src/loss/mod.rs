//! Objectives. Embeddings are unit-norm rows; every function returns a scalar.

mod acoustic;
mod distil;
mod dwd;
mod multiview;
mod objective;
mod stream;
mod text;

pub use acoustic::{nt_xent, siamese};
pub use distil::{embedding_distance, posterior_divergence};
pub use dwd::{DwdVariant, dwd};
pub use multiview::multiview;
pub use objective::{Objective, ObjectiveConfig, ObjectiveTerms};
pub use stream::calibration_bce;
pub use text::{Pairing, clap};

use tch::{Kind, Tensor};

/// What stands for minus infinity in masked logits.
const MASKED: f64 = -1e4;

/// Mean cross-entropy of `logits`, `[rows, classes]`, with class `targets`, `[rows]`.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    let picked = logits.log_softmax(-1, Kind::Float).gather(1, &targets.view([-1, 1]), false);
    -picked.mean(Kind::Float)
}

/// Dot product of each row of `a` with its row of `b`, `[rows]`.
fn row_products(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist(Some([1_i64].as_slice()), false, Kind::Float)
}

/// Whether two rows are of one group, `[S, S]`.
fn same_group(groups: &Tensor) -> Tensor {
    groups.unsqueeze(1).eq_tensor(&groups.unsqueeze(0))
}

/// True on the diagonal of a square like `of`.
fn diagonal(of: &Tensor) -> Tensor {
    Tensor::eye(of.size()[0], (Kind::Bool, of.device()))
}

/// Mean of `values` where `mask` holds; zero where it never does.
fn mean_where(values: &Tensor, mask: &Tensor) -> Tensor {
    let count = mask.sum(Kind::Float).clamp_min(1.0);
    values.masked_fill(&mask.logical_not(), 0.0).sum(Kind::Float) / count
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    /// Whether a loss is what was computed by hand.
    pub fn close(got: &Tensor, want: f64) {
        let got = got.double_value(&[]);
        assert!((got - want).abs() < 1e-5, "{got}, by hand {want}");
    }
}
