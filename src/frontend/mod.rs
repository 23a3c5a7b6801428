//! Samples to log-mel frames: the one front end that training and runtime share.
//!
//! 16 kHz mono samples -> 25 ms Hann windows every 10 ms -> power spectrum (FFT 512) -> triangular mel bands ->
//! natural log over a floor that follows quiet streams down -> running mean removed per band ([`RunningMean`]).

mod floor;
mod mel;
mod norm;

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

use floor::Floor;
pub use mel::MelBank;
pub use norm::RunningMean;

/// Groups of neighbouring bands whose levels [`LogMel::push_leveled`] tells.
pub const LEVELS: usize = 4;

/// A sample that can be computed with: what is no number is silence, and nothing is louder than 120 dB over full scale. Files and
/// drivers with floating point samples deliver both.
pub(crate) fn finite(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1e6, 1e6) } else { 0.0 }
}

/// Parameters of the front end; travels with the weights in the bundle's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontendConfig {
    /// Samples per second of the input, Hz.
    pub sample_rate: u32,
    /// Length of the Hann window, samples.
    pub window: u32,
    /// Distance between frames, samples.
    pub hop: u32,
    /// FFT length, samples, at least `window`.
    pub fft: u32,
    /// Number of mel bands.
    pub mels: u32,
    /// Lower edge of the first band, Hz.
    pub low_hz: f32,
    /// Upper edge of the last band, Hz.
    pub high_hz: f32,
    /// Added to the band power before the logarithm (about -80 dBFS of white noise); less of it where the stream is quieter than
    /// -40 dBFS.
    pub floor: f32,
    /// Time constant of the running mean, seconds; 0 turns the normalisation off.
    pub norm_seconds: f32,
    /// How much louder frames weigh in the running mean: weight = power^gamma.
    pub norm_gamma: f32,
}

impl Default for FrontendConfig {
    fn default() -> Self {
        Self {
            sample_rate: 16_000,
            window: 400,
            hop: 160,
            fft: 512,
            mels: 40,
            low_hz: 60.0,
            high_hz: 7_600.0,
            floor: 1e-6,
            norm_seconds: 3.0,
            norm_gamma: 0.5,
        }
    }
}

impl FrontendConfig {
    /// Frames whose centres lie in a stretch of samples, both counted from the start of the stream.
    pub fn frames_within(&self, samples: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let first = |sample: usize| sample.saturating_sub(self.window as usize / 2).div_ceil(self.hop as usize);
        first(samples.start)..first(samples.end)
    }
}

/// A front end that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontendError {
    /// A field of [`FrontendConfig`] that makes no sense.
    #[error("front end: `{field}` is {value}, expected {expected}; the model's manifest is broken")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
}

/// Streaming log-mel analysis. All memory is taken in [`LogMel::new`]; `push` and `reset` never allocate.
pub struct LogMel {
    config: FrontendConfig,
    plan: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    bank: MelBank,
    floor: Floor,
    /// Sum of the bands of white noise of power 1.
    unit: f32,
    norm: Option<RunningMean>,
    /// The last `window` samples or fewer, not yet analysed.
    pending: Vec<f32>,
    filled: usize,
    time: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    power: Vec<f32>,
    frame: Vec<f32>,
    levels: [f32; LEVELS],
}

impl LogMel {
    /// Plans the FFT and the filters.
    ///
    /// # Errors
    /// [`FrontendError::Config`] names the first field that is out of range.
    pub fn new(config: &FrontendConfig) -> Result<Self, FrontendError> {
        let bad = |field, value: f64, expected| Err(FrontendError::Config { field, value, expected });
        if config.hop == 0 || config.hop > config.window {
            return bad("hop", config.hop.into(), "1 to `window`");
        }
        if config.fft < config.window || config.fft > 1 << 16 {
            return bad("fft", config.fft.into(), "`window` to 65536");
        }
        if config.mels == 0 || config.mels > config.fft / 2 {
            return bad("mels", config.mels.into(), "1 to `fft` / 2");
        }
        let nyquist = config.sample_rate as f32 / 2.0;
        if !(config.low_hz >= 0.0 && config.low_hz < config.high_hz && config.high_hz <= nyquist) {
            return bad("high_hz", config.high_hz.into(), "`low_hz` to half the sample rate");
        }
        if !(config.floor > 0.0 && config.floor.is_finite()) {
            return bad("floor", config.floor.into(), "a small positive number");
        }
        if !(config.norm_seconds >= 0.0 && config.norm_seconds.is_finite()) {
            return bad("norm_seconds", config.norm_seconds.into(), "zero or more");
        }
        // A power that is raised higher leaves single precision.
        if !(0.0..=2.0).contains(&config.norm_gamma) {
            return bad("norm_gamma", config.norm_gamma.into(), "0 to 2");
        }
        let window = config.window as usize;
        let fft = config.fft as usize;
        let plan = RealFftPlanner::new().plan_fft_forward(fft);
        let norm = (config.norm_seconds > 0.0).then(|| {
            let frames = config.norm_seconds * config.sample_rate as f32 / config.hop as f32;
            RunningMean::new(config.mels as usize, frames, config.norm_gamma)
        });
        let hann = hann(window);
        let bank = MelBank::new(config);
        Ok(Self {
            floor: Floor::new(config.floor, config.sample_rate as f32 / config.hop as f32),
            unit: hann.iter().map(|w| w * w).sum::<f32>() * bank.weight(),
            hann,
            bank,
            norm,
            pending: vec![0.0; window],
            filled: 0,
            time: plan.make_input_vec(),
            spectrum: plan.make_output_vec(),
            scratch: plan.make_scratch_vec(),
            power: vec![0.0; fft / 2 + 1],
            frame: vec![0.0; config.mels as usize],
            levels: [0.0; LEVELS],
            plan,
            config: config.clone(),
        })
    }

