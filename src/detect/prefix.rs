//! Prefix sums of encoder frames: the mean over any recent window costs a few subtractions.

/// Running sums of the last frames, `[channels]` each, in double precision so that years of audio lose nothing.
pub struct PrefixRing {
    channels: usize,
    parts: usize,
    /// `sums[i % capacity]` is the sum of the first `i` frames.
    sums: Vec<f64>,
    capacity: u64,
    count: u64,
}

impl PrefixRing {
    /// Keeps windows of up to `longest` frames over `parts * part_dim` channels.
    pub fn new(parts: usize, part_dim: usize, longest: usize) -> Self {
        let channels = parts * part_dim;
        let capacity = longest as u64 + 2;
        Self { channels, parts, sums: vec![0.0; channels * capacity as usize], capacity, count: 0 }
    }

    /// Frames heard since the last reset.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a frame, `[channels]`.
    pub fn push(&mut self, frame: &[f32]) {
        let (from, to) = (self.slot(self.count), self.slot(self.count + 1));
        for (c, x) in frame.iter().enumerate() {
            self.sums[to + c] = self.sums[from + c] + f64::from(*x);
        }
        self.count += 1;
    }

    fn slot(&self, index: u64) -> usize {
        (index % self.capacity) as usize * self.channels
    }

    /// Channel groups.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Channels of a frame, `parts * part_dim`.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Order-keeping mean of the window of `length` frames before frame `end`: part `k` is the mean of channel group `k` over the
    /// `k`-th of `parts` equal sub-spans. Frames before the start of the stream, after the last one and that are no longer kept
    /// are left out.
    ///
    /// # Shapes
    /// `out`: `[parts * part_dim]`.
    pub fn pool(&self, end: u64, length: usize, out: &mut [f32]) {
        let kept = (self.count + 1).saturating_sub(self.capacity);
        let end = end.min(self.count).max(kept);
        let first = end.saturating_sub(length as u64).max(kept);
        let length = end - first;
        let part_dim = self.channels / self.parts;
        for (k, part) in out.chunks_exact_mut(part_dim).enumerate() {
            let border = |k: usize| length as f64 * k as f64 / self.parts as f64;
            let (low, high) = (border(k), border(k + 1));
            let scale = 1.0 / (high - low).max(1e-9);
            // Sum up to a fractional frame: linear between the two prefix sums around it.
            let place = |x: f64| {
                let whole = (x.floor() as u64).min(length);
                (self.slot(first + whole), self.slot(first + (whole + 1).min(length)), x - whole as f64)
            };
            let ((a0, a1, at), (b0, b1, bt)) = (place(low), place(high));
            let sums = |slot: usize| &self.sums[slot + k * part_dim..][..part_dim];
            let (low, high) = (sums(a0).iter().zip(sums(a1)), sums(b0).iter().zip(sums(b1)));
            for (value, ((a, a_next), (b, b_next))) in part.iter_mut().zip(low.zip(high)) {
                let lo = a + (a_next - a) * at;
                let hi = b + (b_next - b) * bt;
                *value = ((hi - lo) * scale) as f32;
            }
        }
    }

    /// Forgets all frames.
    pub fn reset(&mut self) {
        self.count = 0;
        self.sums.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::pool::pool_weights;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_direct_pooling_also_after_wrapping(
            frames in prop::collection::vec(prop::array::uniform8(-3.0_f32..3.0), 1..60),
            length in 1_usize..20,
        ) {
            let (parts, part_dim) = (4, 2);
            let mut ring = PrefixRing::new(parts, part_dim, 20);
            for frame in &frames {
                ring.push(frame);
            }
            let length = length.min(frames.len());
            let window = &frames[frames.len() - length..];
            let mut weights = vec![0.0; parts * length];
            pool_weights(0.0, length as f32, parts, length, &mut weights);
            let mut got = [0.0; 8];
            ring.pool(frames.len() as u64, length, &mut got);
            for k in 0..parts {
                for g in 0..part_dim {
                    let c = k * part_dim + g;
                    let want: f32 = (0..length).map(|t| weights[k * length + t] * window[t][c]).sum();
                    prop_assert!((got[c] - want).abs() < 2e-3, "part {k}: {} or {want}", got[c]);
                }
            }
        }
    }
}
