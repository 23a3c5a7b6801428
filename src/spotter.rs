//! spotter