    /// The parameters it was built with.
    pub fn config(&self) -> &FrontendConfig {
        &self.config
    }

    /// Samples that must have arrived before the first frame comes out.
    pub fn latency_samples(&self) -> usize {
        self.config.window as usize
    }

    /// Feeds mono samples in [-1, 1] and hands every finished frame, `[mels]`, to `on_frame`.
    ///
    /// Frame `i` covers the samples `[i * hop, i * hop + window)` since the last reset.
    pub fn push(&mut self, samples: &[f32], mut on_frame: impl FnMut(&[f32])) {
        self.push_leveled(samples, |frame, _| on_frame(frame));
    }

    /// [`LogMel::push`] that also tells how loud each of [`LEVELS`] groups of bands is: their mean ln of power before the running
    /// mean takes the level away.
    pub fn push_leveled(&mut self, mut samples: &[f32], mut on_frame: impl FnMut(&[f32], [f32; LEVELS])) {
        let window = self.pending.len();
        let hop = self.config.hop as usize;
        while !samples.is_empty() {
            let take = samples.len().min(window - self.filled);
            let (head, tail) = samples.split_at(take);
            // The running mean would never forget what is no number.
            for (to, from) in self.pending[self.filled..].iter_mut().zip(head) {
                *to = finite(*from);
            }
            self.filled += take;
            samples = tail;
            if self.filled == window {
                self.analyse();
                on_frame(&self.frame, self.levels);
                self.pending.copy_within(hop.., 0);
                self.filled = window - hop;
            }
        }
    }

    /// Forgets everything heard: afterwards it behaves as new.
    pub fn reset(&mut self) {
        self.filled = 0;
        self.floor.reset();
        if let Some(norm) = &mut self.norm {
            norm.reset();
        }
    }

    fn analyse(&mut self) {
        for ((t, s), w) in self.time.iter_mut().zip(&self.pending).zip(&self.hann) {
            *t = s * w;
        }
        self.time[self.hann.len()..].fill(0.0);
        // The lengths are the plan's own, so the transform cannot fail.
        let _ = self.plan.process_with_scratch(&mut self.time, &mut self.spectrum, &mut self.scratch);
        for (p, c) in self.power.iter_mut().zip(&self.spectrum) {
            *p = c.norm_sqr();
        }
        self.bank.apply(&self.power, &mut self.frame);
        let floor = self.floor.follow(self.frame.iter().sum::<f32>() / self.unit);
        for band in &mut self.frame {
            *band = (*band + floor).ln();
        }
        for (level, bands) in self.levels.iter_mut().zip(self.frame.chunks(self.frame.len().div_ceil(LEVELS))) {
            *level = bands.iter().sum::<f32>() / bands.len() as f32;
        }
        if let Some(norm) = &mut self.norm {
            norm.apply(&mut self.frame);
        }
    }
}

/// Log-mel frames of a whole recording, `[frames, mels]` row-major: [`LogMel`] from a fresh start.
///
/// # Errors
/// As [`LogMel::new`].
pub fn log_mel(config: &FrontendConfig, samples: &[f32]) -> Result<Vec<f32>, FrontendError> {
    let mut analyser = LogMel::new(config)?;
    let mut out = Vec::new();
    analyser.push(samples, |frame| out.extend_from_slice(frame));
    Ok(out)
}

