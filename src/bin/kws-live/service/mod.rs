//! What a program needs that runs by itself: configuration, signals, new keywords without a restart.

pub mod config;
#[cfg(unix)]
pub mod notify;
#[cfg(not(unix))]
#[path = "unnotified.rs"]
pub mod notify;
pub mod reload;
pub mod signals;
pub mod watched;
