//! What a program needs that runs by itself: configuration, signals, new keywords without a restart.

pub mod config;
pub mod reload;
pub mod signals;
