//! `kws-train calibrate`: learns on development data how the two witnesses become one score, and what a score means.
//!
//! Samples are the highest frames of each recording and word, so that what is fitted is what is scored. A logistic
//! regression weighs the witnesses against each other, `z = w1 * cosine logit + w2 * path`. For every word and for phrases the values
//! of `z` that let through one and ten false alarms an hour are read off; a median regression of the former on what is known of a
//! text (`ScorerConfig::traits`: what is expected of it, its ways, its length) and the
//! median distance to the latter turn `z` into a logit that is `-ln(false alarms an hour)` for the middle one of all texts:
//! a score of 0.5 stands for one false alarm an hour, 0.91 for one in ten hours, 0.09 for ten. Then the probability that a search
//! goes by: a regression over what both say and the share among rivals, whose weights are learned before (`lattice`). Last, the
//! weights of the witnesses where whole words compete.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use kws_live::detect::{Keyword, ScorerConfig, logit, sigmoid};
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::spotter::SpotterConfig;
use kws_live::text::KeywordSpec;
use kws_live::words::{LEAST_LOGIT, RivalWeights};

use super::recordings::{Half, Recording, drawn, each, hits, hours, read};
use super::{contest, lattice};
use crate::export::edit_manifest;

/// Of less than this nobody can say how high what is wrong scores once an hour.
const FEWEST_HOURS: f64 = 0.5;

/// Fits fusion, threshold, prior and the weights for whole words of a bundle, and writes them into its manifest.
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
    /// What the score rests on; one witness alone, or both without rivals, is for a row of the ablation.
    #[arg(long, value_enum, default_value_t)]
    pub witness: Witness,
    /// Words drawn from the transcripts.
    #[arg(long, default_value_t = 150)]
    pub words: usize,
    /// Phrases of two and three words drawn from the transcripts, to see what their false alarms depend on.
    #[arg(long, default_value_t = 150)]
    pub phrases: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Which witnesses are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Witness {
    /// Both, and the share among rivals.
    #[default]
    All,
    /// Both.
    Both,
    /// The cosine of the window and the text.
    Cosine,
    /// The phone path.
    Path,
}

/// Sensitivity at which places count that may be a word: under ten false alarms an hour they are not worth a look.
const JUMPY: f32 = 0.75;

/// What is known of a text before it is heard: [`ScorerConfig::traits`] of its first way.
type Traits = [f64; 3];

/// Cosine logit and path, or the logit of both and that of the share among rivals, and a constant.
type Features = [f64; 3];

/// The highest frame of a keyword in a recording.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Index of the text.
    word: usize,
    x: Features,
    said: bool,
}

/// Words of the transcripts with at least three phones, drawn by hash so that the draw never changes.
pub(super) fn draw_words(recordings: &[Recording], most: usize) -> Vec<String> {
    let long = recordings.iter().flat_map(|r| &r.words).filter(|w| w.phones.len() >= 3);
    let words: BTreeSet<&str> = long.map(|w| w.text.as_str()).collect();
    drawn(words, most)
}

