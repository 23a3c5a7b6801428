//! `kws-train calibrate`: learns on development data how the two witnesses become one score, and where a detection begins.
//!
//! The score is a logistic regression over the highest frame of each recording, so that what is fitted is what is scored:
//! `logit = f0 + f1 * cosine logit + f2 * path + f3 * ln(phones)`. Its bias is then moved so that 0.5 gives the wanted
//! number of false alarms an hour and keyword.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kws_live::detect::{Keyword, sigmoid};
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle, Manifest};
use kws_live::spotter::SpotterConfig;
use kws_live::text::KeywordSpec;
use sha2::{Digest, Sha256};

use super::recordings::{Half, Recording, each, hits, read};

/// Fits fusion and threshold of a bundle, and writes them into its manifest.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    /// Manifest folders or files of development recordings.
    #[arg(required = true)]
    pub manifests: Vec<PathBuf>,
    /// The bundle; its manifest is rewritten.
    #[arg(long)]
    pub model: PathBuf,
    /// Half of the speakers to learn from; report on the other.
    #[arg(long, value_enum, default_value_t = Half::A)]
    pub half: Half,
    /// Split to learn from.
    #[arg(long, default_value = "dev")]
    pub split: String,
    /// Words drawn from the transcripts.
    #[arg(long, default_value_t = 150)]
    pub words: usize,
    /// False alarms an hour and keyword, on average, at the score 0.5.
    #[arg(long, default_value_t = 1.0)]
    pub alarms: f64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Cosine logit, path, ln(phones), and a constant.
type Features = [f64; 4];

/// The highest frame of a keyword in a recording.
#[derive(Debug, Clone, Copy)]
struct Sample {
    x: Features,
    said: bool,
}

/// Words of the transcripts with at least three phones, drawn by hash so that the draw never changes.
fn draw_words(recordings: &[Recording], most: usize) -> Vec<String> {
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for word in recordings.iter().flat_map(|r| &r.words).filter(|w| w.phones.len() >= 3) {
        *words.entry(&word.text).or_default() += 1;
    }
    let mut drawn: Vec<_> = words.into_keys().map(|w| (Sha256::digest(w.as_bytes()), w.to_owned())).collect();
    drawn.sort();
    drawn.truncate(most);
    drawn.into_iter().map(|(_, w)| w).collect()
}

/// Runs the command.
///
/// # Errors
/// If recordings or bundle cannot be used, or no drawn word is said.
pub fn run(args: &CalibrateArgs) -> Result<()> {
    let recordings = read(&args.manifests, &args.split, args.half)?;
    let words = draw_words(&recordings, args.words);
    // The highest frame depends on the fusion: once with the present one, once with the learned one.
    for round in 0..2 {
        let bundle = Bundle::load(&args.model)?;
        let samples = collect(&bundle, &words, &recordings, args.threads)?;
        let said = samples.iter().filter(|s| s.said).count();
        ensure!(said > 20, "only {said} of the drawn words are said; give more recordings or raise --words");
        let (weights, threshold) = fit(&samples, &words, &recordings, args.alarms);
        let fusion = [weights[3] - threshold, weights[0], weights[1], weights[2]].map(|w| w as f32);
        log::info!("round {round}: {} samples, {said} said; fusion {fusion:?}", samples.len());
        store(&args.model, fusion)?;
    }
    log::info!("score 0.5 = {} false alarms an hour and keyword on {} recordings", args.alarms, recordings.len());
    Ok(())
}

fn collect(bundle: &Bundle, words: &[String], recordings: &[Recording], threads: usize) -> Result<Vec<Sample>> {
    let mut enroller = Enroller::new(bundle, BackendChoice::default())?;
    let keywords: Vec<Keyword> =
        words.iter().map(|w| Ok(enroller.text(&KeywordSpec::new(w))?)).collect::<Result<_>>()?;
    let scorer = bundle.manifest.scorer.clone();
    let config = SpotterConfig { chunk_frames: 100, threshold: Some(1.0), ..SpotterConfig::default() };
    let per_file = each(bundle, &keywords, &config, recordings, threads, |spotter, samples| {
        spotter.process(samples, |_| {})?;
        spotter.flush(|_| {})?;
        Ok(spotter.keywords().map(|s| (s.best, s.keyword.pronunciations[0].phones.len())).collect::<Vec<_>>())
    })?;
    let mut out = Vec::new();
    for (recording, bests) in recordings.iter().zip(per_file) {
        for (word, (best, phones)) in words.iter().zip(bests) {
            let places = recording.places(word);
            let Some(best) = best else { continue };
            let seconds = |s: u64| s as f32 / crate::data::RATE;
            let at_place = places.iter().any(|p| hits(seconds(best.start), seconds(best.end), *p));
            if places.is_empty() || at_place {
                let cosine = f64::from(scorer.cos_scale * best.cosine + scorer.cos_bias);
                out.push(Sample { x: [cosine, f64::from(best.path), (phones as f64).ln(), 1.0], said: at_place });
            }
        }
    }
    Ok(out)
}

