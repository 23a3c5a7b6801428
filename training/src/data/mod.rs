//! What the trainer hears: manifests, cached audio, and the batches cut from them.

mod augment;
mod batch;
mod builder;
mod cache;
mod crop;
mod librispeech;
mod loader;
mod manifest;
mod mutate;
pub mod prepare;
pub mod report;
#[cfg(test)]
pub(crate) mod testing;
mod words;

pub use augment::{AugmentConfig, Augmenter};
pub(crate) use augment::{convolve, direct_path_first, noise_gain, power};
pub use batch::{Batch, BatchConfig, Batcher, Shape};
pub(crate) use cache::sample_at;
pub use cache::{Cache, Clip, RATE};
pub use crop::{Crop, Span, Utterance};
pub use loader::{BatchSource, Loader};
pub use manifest::{Corpus, Entry, Word};
pub use words::{WordBatch, WordBatcher, WordsConfig};
