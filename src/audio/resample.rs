//! Any rate to the model's 16 kHz, streaming, on the worker.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, SincInterpolationParameters, SincInterpolationType, WindowFunction,
    calculate_cutoff,
};

use super::{AudioError, MODEL_RATE};
use crate::frontend::finite;

/// Length of the filter at the lower of the two rates, at least. It decides where the filter falls off (at 16 kHz from
/// 7 kHz on, with nothing left at 8.2 kHz) and how long it takes: 15 ms, or twice
/// as long for rates that have little in common with 16 kHz.
const TAPS: usize = 160;

/// Input frames a call of the asynchronous resampler.
const CHUNK: usize = 256;

/// Falls off within 400 Hz of its cutoff, to 92 dB down.
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Rates that can be resampled, Hz.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Largest reduced input rate for which the synchronous resampler's blocks stay short.
const LARGEST_BLOCK: u32 = 2_048;

/// Streaming mono resampler. Output sample 0 belongs to input sample 0: the filter's delay is taken off, to less than
/// one output sample (for odd ratios it is no whole number).
pub struct Resampler {
    inner: Option<Box<dyn rubato::Resampler<f32>>>,
    from: u32,
    to: u32,
    pending: Vec<f32>,
    block: Vec<f32>,
    /// The filter's delay, output samples.
    delay: usize,
    /// What of it is still to be dropped.
    skip: usize,
    taken: u64,
    given: u64,
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What resamples, and the delay of its filter in output samples.
fn build(from: u32, to: u32) -> Result<(Box<dyn rubato::Resampler<f32>>, usize), AudioError> {
    let fail = |_| AudioError::Rate(from);
    let common = gcd(from, to);
    let (block, made) = (from / common, to / common);
    if block.max(made) <= LARGEST_BLOCK {
        // An even number of blocks has its middle on a sample, of the input and of the output.
        let blocks = match TAPS.div_ceil(block.min(made) as usize) {
            1 if made.is_multiple_of(2) => 1,
            blocks => blocks.next_multiple_of(2),
        };
        // One sub-chunk: rubato would make them so short that nothing was left of the upper bands.
        let chunk = blocks * block as usize;
        let fft = Fft::new_custom(from as usize, to as usize, chunk, 1, 1, WINDOW, FixedSync::Input).map_err(fail)?;
        let delay = rubato::Resampler::output_delay(&fft);
        return Ok((Box::new(fft), delay));
    }
    // As long in time, and as finely interpolated, whatever comes in.
    let down = f64::from(from).max(f64::from(to)) / f64::from(to);
    let taps = ((TAPS as f64 * down).ceil() as usize).next_multiple_of(8);
    let fine = (512.0 / down).ceil() as usize;
    let parameters = SincInterpolationParameters::new(taps, WINDOW)
        .f_cutoff(calculate_cutoff(TAPS, WINDOW))
        .oversampling_factor(fine)
        .interpolation(SincInterpolationType::Linear);
    let ratio = f64::from(to) / f64::from(from);
    let sinc = Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input).map_err(fail)?;
    // Its first sample is one step behind the beginning, of which its own word for it knows nothing.
    let delay = (taps as f64 * ratio / 2.0 - 1.0).round() as usize;
    Ok((Box::new(sinc), delay))
}

impl Resampler {
    /// A resampler from `from` Hz; 16 kHz passes through.
    ///
    /// # Errors
    /// [`AudioError::Rate`] outside 4 to 384 kHz.
    pub fn new(from: u32) -> Result<Self, AudioError> {
        Self::between(from, MODEL_RATE)
    }

    /// A resampler to any rate, as for files that change theirs.
    ///
    /// # Errors
    /// [`AudioError::Rate`] if one of them is outside 4 to 384 kHz.
    pub(super) fn between(from: u32, to: u32) -> Result<Self, AudioError> {
        if let Some(odd) = [from, to].into_iter().find(|rate| !RATES.contains(rate)) {
            return Err(AudioError::Rate(odd));
        }
        let (inner, delay) = if from == to { None } else { Some(build(from, to)?) }.unzip();
        let delay = delay.unwrap_or(0);
        let block = inner.as_ref().map_or(0, |r| r.output_frames_max());
        Ok(Self {
            inner,
            from,
            to,
            pending: Vec::with_capacity(8 * CHUNK),
            block: vec![0.0; block],
            delay,
            skip: delay,
            taken: 0,
            given: 0,
        })
    }

    /// Delay of the filter, input samples.
    pub fn latency(&self) -> usize {
        let delay = self.delay as u64 * u64::from(self.from) / u64::from(self.to);
        delay as usize + self.inner.as_ref().map_or(0, |r| r.input_frames_max())
    }

