//! Scoring of windows against keywords.

pub mod pool;
