//! Waveform augmentation: rooms, noise, bands, level. Everything is drawn from the caller's generator.

use rand::Rng;
use rand::rngs::SmallRng;
use realfft::{RealFftPlanner, num_complex::Complex};
use serde::{Deserialize, Serialize};

use super::{Cache, RATE};

/// How often and how strongly crops are changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Playback speed, lowest and highest (pitch and vocal tract move with it).
    pub speed: [f32; 2],
    /// Share of crops said by a longer or a shorter vocal tract at the same pace.
    pub vocal_tract: f32,
    /// By what their formants are multiplied, lowest and highest; children's lie a fifth and more above men's.
    pub formants: [f32; 2],
    /// Share of crops played in a measured room.
    pub measured_room: f32,
    /// Share of crops played in a simulated room (image sources and a tail of noise).
    pub simulated_room: f32,
    /// Share of crops with added noise.
    pub noise: f32,
    /// Signal-to-noise ratio, lowest and highest, dB.
    pub snr_db: [f32; 2],
    /// Share of crops with the faint hiss or hum of a room and a microphone where nobody speaks.
    pub room_tone: f32,
    /// Its distance below the crop's mean power, lowest and highest, dB.
    pub room_tone_db: [f32; 2],
    /// Share of crops that pass a codec-like band limit.
    pub band_limit: f32,
    /// Share of crops that pass a telephone: 300-3,400 Hz, mu-law (ITU-T G.711).
    pub telephone: f32,
    /// Level of the crop, lowest and highest, dB relative to its own.
    pub gain_db: [f32; 2],
    /// Share of crops with hard clipping.
    pub clip: f32,
    /// Share of crops with a masked mel band and a masked stretch of frames (light SpecAugment).
    pub spec_mask: f32,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            speed: [0.85, 1.18],
            vocal_tract: 0.3,
            formants: [0.88, 1.25],
            measured_room: 0.25,
            simulated_room: 0.1,
            noise: 0.6,
            snr_db: [0.0, 25.0],
            room_tone: 0.7,
            room_tone_db: [25.0, 60.0],
            band_limit: 0.15,
            telephone: 0.12,
            gain_db: [-25.0, 8.0],
            clip: 0.03,
            spec_mask: 0.3,
        }
    }
}

impl AugmentConfig {
    /// Changes nothing.
    pub fn none() -> Self {
        Self {
            speed: [1.0, 1.0],
            vocal_tract: 0.0,
            formants: [1.0, 1.0],
            measured_room: 0.0,
            simulated_room: 0.0,
            noise: 0.0,
            snr_db: [0.0, 0.0],
            room_tone: 0.0,
            room_tone_db: [0.0, 0.0],
            band_limit: 0.0,
            telephone: 0.0,
            gain_db: [0.0, 0.0],
            clip: 0.0,
            spec_mask: 0.0,
        }
    }
}

/// Second-order section, direct form I (RBJ audio EQ cookbook, Q = 0.707).
struct Biquad([f32; 5]);

impl Biquad {
    fn new(hz: f32, high_pass: bool) -> Self {
        let w = std::f32::consts::TAU * hz / RATE;
        let (sin, cos) = w.sin_cos();
        let alpha = sin / (2.0 * std::f32::consts::FRAC_1_SQRT_2);
        let (b0, b1) = if high_pass { (1.0 + cos, -1.0 - cos) } else { (1.0 - cos, 1.0 - cos) };
        let a0 = 1.0 + alpha;
        let b0 = if high_pass { b0 / 2.0 } else { b1 / 2.0 };
        Self([b0 / a0, b1 / a0, b0 / a0, -2.0 * cos / a0, (1.0 - alpha) / a0])
    }

    fn run(&self, x: &mut [f32]) {
        let [b0, b1, b2, a1, a2] = self.0;
        let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
        for s in x {
            let y = b0 * *s + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
            (x2, x1, y2, y1) = (x1, *s, y1, y);
            *s = y;
        }
    }
}

/// Clips of one kind of noise.
#[derive(Clone)]
struct Noise {
    clips: Vec<usize>,
    /// Whether people speak in them.
    voices: bool,
}

/// Sounds to mix in, and the scratch memory to do it with.
pub struct Augmenter<'a> {
    config: AugmentConfig,
    cache: &'a Cache,
    rooms: Vec<usize>,
    /// A kind of noise is drawn first, then a clip.
    noises: Vec<Noise>,
    planner: RealFftPlanner<f32>,
}

