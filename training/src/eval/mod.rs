//! `kws-train eval`: what a model is worth, in figures and pictures.

pub mod calibrate;
pub(crate) mod candidates;
mod contest;
mod disturb;
pub mod gate;
pub mod keywords;
mod lattice;
pub mod phrases;
pub mod plots;
pub mod queries;
pub mod recordings;
pub mod report;
pub mod stats;
pub mod terms;
mod tsne;
pub mod wake;
pub mod windows;
pub mod words;