/// Phrases of two and three words that follow one another in the transcripts, drawn by hash.
fn draw_phrases(recordings: &[Recording], most: usize) -> Vec<String> {
    let rows = recordings.iter().flat_map(|r| [2, 3].into_iter().flat_map(|n| r.words.windows(n)));
    let phrases: BTreeSet<String> =
        rows.map(|row| row.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ")).collect();
    drawn(phrases.iter().map(String::as_str), most)
}

/// Runs the command.
///
/// # Errors
/// If recordings or bundle cannot be used, or no drawn word is said.
pub fn run(args: &CalibrateArgs) -> Result<()> {
    let recordings = read(&args.manifests, &args.split, args.half)?;
    let words = draw_words(&recordings, args.words);
    let texts = [&words[..], &draw_phrases(&recordings, args.phrases)].concat();
    let hours = hours(&recordings);
    ensure!(hours >= FEWEST_HOURS, "{hours:.2} h of recordings are too few to count one false alarm an hour");
    let mut bundle = Bundle::load(&args.model)?;
    let listen = |bundle: &Bundle, texts: &[String]| -> Result<(Vec<Sample>, Vec<Traits>)> {
        let (samples, traits) = collect(bundle, texts, &recordings, args.threads)?;
        let said = samples.iter().filter(|s| s.said).count();
        ensure!(said > 20, "only {said} of the drawn words are said; give more recordings or raise --words");
        log::info!("{} samples in {hours:.2} h, {said} said", samples.len());
        Ok((samples, traits))
    };
    bundle.manifest.scorer.rivals = None;
    // The highest frame depends on the fusion: once with the present one, once with the learned one.
    for _ in 0..2 {
        let (samples, traits) = listen(&bundle, &texts)?;
        let witness = if args.witness == Witness::All { Witness::Both } else { args.witness };
        let (fusion, ways) = fit(&samples, words.len(), &traits, hours, witness)?;
        let prior = prior(&samples, &traits[..words.len()], fusion, ways);
        log::info!("fusion {fusion:?}, ways {ways:?}, prior {prior:.3}");
        let scorer = &mut bundle.manifest.scorer;
        (scorer.fusion, scorer.ways, scorer.prior, scorer.threshold) = (fusion, ways, prior, 0.5);
    }
    // Then the third witness, with the logit of the two as the first.
    if args.witness == Witness::All
        && let Some(rivals) = lattice::weights(&bundle, &recordings)?
    {
        bundle.manifest.scorer.rivals = Some(rivals);
        for _ in 0..2 {
            let [fit, share, constant] = regress(&heard(&listen(&bundle, &words)?.0), Witness::All, false);
            let fusion = [constant, fit, share].map(|w| w as f32);
            log::info!("probability {fusion:?}");
            let rivals = RivalWeights { fusion, ..rivals };
            bundle.manifest.scorer.rivals = Some(rivals);
        }
    }
    if let Some(words) = contest::weights(&bundle, &recordings)? {
        bundle.manifest.scorer.words = words;
    }
    edit_manifest(&args.model, |manifest| manifest.scorer = bundle.manifest.scorer)
}

/// The samples, and the traits of every text.
fn collect(
    bundle: &Bundle,
    texts: &[String],
    recordings: &[Recording],
    threads: usize,
) -> Result<(Vec<Sample>, Vec<Traits>)> {
    let mut enroller = Enroller::new(bundle, BackendChoice::default())?;
    let keywords: Vec<Keyword> =
        texts.iter().map(|w| Ok(enroller.text(&KeywordSpec::new(w))?)).collect::<Result<_>>()?;
    let scorer = bundle.manifest.scorer.clone();
    let rivals = scorer.rivals.is_some();
    let config = SpotterConfig { chunk_frames: 100, threshold: Some(1.0), rivals, ..SpotterConfig::default() };
    let per_file = each(bundle, &keywords, &config, recordings, threads, |spotter, samples| {
        spotter.process(samples, |_| {})?;
        spotter.flush(|_| {})?;
        Ok(spotter.keywords().map(|s| s.best).collect::<Vec<_>>())
    })?;
    let mut out = Vec::new();
    for (recording, bests) in recordings.iter().zip(per_file) {
        for (index, (text, best)) in texts.iter().zip(bests).enumerate() {
            let places = recording.places(text);
            let Some(best) = best else { continue };
            let [start, end] = [best.start, best.end].map(|s| s as f32 / crate::data::RATE);
            let at_place = places.iter().any(|p| hits(start, end, *p));
            // Said inside something else, it is no false alarm.
            if at_place || places.is_empty() && !recording.says(start, end, &keywords[index]) {
                let x = if scorer.rivals.is_some() {
                    [best.fit, best.share, 1.0]
                } else {
                    [scorer.cos_scale * best.cosine + scorer.cos_bias, best.path, 1.0]
                };
                out.push(Sample { word: index, x: x.map(f64::from), said: at_place });
            }
        }
    }
    let traits = keywords.iter().map(|k| ScorerConfig::traits(k, &k.pronunciations[0]).map(f64::from)).collect();
    Ok((out, traits))
}

/// The scorer's `fusion`, by the first `words` texts, and its `ways`.
fn fit(
    samples: &[Sample],
    words: usize,
    traits: &[Traits],
    hours: f64,
    witness: Witness,
) -> Result<([f32; 4], [f32; 2])> {
    let of_words: Vec<Sample> = samples.iter().filter(|s| s.word < words).copied().collect();
    let [w1, w2, _] = regress(&of_words, witness, true);
    let mut wrong: Vec<Vec<f64>> = vec![Vec::new(); traits.len()];
    for s in samples.iter().filter(|s| !s.said) {
        wrong[s.word].push(w1 * s.x[0] + w2 * s.x[1]);
    }
    // (traits, value at one false alarm an hour, at ten) of every text.
    let marks: Vec<(Traits, f64, f64)> = wrong
        .iter_mut()
        .zip(traits)
        .filter_map(|(z, &traits)| {
            z.sort_by(|a, b| b.total_cmp(a));
            let at = |rate: f64| z.get((rate * hours).round() as usize).copied();
            Some((traits, at(1.0)?, at(10.0)?))
        })
        .collect();
    ensure!(marks.len() > 10, "too few recordings to count ten false alarms an hour");
    let gap = median(marks.iter().map(|m| m.1 - m.2).collect());
    ensure!(
        gap > 1e-3,
        "one false alarm an hour scores no higher than ten: the model tells nothing apart in these recordings"
    );
    let [start, expected, ways, phones] = median_regression(marks.iter().map(|&(t, one, _)| (t, one)));
    let scale = std::f64::consts::LN_10 / gap;
    let fusion = [-start * scale, w1 * scale, w2 * scale, -expected * scale];
    Ok((fusion.map(|w| w as f32), [ways, phones].map(|w| (-w * scale) as f32)))
}

/// Constant and weights with which `traits` come nearest to the values by the sum of what is missing, which outliers do not move:
/// least squares, weighed anew by what was missing (Schlossmacher 1973), with a small ridge.
fn median_regression(marks: impl Iterator<Item = (Traits, f64)>) -> [f64; 4] {
    let rows: Vec<([f64; 4], f64)> = marks.map(|([a, b, c], value)| ([1.0, a, b, c], value)).collect();
    let mut w = [0.0; 4];
    for pass in 0..100 {
        let (mut a, mut b) = ([[0.0; 4]; 4], [0.0; 4]);
        for (x, value) in &rows {
            let missing = (value - dot(&w, x)).abs();
            let weight = if pass == 0 { 1.0 } else { 1.0 / missing.max(1e-3) };
            for i in 0..4 {
                b[i] += weight * x[i] * value;
                for j in 0..4 {
                    a[i][j] += weight * x[i] * x[j];
                }
            }
        }
        for (i, row) in a.iter_mut().enumerate() {
            row[i] += 1e-6;
        }
        w = solve(a, b);
    }
    w
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Those for which rivals were heard.
fn heard(samples: &[Sample]) -> Vec<Sample> {
    samples.iter().filter(|s| s.x[0] >= f64::from(LEAST_LOGIT)).copied().collect()
}

/// Newton's method on the log loss with a small ridge, over standardised witnesses; where asked for, both classes count the same,
/// however many there are of each. The weight of neither witness may be negative, and of one that is not weighed it is zero.
fn regress(samples: &[Sample], witness: Witness, balanced: bool) -> Features {
    let all = samples.len().max(1) as f64;
    let said = if balanced { 2.0 * samples.iter().filter(|s| s.said).count().max(1) as f64 } else { all };
    let unsaid = if balanced { 2.0 * (all - said / 2.0).max(1.0) } else { all };
    let weight = |s: &Sample| 1.0 / if s.said { said } else { unsaid };
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(|s| weight(s) * of(s)).sum::<f64>();
    let means = [0, 1].map(|i| mean(&|s| s.x[i]));
    let spreads = [0, 1].map(|i| mean(&|s| (s.x[i] - means[i]).powi(2)).sqrt().max(1e-9));
    let standard = |s: &Sample| [(s.x[0] - means[0]) / spreads[0], (s.x[1] - means[1]) / spreads[1], 1.0];
    let mut free = [witness != Witness::Path, witness != Witness::Cosine, true];
    loop {
        let mut w = [0.0; 3];
        for _ in 0..50 {
            let mut gradient = [0.0; 3];
            let mut hessian = [[0.0; 3]; 3];
            for s in samples {
                let x = standard(s);
                let p = f64::from(sigmoid(dot(&w, &x) as f32));
                let error = p - f64::from(u8::from(s.said));
                for i in 0..3 {
                    gradient[i] += weight(s) * error * x[i];
                    for j in 0..3 {
                        hessian[i][j] += weight(s) * p * (1.0 - p) * x[i] * x[j];
                    }
                }
            }
            for i in 0..3 {
                gradient[i] += 1e-5 * w[i];
                hessian[i][i] += 1e-5;
                if !free[i] {
                    hessian[i] = [0.0; 3];
                    hessian[i][i] = 1.0;
                    gradient[i] = 0.0;
                }
            }
            let step = solve(hessian, gradient);
            w.iter_mut().zip(step).for_each(|(w, s)| *w -= s.clamp(-2.0, 2.0));
        }
        if let Some(i) = (0..2).find(|&i| w[i] < 0.0) {
            free[i] = false;
            continue;
        }
        let [w1, w2] = [w[0] / spreads[0], w[1] / spreads[1]];
        return [w1, w2, w[2] - w1 * means[0] - w2 * means[1]];
    }
}

/// Solves `a x = b` by Gaussian elimination; `a` is positive definite.
fn solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> [f64; N] {
    for i in 0..N {
        for r in i + 1..N {
            let factor = a[r][i] / a[i][i];
            for c in i..N {
                a[r][c] -= factor * a[i][c];
            }
            b[r] -= factor * b[i];
        }
    }
    for i in (0..N).rev() {
        let known: f64 = (i + 1..N).map(|c| a[i][c] * b[c]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

/// The prior of the scorer: with it, the probabilities of what a search looks at add up to the number of said words in it. Samples of
/// texts without traits do not count.
fn prior(samples: &[Sample], traits: &[Traits], fusion: [f32; 4], ways: [f32; 2]) -> f32 {
    let [f0, f1, f2, f3] = fusion.map(f64::from);
    let [ways, phones] = ways.map(f64::from);
    let scorer = ScorerConfig { threshold: 0.5, ..ScorerConfig::default() };
    let least = f64::from(logit(scorer.threshold_at(JUMPY)));
    let logit = |s: &Sample| Some(f0 + f1 * s.x[0] + f2 * s.x[1] + dot(&[f3, ways, phones], traits.get(s.word)?));
    let logits = samples.iter().filter_map(|s| Some((logit(s)?, s.said)));
    let seen: Vec<(f64, bool)> = logits.filter(|s| s.0 >= least).collect();
    let said = seen.iter().filter(|s| s.1).count() as f64;
    let sum = |prior: f64| seen.iter().map(|s| f64::from(sigmoid((s.0 + prior) as f32))).sum::<f64>();
    // The expected number rises with the prior: bisection.
    let (mut low, mut high) = (-20.0, 20.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if sum(middle) < said { low = middle } else { high = middle }
    }
    low as f32
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
                Sample { word: 0, x: [x, f64::from((i * 53) % 97) / 48.0 - 1.0, 1.0], said }
            })
            .collect();
        let w = regress(&samples, Witness::Both, true);
        assert!(w[0] > 1.0 && w[1].abs() < 0.5, "{w:?}");
        assert!(w[1] >= 0.0);
        // One alone.
        let w = regress(&samples, Witness::Cosine, true);
        assert!(w[0] > 1.0 && w[1] == 0.0, "{w:?}");
        assert_eq!(regress(&samples, Witness::Path, true)[0], 0.0);
        // Both classes are of the same size here: balanced or not, the weights are the same, the constant too.
        let (a, b) = (regress(&samples, Witness::Both, true), regress(&samples, Witness::All, false));
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?} {b:?}");
        // Where rivals were not asked, nothing is learned.
        assert!(heard(&[Sample { x: [-9.0, 0.0, 1.0], ..samples[0] }]).is_empty());
    }

    #[test]
    fn a_score_of_a_half_is_one_false_alarm_an_hour() {
        // Words, then phrases; ten hours; negatives spread evenly over 0..10 plus what the traits bring; the said ones are far above.
        let traits = |i: u32| [3 + i % 4, 1 + i % 3, 2 + i % 5].map(|n| f64::from(n).ln());
        let all: Vec<Traits> = (0..24).map(traits).collect();
        let mut samples = Vec::new();
        for (word, t) in all.iter().enumerate() {
            let shift = 2.0 * t[0] + 0.5 * t[1] + 0.25 * t[2];
            let sample = |x: f64, i: u32, said| Sample { word, x: [x, f64::from(i * 53 % 97) / 48.0 - 1.0, 1.0], said };
            samples.extend((0..1_000).map(|i| sample(f64::from(i) / 100.0 + shift, i, false)));
            samples.extend((0..10).map(|i| sample(9.0 + shift + f64::from(i), i, true)));
        }
        let (fusion, ways) = fit(&samples, 12, &all, 10.0, Witness::Both).expect("enough words");
        let ([f0, f1, f2, f3], [ways, phones]) = (fusion.map(f64::from), ways.map(f64::from));
        for (word, t) in all.iter().enumerate() {
            let logit = |s: &Sample| f0 + f1 * s.x[0] + f2 * s.x[1] + dot(&[f3, ways, phones], t);
            let over = |least: f64| samples.iter().filter(|s| s.word == word && !s.said && logit(s) > least).count();
            assert!((5..=15).contains(&over(0.0)), "{} false alarms in ten hours at 0.5", over(0.0));
            let ten = over(-std::f64::consts::LN_10);
            assert!((90..=110).contains(&ten), "{ten} false alarms in ten hours at 0.09");
        }
    }

    #[test]
    fn a_median_regression_does_not_mind_outliers() {
        let traits = |i: u32| [f64::from(i % 7), f64::from(i % 3), f64::from(i % 5)];
        let value = |i: u32| 1.0 + dot(&[2.0, -0.5, 0.25], &traits(i)) + if i.is_multiple_of(6) { 100.0 } else { 0.0 };
        let w = median_regression((0..90).map(|i| (traits(i), value(i))));
        assert!(w.iter().zip([1.0, 2.0, -0.5, 0.25]).all(|(a, b)| (a - b).abs() < 1e-2), "{w:?}");
    }

    #[test]
    fn the_prior_makes_probabilities_add_up_to_what_is_said() {
        // One word of one phone whose logit is the first witness: 40 wrong at -1, 10 right at 2, and one too low to count.
        let sample = |x: f64, said| Sample { word: 0, x: [x, 0.0, 1.0], said };
        let mut samples = vec![sample(-1.0, false); 40];
        samples.extend(vec![sample(2.0, true); 10]);
        samples.push(sample(-9.0, true));
        // A phrase that does not count.
        samples.extend(vec![Sample { word: 1, ..sample(3.0, false) }; 20]);
        let prior = f64::from(prior(&samples, &[[0.0; 3]], [0.0, 1.0, 0.0, 0.0], [0.0; 2]));
        let p = |x: f64| 1.0 / (1.0 + (-(x + prior)).exp());
        assert!((40.0 * p(-1.0) + 10.0 * p(2.0) - 10.0).abs() < 1e-3, "{prior}");
    }

    #[test]
    fn solve_by_hand() {
        let x = solve([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 4.0]], [3.0, 4.0, 4.0]);
        assert!(x.iter().all(|v| (v - 1.0).abs() < 1e-9), "{x:?}");
    }
}
