//! Triangular mel filters.

use super::FrontendConfig;

/// A bank of triangular filters of peak 1, evenly spaced on the mel scale `2595 log10(1 + f / 700)` (O'Shaughnessy).
pub struct MelBank {
    /// First FFT bin and weights of each band.
    bands: Vec<(usize, Vec<f32>)>,
    centres: Vec<f32>,
}

fn mel(hz: f64) -> f64 {
    2595.0 * (1.0 + hz / 700.0).log10()
}

fn hz(mel: f64) -> f64 {
    700.0 * (10_f64.powf(mel / 2595.0) - 1.0)
}

impl MelBank {
    /// Filters for the power spectrum of `config.fft` points.
    pub fn new(config: &FrontendConfig) -> Self {
        let mels = config.mels as usize;
        let (low, high) = (mel(config.low_hz.into()), mel(config.high_hz.into()));
        let edges: Vec<f64> = (0..mels + 2).map(|i| hz(low + (high - low) * i as f64 / (mels + 1) as f64)).collect();
        let bin_hz = f64::from(config.sample_rate) / f64::from(config.fft);
        let bins = config.fft as usize / 2 + 1;
        let bands = edges
            .windows(3)
            .map(|e| {
                let weight = |bin: usize| {
                    let f = bin as f64 * bin_hz;
                    ((f - e[0]) / (e[1] - e[0])).min((e[2] - f) / (e[2] - e[1])).max(0.0)
                };
                let first = ((e[0] / bin_hz).floor() as usize).min(bins - 1);
                let last = ((e[2] / bin_hz).ceil() as usize).min(bins - 1);
                let mut weights: Vec<f64> = (first..=last).map(weight).collect();
                // A band narrower than the bins' distance still hears its nearest bin.
                if weights.iter().sum::<f64>() < 0.5 {
                    let nearest = ((e[1] / bin_hz).round() as usize).clamp(first, last);
                    weights[nearest - first] = weights[nearest - first].max(0.5);
                }
                (first, weights.into_iter().map(|w| w as f32).collect())
            })
            .collect();
        Self { bands, centres: edges[1..=mels].iter().map(|&f| f as f32).collect() }
    }

    /// Band powers of a power spectrum.
    ///
    /// # Shapes
    /// `power`: `[fft / 2 + 1]`, `out`: `[mels]`.
    pub fn apply(&self, power: &[f32], out: &mut [f32]) {
        for ((first, weights), o) in self.bands.iter().zip(out) {
            *o = weights.iter().zip(&power[*first..]).map(|(w, p)| w * p).sum();
        }
    }

    /// Sum of all weights: of the bands, where every FFT bin has a power of 1.
    pub fn weight(&self) -> f32 {
        self.bands.iter().flat_map(|(_, weights)| weights).sum()
    }

    /// Centre of band `i`, Hz.
    pub fn centre_hz(&self, i: usize) -> f32 {
        self.centres[i]
    }
}