impl Clone for Augmenter<'_> {
    /// The same sounds; the scratch memory is its own.
    fn clone(&self) -> Self {
        let (config, rooms, noises) = (self.config.clone(), self.rooms.clone(), self.noises.clone());
        Self { config, cache: self.cache, rooms, noises, planner: RealFftPlanner::new() }
    }
}

fn uniform(rng: &mut SmallRng, [low, high]: [f32; 2]) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// Mean square.
pub(crate) fn power(x: &[f32]) -> f32 {
    x.iter().map(|s| s * s).sum::<f32>() / x.len().max(1) as f32
}

impl<'a> Augmenter<'a> {
    /// Finds rooms, noises, music and babble in the cache by their corpus.
    pub fn new(config: AugmentConfig, cache: &'a Cache, speech: &[usize]) -> Self {
        let of = |prefixes: &[&str]| -> Vec<usize> {
            let hit = |id: &str| prefixes.iter().any(|p| id.starts_with(p));
            (0..cache.clips().len()).filter(|&i| hit(&cache.clips()[i].id)).collect()
        };
        let kinds = [
            (of(&["noise/"]), false),
            (of(&["noise/"]), false),
            (of(&["music/"]), false),
            (of(&["meetings/", "other-languages/"]), true),
            (speech.to_vec(), true),
        ];
        let kinds = kinds.into_iter().map(|(clips, voices)| Noise { clips, voices });
        Self {
            config,
            cache,
            rooms: of(&["rooms/"]),
            noises: kinds.filter(|k| !k.clips.is_empty()).collect(),
            planner: RealFftPlanner::new(),
        }
    }

    /// Draws a playback speed.
    pub fn speed(&self, rng: &mut SmallRng) -> f32 {
        uniform(rng, self.config.speed)
    }

    /// What to multiply the formants of a crop by, if they are to be moved.
    pub fn formants(&self, rng: &mut SmallRng) -> Option<f32> {
        (rng.random::<f32>() < self.config.vocal_tract).then(|| uniform(rng, self.config.formants))
    }

    /// Whether to mask features of a crop.
    pub fn masks(&self, rng: &mut SmallRng) -> bool {
        rng.random::<f32>() < self.config.spec_mask
    }

    /// Changes a crop in place: room, noise, band, level, clipping, in the order a microphone would see them.
    ///
    /// Returns whether it now has voices in the background, which may say anything; those of a room tone are too faint.
    pub fn crop(&mut self, rng: &mut SmallRng, x: &mut [f32]) -> bool {
        let draw = rng.random::<f32>();
        if draw < self.config.measured_room && !self.rooms.is_empty() {
            let clip = self.rooms[rng.random_range(0..self.rooms.len())];
            let response: Vec<f32> = self.cache.samples(clip).iter().map(|s| f32::from(*s) / 32_768.0).collect();
            convolve(&mut self.planner, x, &another_room(rng, direct_path_first(&response)));
        } else if draw < self.config.measured_room + self.config.simulated_room {
            let response = simulated_room(rng);
            convolve(&mut self.planner, x, &response);
        }
        let voices = rng.random::<f32>() < self.config.noise && self.add_noise(rng, x, self.config.snr_db);
        if rng.random::<f32>() < self.config.room_tone {
            self.add_noise(rng, x, self.config.room_tone_db);
        }
        if rng.random::<f32>() < self.config.band_limit {
            let low = uniform(rng, [2_800.0, 6_000.0]);
            // Twice second order: 24 dB an octave, as a resampler in a telephone or a codec would.
            for _ in 0..2 {
                Biquad::new(low, false).run(x);
            }
            if rng.random::<f32>() < 0.5 {
                Biquad::new(uniform(rng, [100.0, 350.0]), true).run(x);
            }
        }
        if rng.random::<f32>() < self.config.telephone {
            telephone(rng, x);
        }
        let peak = x.iter().fold(1e-6_f32, |m, s| m.max(s.abs()));
        let gain = uniform(rng, self.config.gain_db);
        let gain = (10_f32.powf(gain / 20.0)).min(1.0 / peak);
        for s in x.iter_mut() {
            *s *= gain;
        }
        if rng.random::<f32>() < self.config.clip {
            let limit = peak * gain * uniform(rng, [0.1, 0.6]);
            for s in x.iter_mut() {
                *s = s.clamp(-limit, limit);
            }
        }
        // What a 16-bit converter leaves of it.
        for s in x.iter_mut() {
            *s = (*s * 32_767.0).round() / 32_767.0;
        }
        voices
    }

