//! Noise and rooms for evaluation: the same recording always gets the same ones.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kws_live::audio::decode_16k;
use realfft::RealFftPlanner;
use sha2::{Digest, Sha256};

use crate::data::{Corpus, convolve, direct_path_first, noise_gain, power};

/// What is done to recordings: sounds of the development sets to disturb them with, and how loud they are.
#[derive(Debug, Clone, Default)]
pub struct Disturbed {
    noises: Arc<Vec<Vec<f32>>>,
    rooms: Arc<Vec<Vec<f32>>>,
    /// Signal-to-noise ratio, dB.
    snr_db: Option<f32>,
    /// Root mean square of a recording, dB of full scale.
    level_db: Option<f32>,
}

/// Steps of a 16-bit sample up to full scale.
const STEPS: f32 = 32_768.0;

/// Decodes a split of a corpus.
fn decode(folder: &Path, split: &str) -> Result<Arc<Vec<Vec<f32>>>> {
    let corpus = Corpus::read(folder)?;
    let of = corpus.entries.iter().filter(|e| e.split == split);
    let sounds = of.map(|e| Ok(decode_16k(&corpus.folder.join(&e.file))?)).collect::<Result<Vec<_>>>()?;
    ensure!(!sounds.is_empty(), "{} has nothing in the split `{split}`", folder.display());
    Ok(Arc::new(sounds))
}

impl Disturbed {
    /// Each recording as loud as this, dB of full scale (root mean square), in steps of 16 bits, as a microphone gives it.
    pub fn level(level_db: f32) -> Self {
        Self { level_db: Some(level_db), ..Self::default() }
    }

    /// Noise of `data/noise` at a signal-to-noise ratio.
    ///
    /// # Errors
    /// If the sounds cannot be read.
    pub fn noise(data: &Path, split: &str, snr_db: f32) -> Result<Self> {
        Ok(Self { noises: decode(&data.join("noise"), split)?, snr_db: Some(snr_db), ..Self::default() })
    }

    /// A measured room of `data/rooms`.
    ///
    /// # Errors
    /// If the responses cannot be read.
    pub fn room(data: &Path, split: &str) -> Result<Self> {
        Ok(Self { rooms: decode(&data.join("rooms"), split)?, ..Self::default() })
    }

    /// The recording as it is heard; which sound is drawn depends on its `name` alone, wherever the data lies.
    pub fn apply(&self, name: &str, samples: &[f32]) -> Vec<f32> {
        self.within(name, samples, 0)
    }

    /// The same with so many samples of quiet before and behind it, which the noise fills as well.
    pub fn within(&self, name: &str, samples: &[f32], quiet: usize) -> Vec<f32> {
        let mut out = samples.to_vec();
        let digest = Sha256::digest(name.as_bytes());
        let draw =
            |i: usize| usize::from(digest[i]) << 16 | usize::from(digest[i + 1]) << 8 | usize::from(digest[i + 2]);
        if !self.rooms.is_empty() {
            let room = &self.rooms[draw(0) % self.rooms.len()];
            convolve(&mut RealFftPlanner::new(), &mut out, direct_path_first(room));
        }
        let speech = quiet..quiet + out.len();
        out.splice(0..0, std::iter::repeat_n(0.0, quiet));
        out.resize(out.len() + quiet, 0.0);
        if let (Some(snr), false) = (self.snr_db, self.noises.is_empty()) {
            let noise = &self.noises[draw(3) % self.noises.len()];
            let start = draw(6) % noise.len().max(1);
            let noise: Vec<f32> = noise.iter().copied().cycle().skip(start).take(out.len()).collect();
            let gain = noise_gain(&out[speech], &noise, snr);
            out.iter_mut().zip(&noise).for_each(|(s, n)| *s += gain * n);
        }
        if let Some(level) = self.level_db {
            let gain = 10_f32.powf(level / 20.0) / power(&out).sqrt().max(1e-9);
            for sample in &mut out {
                *sample = (*sample * gain * STEPS).round() / STEPS;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_comes_at_its_ratio_and_is_the_same_every_time() {
        let tone: Vec<f32> = (0..4_000).map(|i| (i as f32 * 0.7).sin()).collect();
        let noisy = Disturbed { noises: Arc::new(vec![tone]), snr_db: Some(10.0), ..Disturbed::default() };
        let clean: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.05).sin() * 0.2).collect();
        let heard = noisy.apply("a.wav", &clean);
        assert_eq!(heard, noisy.apply("a.wav", &clean));
        let power = |x: &mut dyn Iterator<Item = f32>| x.map(|s| s * s).sum::<f32>();
        let added = power(&mut heard.iter().zip(&clean).map(|(a, b)| a - b));
        let snr = 10.0 * (power(&mut clean.iter().copied()) / added).log10();
        assert!((snr - 10.0).abs() < 0.2, "{snr} dB");
        // Quiet around it has the same noise at the level that goes with the recording.
        let around = noisy.within("a.wav", &clean, 4_000);
        assert_eq!(around.len(), 24_000);
        let quiet = power(&mut around[..4_000].iter().copied()) / 4_000.0;
        let ratio = 10.0 * (quiet / (added / 16_000.0)).log10();
        assert!(ratio.abs() < 0.2, "{ratio} dB");
    }

    #[test]
    fn a_room_smears_and_keeps_the_level() {
        let mut response = vec![0.0; 800];
        (response[100], response[500]) = (1.0, 0.5);
        let room = Disturbed { rooms: Arc::new(vec![response]), ..Disturbed::default() };
        let mut click = vec![0.0; 1_600];
        click[200] = 1.0;
        let heard = room.apply("a.wav", &click);
        // The direct path comes at once, the echo 400 samples later.
        assert!((heard[600] / heard[200] - 0.5).abs() < 1e-3, "{} {}", heard[200], heard[600]);
        assert!((heard.iter().map(|s| s * s).sum::<f32>() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_level_is_reached_in_steps_of_sixteen_bits() {
        let clean: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.05).sin() * 0.2).collect();
        let heard = Disturbed::level(-60.0).apply("a.wav", &clean);
        assert!((10.0 * power(&heard).log10() + 60.0).abs() < 0.1, "{}", power(&heard));
        assert!(heard.iter().all(|s| (s * STEPS).fract() == 0.0));
        assert_eq!(Disturbed::level(-60.0).apply("a.wav", &[0.0; 100]), [0.0; 100]);
    }
}