/// Periodic Hann window.
fn hann(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let phase = std::f64::consts::TAU * i as f64 / n as f64;
            (0.5 - 0.5 * phase.cos()) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(n: usize) -> Vec<f32> {
        let mut x = 1_u32;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn frames(config: &FrontendConfig, samples: &[f32]) -> Vec<f32> {
        log_mel(config, samples).expect("default front end")
    }

    #[test]
    fn a_tone_peaks_in_its_own_band() {
        let config = FrontendConfig { norm_seconds: 0.0, ..FrontendConfig::default() };
        let bank = MelBank::new(&config);
        for hz in [200.0, 1_000.0, 3_000.0, 6_000.0] {
            let tone: Vec<f32> =
                (0..1_600).map(|i| (std::f32::consts::TAU * hz * i as f32 / 16_000.0).sin() * 0.5).collect();
            let out = frames(&config, &tone);
            let frame = &out[..40];
            let peak = (0..40).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).expect("40 bands");
            let centre = bank.centre_hz(peak);
            assert!((centre - hz).abs() < 0.12 * hz + 40.0, "{hz} Hz peaks at {centre} Hz");
        }
    }

    #[test]
    fn normalised_frames_do_not_depend_on_the_level() {
        let config = FrontendConfig::default();
        let loud = noise(16_000);
        let soft: Vec<f32> = loud.iter().map(|s| s * 0.05).collect();
        let (a, b) = (frames(&config, &loud), frames(&config, &soft));
        let worst = a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < 0.02, "26 dB of gain moved a band by {worst}");
    }

    /// A hiss 30 dB below a tone, as weak sounds lie below a vowel, stands as high over the silence between in a quiet stream.
    #[test]
    fn weak_sounds_of_a_quiet_stream_are_heard() {
        let contrast = |gain: f32| {
            let hiss = noise(64_000);
            let tone = |i: usize| (i as f32 * 0.3).sin();
            let sample = |i: usize| match i / 1_600 % 4 {
                0 => tone(i),
                2 => 0.03 * hiss[i],
                _ => 0.0,
            };
            let samples: Vec<f32> = (0..64_000).map(|i| gain * sample(i)).collect();
            let out = frames(&FrontendConfig::default(), &samples);
            // The last hiss and the silence behind it, a frame from the middle of each, bands of the upper half.
            let upper = |frame: usize| out[frame * 40 + 20..(frame + 1) * 40].iter().sum::<f32>() / 20.0;
            upper(384) - upper(394)
        };
        let (loud, quiet) = (contrast(0.01), contrast(0.000_6));
        assert!(loud > 2.0, "{loud}");
        assert!((loud - quiet).abs() < 0.3, "{loud} at -40 dB, {quiet} at -64 dB");
    }

    #[test]
    fn silence_is_finite_and_flat() {
        let out = frames(&FrontendConfig::default(), &vec![0.0; 16_000 * 40]);
        assert_eq!(out.len() / 40, (16_000 * 40 - 400) / 160 + 1);
        // All bands alike: first they sink with the floor, then they stay.
        assert!(out.chunks(40).all(|frame| frame.iter().all(|v| *v == frame[0] && (-7.0..1e-3).contains(v))));
        assert!(out[out.len() - 40..].iter().all(|v| v.abs() < 1e-3));
    }

    #[test]
    fn what_is_no_number_is_silence_and_leaves_no_trace() {
        let config = FrontendConfig::default();
        let (mut broken, mut silent) = (noise(16_000), noise(16_000));
        for (i, bad) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
            (broken[3_000 + i], silent[3_000 + i]) = (bad, 0.0);
        }
        assert_eq!(frames(&config, &broken), frames(&config, &silent));
        broken[5_000] = f32::MAX;
        assert!(frames(&config, &broken).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn broken_parameters_are_named() {
        let good = FrontendConfig::default();
        for (broken, field) in [
            (FrontendConfig { high_hz: 9_000.0, ..good.clone() }, "high_hz"),
            (FrontendConfig { norm_gamma: 20.0, ..good.clone() }, "norm_gamma"),
            (FrontendConfig { norm_gamma: f32::NAN, ..good.clone() }, "norm_gamma"),
            (FrontendConfig { norm_seconds: f32::INFINITY, ..good }, "norm_seconds"),
        ] {
            let error = LogMel::new(&broken).err().expect(field).to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn streamed_equals_whole_and_reset_equals_new(cuts in prop::collection::vec(1_usize..900, 1..20)) {
            let samples = noise(6_000);
            let want = frames(&FrontendConfig::default(), &samples);
            let mut analyser = LogMel::new(&FrontendConfig::default()).expect("default");
            for _ in 0..2 {
                let mut got = Vec::new();
                let (mut rest, mut i) = (&samples[..], 0);
                while !rest.is_empty() {
                    let (head, tail) = rest.split_at(cuts[i % cuts.len()].min(rest.len()));
                    analyser.push(head, |f| got.extend_from_slice(f));
                    (rest, i) = (tail, i + 1);
                }
                prop_assert_eq!(&got, &want);
                analyser.reset();
            }
        }
    }
}
