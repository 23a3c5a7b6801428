#![doc = include_str!("../README.md")]

pub mod audio;
pub mod detect;
pub mod engine;
pub mod enrol;
pub mod frontend;
pub mod model;
mod packed;
pub mod search;
pub mod segment;
pub mod spotter;
pub mod text;
pub mod words;