    /// Adds a noise, at another pace and more or less shrill than it was recorded, for there are few; returns whether somebody
    /// speaks in it.
    fn add_noise(&self, rng: &mut SmallRng, x: &mut [f32], snr_db: [f32; 2]) -> bool {
        let mut noise = vec![0.0_f32; x.len()];
        let mut spoken = false;
        if self.noises.is_empty() || rng.random::<f32>() < 0.15 {
            // Coloured noise: white through a leaky integrator.
            let leak = uniform(rng, [0.0, 0.98]);
            let mut y = 0.0;
            for n in &mut noise {
                y = leak * y + (rng.random::<f32>() - 0.5);
                *n = y;
            }
        } else {
            let kind = &self.noises[rng.random_range(0..self.noises.len())];
            let voices = if rng.random::<f32>() < 0.3 { rng.random_range(2..5) } else { 1 };
            spoken = kind.voices;
            for _ in 0..voices {
                let clip = self.cache.samples(kind.clips[rng.random_range(0..kind.clips.len())]);
                if clip.is_empty() {
                    continue;
                }
                let (start, pace) = (rng.random_range(0..clip.len()), uniform(rng, [-0.5, 0.5]).exp2());
                for (i, n) in noise.iter_mut().enumerate() {
                    *n += f32::from(clip[(start + (i as f32 * pace) as usize) % clip.len()]);
                }
            }
            tilt(&mut noise, uniform(rng, [-0.8, 0.8]));
        }
        mix(x, &noise, uniform(rng, snr_db));
        spoken
    }
}

/// Adds to each sample `share` of the one before: above 0 the low tones gain, below 0 the high ones.
fn tilt(x: &mut [f32], share: f32) {
    let mut last = 0.0;
    for s in x {
        (last, *s) = (*s, *s + share * last);
    }
}

/// Moves the formants of log-mel frames by `factor`: each band takes what lies `factor` times lower (vocal tract length
/// perturbation, Jaitly and Hinton 2013, on the bands).
///
/// # Shapes
/// `centres`: `[mels]`, Hz, ascending; `rows`: `[frames, mels]`.
pub(super) fn move_formants(rows: &mut [f32], centres: &[f32], factor: f32) {
    let last = centres.len() - 1;
    // Band and share of the next one, for each band.
    let from: Vec<(usize, f32)> = centres
        .iter()
        .map(|hz| {
            let hz = hz / factor;
            let above = centres.partition_point(|c| *c <= hz);
            if above == 0 || above > last {
                return (above.min(last), 0.0);
            }
            (above - 1, (hz - centres[above - 1]) / (centres[above] - centres[above - 1]))
        })
        .collect();
    let mut old = vec![0.0; centres.len()];
    for row in rows.chunks_exact_mut(centres.len()) {
        old.copy_from_slice(row);
        for (new, &(band, share)) in row.iter_mut().zip(&from) {
            *new = old[band] + share * (old[(band + 1).min(last)] - old[band]);
        }
    }
}

/// Convolves in place and keeps the power.
pub(crate) fn convolve(planner: &mut RealFftPlanner<f32>, x: &mut [f32], response: &[f32]) {
    let n = (x.len() + response.len()).next_power_of_two();
    let (forward, inverse) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
    let transform = |signal: &[f32]| -> Vec<Complex<f32>> {
        let mut time = vec![0.0; n];
        time[..signal.len()].copy_from_slice(signal);
        let mut out = forward.make_output_vec();
        // Lengths are the plan's own.
        let _ = forward.process(&mut time, &mut out);
        out
    };
    let mut product = transform(x);
    for (a, b) in product.iter_mut().zip(transform(response)) {
        *a *= b;
    }
    let mut time = vec![0.0; n];
    let _ = inverse.process(&mut product, &mut time);
    let before = power(x);
    x.copy_from_slice(&time[..x.len()]);
    let scale = (before / power(x).max(1e-20)).sqrt();
    for s in x.iter_mut() {
        *s *= scale;
    }
}

/// What `noise` is multiplied by to lie `snr` dB below the signal's mean power; a signal without power counts as speech of
/// -25 dBFS.
pub(crate) fn noise_gain(signal: &[f32], noise: &[f32], snr: f32) -> f32 {
    let (signal, loud) = (power(signal), power(noise));
    if loud == 0.0 {
        return 0.0;
    }
    let reference = if signal > 0.0 { signal } else { 0.003 };
    (reference / loud / 10_f32.powf(snr / 10.0)).sqrt()
}

