//! Networks. Variable names are the ones that `export` reads.

mod jmcl;
mod parts;
mod stream;
mod text;

pub use jmcl::{JmclConfig, JmclNet};
pub use parts::{BatchNorm, Mode, Norm, he, out};
pub use stream::{StreamConfig, StreamNet, normalise};
pub use text::{LAYERS as TEXT_LAYERS, TextConfig, TextTower};
