//! Removes the level and the channel from log-mel frames as they come.

/// Running mean per band, in which loud frames weigh more, and which forgets exponentially:
///
/// `m_t = sum_i d^(t-i) w_i x_i / sum_i d^(t-i) w_i`, with `w_i = exp(gamma * mean(x_i))` and `d = exp(-1 / frames)`.
///
/// A gain multiplies every weight alike, so it cancels from the first frame on. The weights keep the mean on speech
/// rather than on the pauses between, and let the first word after a long silence set its own level.
pub struct RunningMean {
    decay: f32,
    gamma: f32,
    weight: f32,
    sums: Vec<f32>,
    /// Level that the sums are scaled by, so that they neither over- nor underflow.
    reference: f32,
}

impl RunningMean {
    /// A mean over `bands` bands with a time constant of `frames` frames.
    pub fn new(bands: usize, frames: f32, gamma: f32) -> Self {
        Self { decay: (-1.0 / frames).exp(), gamma, weight: 0.0, sums: vec![0.0; bands], reference: 0.0 }
    }

    /// Takes the frame into the mean, then subtracts the mean from it, in place.
    pub fn apply(&mut self, frame: &mut [f32]) {
        let level = frame.iter().sum::<f32>() / frame.len() as f32;
        if self.weight == 0.0 {
            self.reference = level;
        } else if (level - self.reference).abs() > 10.0 {
            // Sums grow by exp(gamma * 10) at the most before they are scaled anew.
            let scale = (self.gamma * (self.reference - level)).exp();
            self.weight *= scale;
            self.sums.iter_mut().for_each(|s| *s *= scale);
            self.reference = level;
        }
        let w = (self.gamma * (level - self.reference)).exp();
        self.weight = self.weight * self.decay + w;
        let norm = 1.0 / self.weight;
        for (sum, x) in self.sums.iter_mut().zip(frame) {
            *sum = *sum * self.decay + w * *x;
            *x -= *sum * norm;
        }
    }

    /// Forgets all frames.
    pub fn reset(&mut self) {
        self.weight = 0.0;
        self.sums.fill(0.0);
    }
}