/// Adds `noise` at the level of [`noise_gain`].
fn mix(x: &mut [f32], noise: &[f32], snr: f32) {
    let gain = noise_gain(x, noise, snr);
    x.iter_mut().zip(noise).for_each(|(s, n)| *s += gain * n);
}

/// Band of a telephone line and its 8-bit companding: 14 bits of range, mu = 255 (ITU-T G.711).
fn telephone(rng: &mut SmallRng, x: &mut [f32]) {
    let top = uniform(rng, [3_100.0, 3_700.0]);
    for _ in 0..3 {
        Biquad::new(top, false).run(x);
    }
    Biquad::new(uniform(rng, [180.0, 350.0]), true).run(x);
    let peak = x.iter().fold(1e-6_f32, |m, s| m.max(s.abs()));
    let loudest = uniform(rng, [0.05, 1.0]);
    let mu = 255.0_f32;
    for s in x.iter_mut() {
        let level = *s / peak * loudest;
        let code = ((1.0 + mu * level.abs()).ln() / (1.0 + mu).ln() * 127.0).round() / 127.0;
        *s = (((1.0 + mu).powf(code) - 1.0) / mu).copysign(level) * peak / loudest;
    }
}

/// A measured response from its strongest sample on (word times stay true), at most one second.
pub(crate) fn direct_path_first(samples: &[f32]) -> &[f32] {
    let peak = (0..samples.len()).max_by(|&a, &b| samples[a].abs().total_cmp(&samples[b].abs())).unwrap_or(0);
    &samples[peak..samples.len().min(peak + RATE as usize)]
}

/// A room like a measured one, for there are few: larger or smaller (the response at another pace), with more or less on its
/// walls (an exponential that makes it decay faster or slower), and heard from closer or further (what comes after the first 2.5 ms
/// louder or fainter).
fn another_room(rng: &mut SmallRng, response: &[f32]) -> Vec<f32> {
    let pace = uniform(rng, [-0.4, 0.4]).exp2();
    let len = ((response.len() as f32 / pace) as usize).clamp(1, RATE as usize);
    // Decibels a second; a room of RT60 0.5 s decays by 120. Slower than it was by a third of its own decay at the most.
    let own = decay(response);
    let damping = 10_f32.powf(uniform(rng, [-60.0, own * pace / 3.0]) / 20.0 / RATE);
    let further = 10_f32.powf(uniform(rng, [-6.0, 6.0]) / 20.0);
    let mut envelope = 1.0;
    let mut out = Vec::with_capacity(len);
    for i in 0..len {
        let at = i as f32 * pace;
        let before = at as usize;
        let next = response.get(before + 1).copied().unwrap_or(0.0);
        let s = response.get(before).copied().unwrap_or(0.0);
        let distance = if i < DIRECT { 1.0 } else { further };
        out.push((s + (at - before as f32) * (next - s)) * envelope * distance);
        envelope *= damping;
    }
    out
}

/// By how many decibels a second what comes after the direct path fades, from the powers of its halves; 0 if it does not.
fn decay(response: &[f32]) -> f32 {
    let tail = response.get(DIRECT..).unwrap_or_default();
    let (early, late) = tail.split_at(tail.len() / 2);
    let (early, late) = (power(early).max(1e-20), power(late).max(1e-20));
    let seconds = (tail.len().max(1) as f32 / 2.0) / RATE;
    (10.0 * (early / late).log10() / seconds).max(0.0)
}

/// Samples that the direct path takes of a response, with what a microphone makes of it (2.5 ms).
const DIRECT: usize = 40;

/// Metres that sound goes in a second.
const SOUND: f32 = 343.0;

