//! How the words of a lattice are weighed (`kws_live::words::Rivals`): learned on development speech.
//!
//! The weights are those under which what was said is likeliest among all ways through the lattice: the conditional
//! log-likelihood of a semi-Markov random field, by gradient ascent (Adam). What was said is known by word times; a word that
//! the lattice does not hold may be any gap. How much what words make of one another weighs is learned last, the rest being given.

use std::sync::Arc;

use anyhow::Result;
use kws_live::detect::{PrefixRing, log_add};
use kws_live::model::{BackendChoice, Bundle};
use kws_live::segment::RecordingEncoder;
use kws_live::words::{
    Bigrams, FEATURES, Factors, LONGEST, Lattice, Link, MEMORY, RIVALS_FILE, RivalWeights, Rivals, unpack_rivals,
};

use super::recordings::Recording;
use crate::data::Word;

/// Seconds of speech that are learned from, at most.
const MOST: f32 = 3_600.0;
/// Seconds by which a word of the lattice may begin or end elsewhere than the one that was said.
const TOLERANCE: f32 = 0.18;
/// What a gap in the middle of a word that was said costs, where the lattice holds that word.
const FORBIDDEN: f64 = -8.0;
/// Steps, and their size at first.
const STEPS: u32 = 60;
const RATE: f64 = 0.1;
/// Sizes of the features beside each other, so that one step suits all weights.
const SCALES: Weights = [10.0, 1.0, 0.3, 1.0, 1.0, 1.0, 1.0];

/// Weights of bigrams that are compared: so many steps of this size at most.
const BIGRAM_STEPS: u32 = 15;
const BIGRAM_STEP: f32 = 0.1;

/// Of a word, of the blank in a gap, of a frame in a gap.
type Weights = [f64; FEATURES + 2];
const BLANK: usize = FEATURES;
const GAP: usize = FEATURES + 1;

/// A frame of a lattice.
#[derive(Debug, Default)]
struct Frame {
    /// What may end in it, and whether that was said there.
    links: Vec<(Link, bool)>,
    /// Log-likelihood ratio of its blank.
    blank: f64,
    /// Whether a word that the lattice holds is said around it.
    inside: bool,
}

/// The weights under which what was said is likeliest; `None` if the bundle has no rivals, or nothing is said.
///
/// # Errors
/// If recordings or bundle cannot be used.
pub fn weights(bundle: &Bundle, recordings: &[Recording]) -> Result<Option<RivalWeights>> {
    if bundle.manifest.encoder.is_none() || bundle.file(RIVALS_FILE).is_err() {
        return Ok(None);
    }
    let spoken: Vec<&Recording> = recordings.iter().filter(|r| r.words.len() > 2).collect();
    let seconds: f32 = spoken.iter().map(|r| r.seconds).sum();
    let every = (seconds / MOST).ceil().max(1.0) as usize;
    let mut lattices = Vec::new();
    let (mut held, mut said) = (0, 0);
    let choice = BackendChoice::default();
    let mut encoder = RecordingEncoder::new(&bundle.manifest.frontend, bundle.encoder(choice)?)?;
    let mut head = bundle.window_head(choice)?;
    let vocabulary = unpack_rivals(bundle.file(RIVALS_FILE)?)?;
    let (bigrams, tower) = (bundle.bigrams()?, bundle.text_encoder(choice)?);
    let mut rivals = Rivals::new(vocabulary.clone(), Arc::default(), tower, RivalWeights::UNLEARNED);
    rivals.set_keywords(std::iter::empty());
    for recording in spoken.into_iter().step_by(every) {
        let samples = recording.samples()?;
        let out = encoder.encode(&samples)?;
        let spec = encoder.spec();
        let frame_seconds = encoder.frame_samples() as f32 / crate::data::RATE;
        let mut ring = PrefixRing::new(spec.parts, spec.part_dim, MEMORY);
        rivals.reset();
        let mut frames: Vec<Frame> = Vec::with_capacity(out.frames);
        for (row, proj) in out.phones.chunks_exact(spec.classes).zip(out.proj.chunks_exact(spec.proj_dim())) {
            ring.push(proj);
            rivals.push(row);
            if ring.count() < 2 {
                continue;
            }
            let (links, blank) = rivals.step(&ring, &mut head)?;
            let right =
                |link: &Link| recording.words.iter().any(|w| is(w, link, &vocabulary[link.word], frame_seconds));
            let links = links.iter().map(|link| (*link, right(link))).collect();
            frames.push(Frame { links, blank: f64::from(blank), inside: false });
        }
        said += recording.words.len();
        for word in &recording.words {
            let middle = (f32::midpoint(word.start, word.end) / frame_seconds) as u64;
            let right = |(link, right): &(Link, bool)| {
                *right
                    && is(word, link, &vocabulary[link.word], frame_seconds)
                    && (link.start..link.end).contains(&middle)
            };
            if frames.iter().any(|f| f.links.iter().any(right)) {
                held += 1;
                frames[middle as usize].inside = true;
            }
        }
        lattices.push(frames);
    }
    if held == 0 {
        return Ok(None);
    }
    let (mut weights, mean) = fit(&lattices, said);
    log::info!("rivals: {said} words said, {held} of them in the lattice, {mean:.3} nats a word");
    if !bigrams.rivals().is_empty() {
        weights.bigram = weight_of_bigrams(&lattices, weights, &bigrams, said);
    }
    log::info!("{weights:?}");
    Ok(Some(weights))
}

