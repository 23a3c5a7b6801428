//! Trains both towers of kws-live (arXiv 2512.14115) and exports them to ONNX.

pub mod align;
pub mod bigrams;
pub mod checkpoint;
pub mod data;
pub mod eval;
pub mod export;
pub mod fit;
pub mod g2p;
pub mod levels;
pub mod lexicon;
pub mod loss;
pub mod model;
pub mod net;
pub mod optim;
pub mod rivals;
mod spread;
pub mod synth;
#[cfg(test)]
mod testing;
mod whole;
