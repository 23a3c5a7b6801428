//! Networks. Variable names are the ones that `export` reads.

mod parts;
mod stream;
mod text;

pub use parts::{BatchNorm, Mode, he, out};
pub use stream::{StreamConfig, StreamNet, normalise};
pub use text::{LAYERS as TEXT_LAYERS, TextConfig, TextTower};