/// A room with six flat walls: its early reflections by image sources (Allen and Berkley 1979, up to the third order), then a tail of noise
/// that decays exponentially, faster above some 2 kHz than below. Speaker and microphone stand anywhere in it, RT60 0.15 to 0.9 s.
fn simulated_room(rng: &mut SmallRng) -> Vec<f32> {
    let size = [uniform(rng, [2.0, 9.0]), uniform(rng, [2.0, 7.0]), uniform(rng, [2.2, 3.8])];
    let mut anywhere = || size.map(|side| uniform(rng, [0.1, 0.9]) * side);
    let (speaker, microphone) = (anywhere(), anywhere());
    let rt60 = uniform(rng, [0.15, 0.9]);
    let volume: f32 = size.iter().product();
    let surface = 2.0 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0]);
    // Eyring's formula, for what a wall leaves of a pressure.
    let reflected = (-0.0805 * volume / (surface * rt60)).exp();
    let mut images = Vec::new();
    for [x, y, z] in orders() {
        let at = [(x, 0), (y, 1), (z, 2)].map(|(order, axis): (i32, usize)| {
            let mirrored = if order % 2 == 0 { speaker[axis] } else { size[axis] - speaker[axis] };
            order as f32 * size[axis] + mirrored - microphone[axis]
        });
        let metres = at.iter().map(|d| d * d).sum::<f32>().sqrt().max(0.1);
        images.push((metres, reflected.powi(x.abs() + y.abs() + z.abs()) / metres));
    }
    let direct = images.iter().fold(f32::MAX, |least, (metres, _)| least.min(*metres));
    let mut out = vec![0.0; (rt60 * RATE) as usize];
    for (metres, gain) in images {
        let sample = ((metres - direct) / SOUND * RATE) as usize;
        if let Some(s) = out.get_mut(sample) {
            *s += gain * direct;
        }
    }
    // The tail's power is that of a diffuse field: 4 (1 - a) / (S a) beside 1 / (4 pi d^2) of the direct path, a = 1 - reflected^2.
    let absorbed = 1.0 - reflected * reflected;
    let power = 16.0 * std::f32::consts::PI * (1.0 - absorbed) / (surface * absorbed) * direct * direct;
    let decay = |rt60: f32| (-6.908 / (rt60 * RATE)).exp();
    let (low_decay, high_decay) = (decay(rt60), decay(rt60 * uniform(rng, [0.4, 1.0])));
    // Of noise that starts with variance v, the sum of squares is v / (1 - decay^2); a uniform one in -1..1 has v = 1/3.
    let scale = (3.0 * power * (1.0 - low_decay * low_decay)).sqrt();
    let rise = 1.0 - (-SOUND / (volume.cbrt() * RATE)).exp();
    let (mut low, mut low_envelope, mut high_envelope, mut dense) = (0.0, scale, scale, 0.0_f32);
    for s in &mut out {
        let white = uniform(rng, [-1.0, 1.0]);
        low += 0.54 * (white - low);
        *s += dense * (low * low_envelope + (white - low) * high_envelope);
        low_envelope *= low_decay;
        high_envelope *= high_decay;
        // Reflections grow dense as they cross the room.
        dense += rise * (1.0 - dense);
    }
    out
}

