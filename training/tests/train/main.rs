//! The training crate from end to end, on data made here.

mod aligning;
mod learning;
mod librispeech;
mod parity;
mod tones;
