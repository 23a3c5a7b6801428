//! How cosine and phone path are weighed where whole words compete (`kws_live::words`): learned on development words.

use anyhow::Result;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::segment::segment_embedder;
use kws_live::text::Lexicon;
use kws_live::words::{Vocabulary, Witnesses};

use super::recordings::Recording;
use crate::data::{Word, sample_at};

/// Words that are learned from, at most; seconds that one takes.
const MOST: usize = 3_000;
const SECONDS: std::ops::RangeInclusive<f32> = 0.3..=2.0;

/// A word that was said: cosine and path of those that it may be, and which one it is.
struct Contest {
    witnesses: Vec<[f64; 2]>,
    right: usize,
}

/// The words of a bundle's lexicon, with the bundle's weights; `None` if the model has no phone head.
pub(super) fn vocabulary(bundle: &Bundle, choice: BackendChoice) -> Result<Option<Vocabulary>> {
    if bundle.manifest.encoder.is_none() {
        return Ok(None);
    }
    let lexicon = Lexicon::from_bytes(bundle.file("lexicon.bin")?)?;
    Ok(Some(Vocabulary::new(&lexicon, bundle.text_encoder(choice)?, bundle.manifest.scorer.words)))
}

/// The weights under which the words that were said are likeliest; `None` if the model has no phone head, or no word is said.
///
/// # Errors
/// If recordings or bundle cannot be used.
pub fn weights(bundle: &Bundle, recordings: &[Recording]) -> Result<Option<[f32; 2]>> {
    let choice = BackendChoice::default();
    let Some(mut vocabulary) = vocabulary(bundle, choice)? else { return Ok(None) };
    let mut segments = segment_embedder(bundle, choice)?;
    let takes = |w: &Word| SECONDS.contains(&(w.end - w.start)) && w.phones.len() > 1;
    let total: usize = recordings.iter().map(|r| r.words.iter().filter(|w| takes(w)).count()).sum();
    let every = total.div_ceil(MOST).max(1);
    let mut number = 0;
    let mut contests = Vec::new();
    for recording in recordings {
        let words: Vec<_> = recording
            .words
            .iter()
            .filter(|w| takes(w))
            .filter(|_| {
                number += 1;
                number % every == 0
            })
            .collect();
        if words.is_empty() {
            continue;
        }
        let samples = recording.samples()?;
        let at = |seconds| sample_at(seconds, samples.len());
        let spans: Vec<_> = words.iter().map(|w| at(w.start)..at(w.end)).collect();
        for (word, segment) in words.into_iter().zip(segments.embed(&samples, &spans)?) {
            let Some(segment) = segment else { continue };
            let all = vocabulary.witnesses(&[&segment])?;
            // Words that are not even on the short list say nothing about the weights.
            let Some(right) = all.iter().position(|w| vocabulary.phones(w.index) == word.phones) else { continue };
            let witnesses = all.iter().map(|w: &Witnesses| [f64::from(w.cosine), f64::from(w.path)]).collect();
            contests.push(Contest { witnesses, right });
        }
    }
    if contests.is_empty() {
        return Ok(None);
    }
    let weights = fit(&contests);
    log::info!("words: {} of {total}; weights of cosine and path {weights:.3?}", contests.len());
    Ok(Some(weights.map(|w| w as f32)))
}

/// Newton's method on the mean log-likelihood of what was said, which is concave, with a small ridge.
fn fit(contests: &[Contest]) -> [f64; 2] {
    const RIDGE: f64 = 1e-6;
    let mut w = [10.0, 1.0];
    for _ in 0..50 {
        let mut slope = w.map(|w| -RIDGE * w);
        let mut bend = [[RIDGE, 0.0], [0.0, RIDGE]];
        for Contest { witnesses, right } in contests {
            let z = |x: &[f64; 2]| w[0] * x[0] + w[1] * x[1];
            let best = witnesses.iter().map(z).fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = witnesses.iter().map(|x| (z(x) - best).exp()).collect();
            let sum: f64 = shares.iter().sum();
            let mean = [0, 1].map(|i| witnesses.iter().zip(&shares).map(|(x, p)| x[i] * p).sum::<f64>() / sum);
            for i in 0..2 {
                slope[i] += (witnesses[*right][i] - mean[i]) / contests.len() as f64;
                for j in 0..2 {
                    let both: f64 = witnesses.iter().zip(&shares).map(|(x, p)| x[i] * x[j] * p).sum::<f64>() / sum;
                    bend[i][j] += (both - mean[i] * mean[j]) / contests.len() as f64;
                }
            }
        }
        let det = bend[0][0] * bend[1][1] - bend[0][1] * bend[1][0];
        let step = [
            (bend[1][1] * slope[0] - bend[0][1] * slope[1]) / det,
            (bend[0][0] * slope[1] - bend[1][0] * slope[0]) / det,
        ];
        for i in 0..2 {
            w[i] += step[i];
        }
        if step.iter().all(|s| s.abs() < 1e-6) {
            break;
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_are_those_that_chance_was_drawn_with() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let want = [12.0, 3.0];
        let contests: Vec<Contest> = (0..20_000)
            .map(|_| {
                let witnesses: Vec<[f64; 2]> = (0..4).map(|_| [random() * 0.4, -random()]).collect();
                let shares: Vec<f64> = witnesses.iter().map(|x| (want[0] * x[0] + want[1] * x[1]).exp()).collect();
                let mut at = random() * shares.iter().sum::<f64>();
                let right = shares.iter().position(|share| {
                    at -= share;
                    at <= 0.0
                });
                Contest { witnesses, right: right.unwrap_or(3) }
            })
            .collect();
        let got = fit(&contests);
        assert!((got[0] - want[0]).abs() < 0.5 && (got[1] - want[1]).abs() < 0.2, "{got:?}");
    }
}