/// How often each pair of walls is met, for all images of up to three reflections.
fn orders() -> impl Iterator<Item = [i32; 3]> {
    let all = (-3..=3_i32).flat_map(|x| (-3..=3_i32).flat_map(move |y| (-3..=3_i32).map(move |z| [x, y, z])));
    all.filter(|order| order.iter().map(|o| o.abs()).sum::<i32>() <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_unit_response_changes_nothing_and_noise_hits_its_snr() {
        let mut cache = Cache::default();
        let tone: Vec<f32> = (0..32_000).map(|i| (i as f32 * 0.3).sin() * 0.3).collect();
        cache.add("noise/tone".into(), &tone);
        let mut augmenter = Augmenter::new(AugmentConfig::default(), &cache, &[]);
        let clean: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.05).sin() * 0.2).collect();
        let mut x = clean.clone();
        convolve(&mut augmenter.planner, &mut x, &[1.0]);
        assert!(x.iter().zip(&clean).all(|(a, b)| (a - b).abs() < 1e-4));
        let mut rng = SmallRng::seed_from_u64(5);
        augmenter.add_noise(&mut rng, &mut x, [10.0, 10.0]);
        let noise: Vec<f32> = x.iter().zip(&clean).map(|(a, b)| a - b).collect();
        let snr = 10.0 * (power(&clean) / power(&noise)).log10();
        assert!((snr - 10.0).abs() < 0.2, "{snr} dB");
    }

    #[test]
    fn simulated_rooms_begin_with_the_direct_path_and_die_away() {
        assert_eq!(orders().count(), 63);
        let mut rng = SmallRng::seed_from_u64(7);
        for _ in 0..200 {
            let room = simulated_room(&mut rng);
            assert!((room[0] - 1.0).abs() < 0.05, "{}", room[0]);
            // The last tenth of the way to -60 dB lies some 57 dB below the beginning.
            let (len, whole) = (room.len(), power(&room));
            assert!(power(&room[..len / 2]) > power(&room[len / 2..]));
            assert!(power(&room[len * 9 / 10..]) < 1e-4 * whole);
            let fades = decay(&room) * len as f32 / RATE;
            assert!((45.0..75.0).contains(&fades), "by {fades} dB in its RT60");
        }
    }

    #[test]
    fn other_rooms_keep_the_direct_path_and_fade() {
        let mut rng = SmallRng::seed_from_u64(7);
        // By 139 dB a second.
        let measured: Vec<f32> =
            (0..8_000).map(|i| if i == 0 { 1.0 } else { 0.2 * (-i as f32 / 1_000.0).exp() }).collect();
        assert!((decay(&measured) - 139.0).abs() < 1.0, "{}", decay(&measured));
        let mut lengths = Vec::new();
        for _ in 0..50 {
            let room = another_room(&mut rng, &measured);
            assert!(room[0] == 1.0 && room[1..].iter().all(|s| s.abs() < 0.45), "{room:?}");
            assert!(decay(&room) > 139.0 * 0.757 * 2.0 / 3.0, "{}", decay(&room));
            lengths.push(room.len());
        }
        lengths.sort_unstable();
        assert!(lengths[0] < 7_000 && lengths[49] > 9_000, "{lengths:?}");
        // What hardly fades is not made to grow.
        let hall: Vec<f32> =
            (0..16_000).map(|i| if i == 0 { 1.0 } else { 0.1 * (-i as f32 / 11_000.0).exp() }).collect();
        assert!((0..50).all(|_| decay(&another_room(&mut rng, &hall)) > 0.0));
        assert_eq!(another_room(&mut rng, &[1.0]), [1.0]);
    }

    #[test]
    fn voices_in_the_background_are_reported() {
        let mut cache = Cache::default();
        let tone: Vec<f32> = (0..32_000).map(|i| (i as f32 * 0.3).sin() * 0.3).collect();
        let mut rng = SmallRng::seed_from_u64(5);
        for (id, share) in [("noise/tone", 0.0), ("meetings/talk", 0.85)] {
            cache = Cache::default();
            cache.add(id.into(), &tone);
            let config = AugmentConfig { noise: 1.0, ..AugmentConfig::none() };
            let mut augmenter = Augmenter::new(config, &cache, &[]);
            let voices = (0..400).filter(|_| augmenter.crop(&mut rng, &mut tone.clone())).count();
            // The rest is coloured noise.
            assert!((voices as f32 / 400.0 - share).abs() < 0.06, "{id}: {voices} of 400");
        }
        let faint = AugmentConfig { room_tone: 1.0, room_tone_db: [30.0, 40.0], ..AugmentConfig::none() };
        assert!(!Augmenter::new(faint, &cache, &[]).crop(&mut rng, &mut tone.clone()));
    }

    #[test]
    fn formants_move_by_their_factor() {
        let centres: Vec<f32> = (0..40).map(|i| 100.0 * 1.1_f32.powi(i)).collect();
        // A formant at band 20, then the same a fifth higher: two bands of a tenth each.
        let peak = |rows: &[f32]| (0..40).max_by(|&a, &b| rows[a].total_cmp(&rows[b])).expect("bands");
        let formant: Vec<f32> = (0..40).map(|i| -((i - 20) as f32).powi(2)).collect();
        for (factor, at) in [(1.0, 20), (1.21, 22), (1.0 / 1.1, 19)] {
            let mut rows = formant.clone();
            move_formants(&mut rows, &centres, factor);
            assert_eq!(peak(&rows), at, "factor {factor}");
            assert!((rows[at]).abs() < 1e-2, "factor {factor}: {}", rows[at]);
        }
    }

    #[test]
    fn filters_pass_and_stop() {
        let tone = |hz: f32| (0..8_000).map(|i| (std::f32::consts::TAU * hz * i as f32 / RATE).sin()).collect();
        for (hz, share) in [(300.0, 0.8), (7_000.0, -0.8)] {
            let mut x: Vec<f32> = tone(hz);
            tilt(&mut x, share);
            assert!(power(&x) > 1.0, "{hz} Hz");
            tilt(&mut x, -share);
            tilt(&mut x, -share);
            assert!(power(&x) < 0.3, "{hz} Hz");
        }
        for (hz, high_pass, passes) in [(300.0, false, true), (7_000.0, false, false), (50.0, true, false)] {
            let mut x: Vec<f32> = tone(hz);
            Biquad::new(1_000.0, high_pass).run(&mut x);
            assert_eq!(power(&x[2_000..]) > 0.25, passes, "{hz} Hz");
        }
    }
}