    /// Takes samples, appends what is ready.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        if self.inner.is_none() {
            out.extend(samples.iter().copied().map(finite));
            return;
        }
        self.taken += samples.len() as u64;
        // A Fourier transform does not like what is no number, and hands it on to all its block.
        self.pending.extend(samples.iter().copied().map(finite));
        self.run(out);
    }

    /// Resamples what is pending, as far as there are whole blocks.
    fn run(&mut self, out: &mut Vec<f32>) {
        let Some(inner) = &mut self.inner else { return };
        let mut at = 0;
        loop {
            let need = inner.input_frames_next();
            if self.pending.len() - at < need {
                break;
            }
            let room = self.block.len();
            let (Ok(input), Ok(mut output)) = (
                InterleavedSlice::new(&self.pending[at..at + need], 1, need),
                InterleavedSlice::new_mut(&mut self.block, 1, room),
            ) else {
                break;
            };
            // Sizes are the ones that it asked for, so it cannot fail.
            let Ok((used, made)) = inner.process_into_buffer(&input, &mut output, None) else { break };
            at += used;
            let drop = self.skip.min(made);
            self.skip -= drop;
            self.given += (made - drop) as u64;
            out.extend_from_slice(&self.block[drop..made]);
        }
        self.pending.copy_within(at.., 0);
        self.pending.truncate(self.pending.len() - at);
    }

    /// Ends the stream: appends the rest, so that the output is as long as the input.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        if self.inner.is_none() {
            return;
        }
        let total = (self.taken * u64::from(self.to)).div_ceil(u64::from(self.from));
        // Twice the delay is more than the filter can hold back.
        let most = self.pending.len() + self.latency() * 2 + CHUNK * 2;
        while self.given < total && self.pending.len() < most {
            self.pending.resize(self.pending.len() + CHUNK, 0.0);
            self.run(out);
        }
        let (extra, missing) = (self.given.saturating_sub(total) as usize, total.saturating_sub(self.given) as usize);
        out.truncate(out.len() - extra.min(out.len()));
        out.resize(out.len() + missing, 0.0);
        self.reset();
    }

    /// Forgets everything heard.
    pub fn reset(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset();
            self.skip = self.delay;
        }
        self.pending.clear();
        (self.taken, self.given) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(hz: f32, rate: u32, n: usize) -> Vec<f32> {
        (0..n).map(|i| (std::f32::consts::TAU * hz * i as f32 / rate as f32).sin() * 0.5).collect()
    }

    fn whole(rate: u32, samples: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(rate).expect("a usual rate");
        let mut out = Vec::new();
        resampler.push(samples, &mut out);
        resampler.flush(&mut out);
        out
    }

    #[test]
    fn what_is_no_number_is_silence_and_leaves_no_trace() {
        for rate in [8_000, 16_000, 44_100, 48_000, 50_333] {
            let mut broken: Vec<f32> = (0..20_000).map(|i| (i as f32 * 0.02).sin() * 0.3).collect();
            let mut silent = broken.clone();
            for (i, bad) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
                (broken[100 + 999 * i], silent[100 + 999 * i]) = (bad, 0.0);
            }
            let run = |samples: &[f32]| {
                let mut resampler = Resampler::new(rate).expect("in range");
                let mut out = Vec::new();
                resampler.push(samples, &mut out);
                resampler.flush(&mut out);
                out
            };
            assert_eq!(run(&broken), run(&silent), "{rate} Hz");
            let mut huge = silent;
            huge[5_000] = f32::MAX;
            assert!(run(&huge).iter().all(|s| s.is_finite()), "{rate} Hz");
        }
    }

    #[test]
    fn a_sine_stays_a_sine_in_place() {
        for rate in [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 44_101] {
            let out = whole(rate, &tone(1_000.0, rate, rate as usize));
            assert_eq!(out.len(), 16_000, "{rate} Hz");
            // The tone that fits best: what is left over is distortion, its phase is the delay.
            let (mut sine, mut cosine) = (0.0_f64, 0.0_f64);
            let (from, to) = (2_000, 14_000);
            let angle = |i: usize| std::f64::consts::TAU * i as f64 / 16.0;
            for i in from..to {
                sine += 2.0 * f64::from(out[i]) * angle(i).sin() / (to - from) as f64;
                cosine += 2.0 * f64::from(out[i]) * angle(i).cos() / (to - from) as f64;
            }
            let fit = |i: usize| sine * angle(i).sin() + cosine * angle(i).cos();
            let error: f64 = (from..to).map(|i| (f64::from(out[i]) - fit(i)).powi(2)).sum();
            let power: f64 = (from..to).map(|i| fit(i).powi(2)).sum();
            let snr = 10.0 * (power / error).log10();
            let delay = cosine.atan2(sine).abs() / std::f64::consts::TAU * 16.0;
            assert!(delay < 1.0, "{rate} Hz: off by {delay:.2} samples");
            assert!((sine.hypot(cosine) - 0.5).abs() < 0.005, "{rate} Hz: its level changed");
            assert!(snr > 50.0, "{rate} Hz: {snr:.1} dB");
        }
    }

    #[test]
    fn what_is_above_8_khz_is_gone() {
        let out = whole(48_000, &tone(11_000.0, 48_000, 48_000));
        let power: f32 = out[2_000..14_000].iter().map(|a| a * a).sum::<f32>() / 12_000.0;
        assert!(power < 0.125 * 1e-6, "less than 60 dB down: {power}");
    }

    /// Rates with whole and with odd ratios, up to the largest.
    const RATES: [u32; 11] =
        [22_050, 44_100, 48_000, 88_200, 96_000, 192_000, 384_000, 44_101, 96_001, 191_999, 383_999];

    /// Level of what comes out against what went in, dB.
    fn gain(rate: u32, hz: f32) -> f32 {
        let out = whole(rate, &tone(hz, rate, rate as usize / 2));
        let power: f32 = out[1_000..7_000].iter().map(|a| a * a).sum::<f32>() / 6_000.0;
        10.0 * (power / 0.125).log10()
    }

    #[test]
    fn the_bands_of_speech_pass_at_any_rate_and_what_would_fold_back_into_them_does_not() {
        for rate in RATES {
            for (hz, least) in [(1_000.0, -0.1), (7_000.0, -0.1), (7_600.0, -6.1)] {
                let passed = gain(rate, hz);
                assert!((least..0.1).contains(&passed), "{rate} Hz: {hz} Hz comes out at {passed:.1} dB");
            }
            for hz in [8_200.0, 9_000.0, 10_900.0] {
                let folded = gain(rate, hz);
                assert!(folded < -60.0, "{rate} Hz: {hz} Hz comes out at {folded:.1} dB");
            }
        }
    }

    #[test]
    fn a_click_stays_where_it_was_at_any_rate() {
        for rate in RATES {
            // Of the width of some output samples, so that it is between them where it should be.
            let (middle, width) = (0.25 * f64::from(rate), f64::from(rate) / 4_000.0);
            let click = |i: usize| (-((i as f64 - middle) / width).powi(2)).exp() as f32;
            let out = whole(rate, &(0..rate as usize / 2).map(click).collect::<Vec<_>>());
            let (sum, moment) = out.iter().enumerate().fold((0.0, 0.0), |(sum, moment), (i, s)| {
                let power = f64::from(*s).powi(2);
                (sum + power, moment + power * i as f64)
            });
            let off = moment / sum - 4_000.0;
            assert!(off.abs() < 0.6, "{rate} Hz: {off:.2} samples off");
        }
    }

    #[test]
    fn the_delay_stays_short() {
        for rate in RATES {
            let seconds = Resampler::new(rate).expect("in range").latency() as f32 / rate as f32;
            assert!(seconds < 0.031, "{rate} Hz: {seconds} s");
        }
    }

    #[test]
    fn any_rate_becomes_any_other() {
        let mut resampler = Resampler::between(48_000, 44_100).expect("in range");
        let mut out = Vec::new();
        resampler.push(&tone(1_000.0, 48_000, 48_000), &mut out);
        resampler.flush(&mut out);
        assert_eq!(out.len(), 44_100);
        let want = tone(1_000.0, 44_100, 44_100);
        let error = out[2_000..42_000].iter().zip(&want[2_000..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 0.01, "{error}");
    }

    #[test]
    fn odd_rates_are_refused() {
        assert!(matches!(Resampler::new(100), Err(AudioError::Rate(100))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn chunking_changes_nothing(cuts in prop::collection::vec(1_usize..2_000, 1..8), rate in prop::sample::select(vec![16_000_u32, 44_100, 48_000])) {
            let samples = tone(440.0, rate, 9_000);
            let want = whole(rate, &samples);
            let mut resampler = Resampler::new(rate).expect("a usual rate");
            for _ in 0..2 {
                let mut got = Vec::new();
                let (mut rest, mut i) = (&samples[..], 0);
                while !rest.is_empty() {
                    let (head, tail) = rest.split_at(cuts[i % cuts.len()].min(rest.len()));
                    resampler.push(head, &mut got);
                    (rest, i) = (tail, i + 1);
                }
                resampler.flush(&mut got);
                prop_assert_eq!(&got, &want);
            }
        }
    }
}