/// The weight of bigrams under which what was said is likeliest, with the other weights as they are. The likelihood rises to it.
fn weight_of_bigrams(lattices: &[Vec<Frame>], mut weights: RivalWeights, bigrams: &Bigrams, said: usize) -> f32 {
    let mut best = (f64::NEG_INFINITY, 0.0);
    for step in 0..=BIGRAM_STEPS {
        weights.bigram = step as f32 * BIGRAM_STEP;
        let likelihood = likelihood(lattices, &weights, bigrams) / said as f64;
        log::info!("bigrams, {:.1}: {likelihood:.3} nats a word", weights.bigram);
        if likelihood < best.0 {
            break;
        }
        best = (likelihood, weights.bigram);
    }
    best.1
}

/// Log-likelihood of what was said, by the sums that a search makes.
fn likelihood(lattices: &[Vec<Frame>], weights: &RivalWeights, bigrams: &Bigrams) -> f64 {
    let factors = Factors::new(weights.bigram);
    let sum = |frames: &[Frame], said: bool| {
        let mut lattice = Lattice::new(LONGEST as usize);
        for frame in frames {
            let forbidden = if said && frame.inside { FORBIDDEN as f32 } else { 0.0 };
            let links = frame.links.iter().filter(|(_, right)| *right || !said);
            let weighed = links.map(|(link, _)| (*link, bigrams.rivals()[link.word], weights.word(&link.features)));
            lattice.push(weighed, weights.gap(frame.blank as f32) + forbidden, |a, b| factors.of(bigrams, a, b));
        }
        lattice.total()
    };
    lattices.iter().map(|frames| sum(frames, true) - sum(frames, false)).sum()
}

/// Whether a word of the lattice is the one that was said.
fn is(word: &Word, link: &Link, phones: &[kws_live::text::Phone], frame_seconds: f32) -> bool {
    let near = |frame: u64, seconds: f32| (frame as f32 * frame_seconds - seconds).abs() < TOLERANCE;
    near(link.start, word.start) && near(link.end, word.end) && word.phones == phones
}

/// Features of a link, scaled.
fn features(link: &Link) -> [f64; FEATURES] {
    std::array::from_fn(|i| f64::from(link.features[i]) * SCALES[i])
}

/// Sums over all ways through a lattice, logarithms; with the features that they expect, added to `expected` with a sign.
fn expect(frames: &[Frame], w: &Weights, said: bool, sign: f64, expected: &mut Weights) -> f64 {
    let weigh = |link: &Link| features(link).iter().zip(w).map(|(f, w)| f * w).sum::<f64>() as f32;
    let gap = |f: &Frame| {
        let forbidden = if said && f.inside { FORBIDDEN } else { 0.0 };
        (w[BLANK] * SCALES[BLANK] * f.blank + w[GAP] * SCALES[GAP] + forbidden) as f32
    };
    let weights: Vec<Vec<f32>> = frames.iter().map(|f| f.links.iter().map(|(link, _)| weigh(link)).collect()).collect();
    let links = |t: usize| frames[t].links.iter().zip(&weights[t]).filter(move |((_, right), _)| *right || !said);
    let mut ways = vec![f32::NEG_INFINITY; frames.len() + 1];
    ways[0] = 0.0;
    for t in 0..frames.len() {
        let all = links(t).map(|((link, _), weight)| ways[link.start as usize] + weight);
        ways[t + 1] = all.fold(ways[t] + gap(&frames[t]), log_add);
    }
    let mut onward = vec![f32::NEG_INFINITY; frames.len() + 1];
    onward[frames.len()] = 0.0;
    let total = ways[frames.len()];
    for t in (0..frames.len()).rev() {
        let gap = gap(&frames[t]);
        let share = sign * f64::from((ways[t] + gap + onward[t + 1] - total).exp());
        expected[BLANK] += share * SCALES[BLANK] * frames[t].blank;
        expected[GAP] += share * SCALES[GAP];
        onward[t] = log_add(onward[t], onward[t + 1] + gap);
        for ((link, _), weight) in links(t) {
            let start = link.start as usize;
            let share = sign * f64::from((ways[start] + weight + onward[t + 1] - total).exp());
            expected.iter_mut().zip(features(link)).for_each(|(e, f)| *e += share * f);
            onward[start] = log_add(onward[start], onward[t + 1] + weight);
        }
    }
    f64::from(total)
}

