//! Objectives. Embeddings are unit-norm rows; every function returns a scalar.

mod dwd;
mod stream;
mod text;

pub use dwd::{DwdVariant, dwd};
pub use stream::calibration_bce;
pub use text::clap;

use tch::{Kind, Tensor};

/// What stands for minus infinity in masked logits.
const MASKED: f64 = -1e4;

/// Mean cross-entropy of `logits`, `[rows, classes]`, with class `targets`, `[rows]`.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    let picked = logits.log_softmax(-1, Kind::Float).gather(1, &targets.view([-1, 1]), false);
    -picked.mean(Kind::Float)
}
