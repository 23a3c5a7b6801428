//! What comes before a stream.

use std::sync::Arc;

/// Length of the warm-up, samples, before it is rounded up to scored frames.
const WARM_UP: u64 = 8_000;

/// A quiet room (white noise at -55 dBFS, always the same), `length` samples.
fn quiet_room(length: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.003
    };
    (0..length).map(|_| next()).collect()
}

/// Quiet that a stream is heard to begin with, whole frames of `frame_samples`.
pub(super) fn warm_up(frame_samples: u64) -> Arc<[f32]> {
    quiet_room((WARM_UP.div_ceil(frame_samples) * frame_samples) as usize).into()
}
