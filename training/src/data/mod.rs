//! What the trainer hears: manifests, cached audio, and the batches cut from them.

mod augment;
mod batch;
mod cache;
mod crop;
mod librispeech;
mod manifest;
mod mutate;
pub mod prepare;

pub use augment::{AugmentConfig, Augmenter};
pub use batch::{Batch, BatchConfig, Batcher, Loader, Shape};
pub use cache::{Cache, Clip, RATE};
pub use crop::{Crop, Span, Utterance};
pub use manifest::{Corpus, Entry, Word};
