//! `kws-train eval`: what a model is worth, in figures and pictures.

pub mod calibrate;
pub mod keywords;
pub mod plots;
pub mod recordings;
pub mod stats;
mod tsne;
pub mod words;
