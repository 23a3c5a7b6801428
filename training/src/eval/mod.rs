//! `kws-train eval`: what a model is worth, in figures and pictures.

pub mod plots;
pub mod stats;