/// Logistic regression with equal weight on what is said and what is not, then the logit at which as many recordings an
/// hour and word give a false alarm as wanted.
fn fit(samples: &[Sample], words: &[String], recordings: &[Recording], alarms: f64) -> (Features, f64) {
    let weights = regress(samples);
    let mut wrong: Vec<f64> = samples.iter().filter(|s| !s.said).map(|s| dot(&weights, &s.x)).collect();
    wrong.sort_by(|a, b| b.total_cmp(a));
    let hours = recordings.iter().map(|r| f64::from(r.seconds)).sum::<f64>() / 3600.0;
    let allowed = (alarms * hours * words.len() as f64).round() as usize;
    let threshold = wrong.get(allowed).copied().unwrap_or(0.0);
    (weights, threshold)
}

fn dot(a: &Features, b: &Features) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Newton's method on the class-balanced log loss with a small ridge. The weight of neither witness may be negative.
fn regress(samples: &[Sample]) -> Features {
    let said = samples.iter().filter(|s| s.said).count().max(1) as f64;
    let unsaid = (samples.len() as f64 - said).max(1.0);
    let mut free = [true; 4];
    loop {
        let mut w = [0.0; 4];
        for _ in 0..50 {
            let mut gradient = [0.0; 4];
            let mut hessian = [[0.0; 4]; 4];
            for s in samples {
                let p = f64::from(sigmoid(dot(&w, &s.x) as f32));
                let weight = if s.said { 0.5 / said } else { 0.5 / unsaid };
                let error = p - f64::from(u8::from(s.said));
                for i in 0..4 {
                    gradient[i] += weight * error * s.x[i];
                    for j in 0..4 {
                        hessian[i][j] += weight * p * (1.0 - p) * s.x[i] * s.x[j];
                    }
                }
            }
            for i in 0..4 {
                gradient[i] += 1e-5 * w[i];
                hessian[i][i] += 1e-5;
                if !free[i] {
                    hessian[i] = [0.0; 4];
                    hessian[i][i] = 1.0;
                    gradient[i] = 0.0;
                }
            }
            let step = solve(hessian, gradient);
            w.iter_mut().zip(step).for_each(|(w, s)| *w -= s.clamp(-2.0, 2.0));
        }
        match (0..2).find(|&i| w[i] < 0.0) {
            Some(i) => free[i] = false,
            None => return w,
        }
    }
}

/// Solves `a x = b` by Gaussian elimination; `a` is positive definite.
fn solve(mut a: [[f64; 4]; 4], mut b: Features) -> Features {
    for i in 0..4 {
        for r in i + 1..4 {
            let factor = a[r][i] / a[i][i];
            for c in i..4 {
                a[r][c] -= factor * a[i][c];
            }
            b[r] -= factor * b[i];
        }
    }
    for i in (0..4).rev() {
        let known: f64 = (i + 1..4).map(|c| a[i][c] * b[c]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

fn store(model: &Path, fusion: [f32; 4]) -> Result<()> {
    let path = model.join("manifest.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut manifest: Manifest = toml::from_str(&text)?;
    manifest.scorer.fusion = fusion;
    manifest.scorer.threshold = 0.5;
    fs::write(&path, toml::to_string_pretty(&manifest)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regression_finds_the_witness_that_tells() {
        // The first feature decides with some overlap, the second is noise.
        let samples: Vec<Sample> = (0..400)
            .map(|i| {
                let said = i % 2 == 0;
                let noise = f64::from((i * 37) % 101) / 50.0 - 1.0;
                let x = f64::from(u8::from(said)) * 2.0 - 1.0 + 1.5 * noise;
                Sample { x: [x, f64::from((i * 53) % 97) / 48.0 - 1.0, 1.0, 1.0], said }
            })
            .collect();
        let w = regress(&samples);
        assert!(w[0] > 1.0 && w[1].abs() < 0.5, "{w:?}");
        assert!(w[1] >= 0.0);
    }

    #[test]
    fn solve_by_hand() {
        let a = [[2.0, 1.0, 0.0, 0.0], [1.0, 3.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.5, 1.0]];
        let x = solve(a, [3.0, 4.0, 1.5, 1.5]);
        assert!(x.iter().all(|v| (v - 1.0).abs() < 1e-9), "{x:?}");
    }
}
