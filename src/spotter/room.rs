//! What comes before a stream.

use std::sync::Arc;

/// Length of the warm-up, samples, before it is rounded up to scored frames.
const WARM_UP: u64 = 8_000;

/// Largest sample of the quiet room: white noise of -55 dBFS.
const HISS: f32 = 0.003;

/// White noise, the same each time, with samples up to `peak`.
pub(crate) fn white_noise(peak: f32) -> impl Iterator<Item = f32> {
    let mut state = 1_u32;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        peak * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    })
}

/// Quiet that a stream is heard to begin with, whole frames of `frame_samples`.
pub(super) fn warm_up(frame_samples: u64) -> Arc<[f32]> {
    white_noise(HISS).take((WARM_UP.div_ceil(frame_samples) * frame_samples) as usize).collect()
}