/// The weights, and the mean log-likelihood of a said word.
fn fit(lattices: &[Vec<Frame>], said: usize) -> (RivalWeights, f64) {
    let start = RivalWeights::UNLEARNED;
    let mut w: Weights =
        std::array::from_fn(|i| f64::from(*start.word.iter().chain(&start.gap).nth(i).unwrap_or(&0.0)));
    w.iter_mut().zip(SCALES).for_each(|(w, scale)| *w /= scale);
    let (mut mean, mut square) = (Weights::default(), Weights::default());
    let mut likelihood = 0.0;
    for step in 0..STEPS {
        let mut slope = Weights::default();
        likelihood = 0.0;
        for frames in lattices {
            likelihood += expect(frames, &w, true, 1.0, &mut slope) - expect(frames, &w, false, -1.0, &mut slope);
        }
        let left = 1.0 - f64::from(step) / f64::from(STEPS);
        for i in 0..w.len() {
            let slope = slope[i] / said as f64;
            mean[i] = 0.8 * mean[i] + 0.2 * slope;
            square[i] = 0.95 * square[i] + 0.05 * slope * slope;
            let (m, s) = (
                mean[i] / (1.0 - 0.8_f64.powf(f64::from(step) + 1.0)),
                square[i] / (1.0 - 0.95_f64.powf(f64::from(step) + 1.0)),
            );
            w[i] += RATE * left.max(0.05) * m / (s.sqrt() + 1e-6);
        }
    }
    let real = |i: usize| (w[i] * SCALES[i]) as f32;
    let weights = RivalWeights { word: std::array::from_fn(real), gap: [real(BLANK), real(GAP)], ..start };
    (weights, likelihood / said as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(start: u64, end: u64, cosine: f32, right: bool) -> (Link, bool) {
        (Link { word: 0, start, end, features: [cosine, -0.2, -1.0, 5.0, 1.0] }, right)
    }

    /// Two places; at each the right word and another with a smaller cosine; one of them says the wrong one.
    fn lattice(cosines: [f32; 2]) -> Vec<Frame> {
        let frame = |links: Vec<(Link, bool)>, inside| Frame { links, blank: -2.0, inside };
        vec![
            frame(Vec::new(), true),
            frame(vec![link(0, 2, cosines[0], true), link(0, 2, cosines[1], false)], false),
            frame(Vec::new(), false),
        ]
    }

    #[test]
    fn expectations_by_hand_and_by_difference() {
        let frames = lattice([0.6, 0.4]);
        let w = [2.5, 0.6, 1.3, -0.1, -15.4, 0.2, 0.05];
        let total = |w: &Weights, said| expect(&frames, w, said, 1.0, &mut Weights::default());
        // Ways: each of the two words and a gap, or gaps alone.
        let word = |cosine: f64| 2.5 * 10.0 * cosine - 0.6 * 0.2 - 1.3 * 0.3 - 0.1 * 5.0 - 15.4;
        let gap = -0.4 + 0.05;
        let by_hand = ((word(0.6) + gap).exp() + (word(0.4) + gap).exp() + (3.0_f64 * gap).exp()).ln();
        assert!((total(&w, false) - by_hand).abs() < 1e-3, "{} or {by_hand}", total(&w, false));
        let said = ((word(0.6) + gap).exp() + (3.0 * gap + FORBIDDEN).exp()).ln();
        assert!((total(&w, true) - said).abs() < 1e-3);
        let mut slope = Weights::default();
        expect(&frames, &w, false, 1.0, &mut slope);
        for i in 0..w.len() {
            let moved = |by: f64| {
                let mut w = w;
                w[i] += by;
                total(&w, false)
            };
            let difference = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!((difference - slope[i]).abs() < 2e-2, "{i}: {difference} or {}", slope[i]);
        }
    }

    #[test]
    fn learning_makes_what_was_said_likelier() {
        let lattices: Vec<Vec<Frame>> =
            (0..20).map(|i| lattice(if i % 5 == 0 { [0.4, 0.6] } else { [0.6, 0.4] })).collect();
        let (weights, after) = fit(&lattices, 20);
        let mut start = Weights::default();
        let first = RivalWeights::UNLEARNED;
        start
            .iter_mut()
            .zip(first.word.iter().chain(&first.gap))
            .zip(SCALES)
            .for_each(|((w, f), s)| *w = f64::from(*f) / s);
        let mean = |w: &Weights| {
            let one = |f: &Vec<Frame>| {
                expect(f, w, true, 1.0, &mut Weights::default()) - expect(f, w, false, 1.0, &mut Weights::default())
            };
            lattices.iter().map(one).sum::<f64>() / 20.0
        };
        assert!(after > mean(&start) + 0.1, "{after}, at first {}", mean(&start));
        // Four fifths are right: the best weight of the cosine is ln 4 for 0.2, about 7. It has gone a good part of the way there.
        assert!((5.0..20.0).contains(&weights.word[0]) && first.word[0] == 25.0, "{weights:?}");
    }
}
