//! `kws-train calibrate`: learns on development data how what is heard becomes one score, and what a score means.
//!
//! Samples are the highest frames of each recording and word, so that what is fitted is what is scored. A logistic
//! regression weighs the two witnesses against each other, `w1 * cosine logit + w2 * path`. To that comes how far a window stands alone, by
//! the weight that gives what does its share of the false alarms ([`ALONE`]): `z`. For every word and for phrases the values of `z` that let
//! through one and ten false alarms an hour are read off; a median regression of the former on what is known of a text
//! (`ScorerConfig::traits`: what is expected of it, its ways, its length) and the
//! median distance to the latter turn `z` into a logit that is `-ln(false alarms an hour)` for the middle one of all texts:
//! a score of 0.5 stands for one false alarm an hour, 0.91 for one in ten hours, 0.09 for ten. Then the probability that a search
//! goes by: a regression over that logit and the share among rivals, whose weights are learned before (`lattice`). Last, the
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

/// Share of false alarms that may stand alone. By themselves a twentieth do, while words are said alone or in sentences, and nobody knows
/// which will be: three times as many let through what is said alone at some two logits less, and cost words in sentences 0.2.
const ALONE: f64 = 0.15;

/// No weight of standing alone is higher; those of both witnesses are some nats.
const MOST_ALONE: f64 = 30.0;

/// Sensitivity at which places count that may be a word: under ten false alarms an hour they are not worth a look.
const JUMPY: f32 = 0.75;

/// What is known of a text before it is heard: [`ScorerConfig::traits`] of its first way.
type Traits = [f64; 3];

/// Cosine logit and path, or the logit of what is heard of the keyword and that of the share among rivals; and a constant.
type Features = [f64; 3];

/// The highest frame of a keyword in a recording.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Index of the text.
    word: usize,
    x: Features,
    /// How far its window stands alone.
    alone: f64,
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
    let witness = if args.witness == Witness::All { Witness::Both } else { args.witness };
    for _ in 0..2 {
        // Whether a window stands alone is told where it weighs anything; of one witness alone, nothing is added to it.
        let alone = bundle.manifest.scorer.alone.max(1.0);
        bundle.manifest.scorer.alone = if witness == Witness::Both { alone } else { 0.0 };
        let (samples, traits) = listen(&bundle, &texts)?;
        let scorer = &mut bundle.manifest.scorer;
        fit(scorer, &samples, words.len(), &traits, hours, witness)?;
        scorer.prior = prior(scorer, &samples, &traits[..words.len()]);
        log::info!(
            "fusion {:?}, ways {:?}, alone {}, prior {}",
            scorer.fusion,
            scorer.ways,
            scorer.alone,
            scorer.prior
        );
    }
    // Then the share among rivals, beside the logit of all that.
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
                out.push(Sample { word: index, x: x.map(f64::from), alone: f64::from(best.alone), said: at_place });
            }
        }
    }
    let traits = keywords.iter().map(|k| ScorerConfig::traits(k, &k.pronunciations[0]).map(f64::from)).collect();
    Ok((out, traits))
}

/// Learns what makes a logit of the witnesses: their weights by the first `words` texts, the rest by all.
fn fit(
    scorer: &mut ScorerConfig,
    samples: &[Sample],
    words: usize,
    traits: &[Traits],
    hours: f64,
    witness: Witness,
) -> Result<()> {
    let of_words: Vec<Sample> = samples.iter().filter(|s| s.word < words).copied().collect();
    let [w1, w2, _] = regress(&of_words, witness, true);
    // What both witnesses say of each text where it is not said, and how far that stands alone.
    let mut wrong: Vec<Vec<(f64, f64)>> = vec![Vec::new(); traits.len()];
    for s in samples.iter().filter(|s| !s.said) {
        wrong[s.word].push((w1 * s.x[0] + w2 * s.x[1], s.alone));
    }
    let mark = |rate: f64| (rate * hours).round() as usize;
    let alone = if witness == Witness::Both { weight_of_alone(&wrong, mark(10.0)) } else { 0.0 };
    // (traits, value at one false alarm an hour, at ten) of every text.
    let marks: Vec<(Traits, f64, f64)> = wrong
        .iter()
        .zip(traits)
        .filter_map(|(wrong, &traits)| {
            let mut z: Vec<f64> = wrong.iter().map(|(z, stands)| z + alone * stands).collect();
            z.sort_by(|a, b| b.total_cmp(a));
            let at = |rate: f64| z.get(mark(rate)).copied();
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
    scorer.fusion = [-start, w1, w2, -expected].map(|w| (w * scale) as f32);
    scorer.ways = [-ways, -phones].map(|w| (w * scale) as f32);
    scorer.alone = (alone * scale) as f32;
    scorer.threshold = 0.5;
    Ok(())
}

/// The weight at which [`ALONE`] of the `most` highest of every text stand alone: the share rises with it. None if more do by themselves, or
/// if so many do not at any weight in sight, as where nobody can tell (a model without a phone head).
fn weight_of_alone(wrong: &[Vec<(f64, f64)>], most: usize) -> f64 {
    let share = |weight: f64| {
        let raised = |(z, stands): &(f64, f64)| z + weight * stands;
        let (mut stand, mut all) = (0.0, 0.0);
        for wrong in wrong.iter().filter(|w| w.len() > most) {
            let mut highest = wrong.clone();
            highest.select_nth_unstable_by(most, |a, b| raised(b).total_cmp(&raised(a)));
            stand += highest[..most].iter().map(|(_, stands)| stands).sum::<f64>();
            all += most as f64;
        }
        stand / f64::max(all, 1.0)
    };
    if share(MOST_ALONE) < ALONE { 0.0 } else { bisect(0.0, MOST_ALONE, |weight| share(weight) < ALONE) }
}

/// Where `less` turns from true to false between two numbers: the lower one if it is never true, the higher one if it always is.
fn bisect(mut low: f64, mut high: f64, less: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if less(middle) { low = middle } else { high = middle }
    }
    low
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

/// What the scorer makes of a sample of a text.
fn logit_of(scorer: &ScorerConfig, sample: &Sample, traits: &Traits) -> f64 {
    let [f0, f1, f2, f3] = scorer.fusion.map(f64::from);
    let [ways, phones] = scorer.ways.map(f64::from);
    dot(&[f1, f2, f0], &sample.x) + f64::from(scorer.alone) * sample.alone + dot(&[f3, ways, phones], traits)
}

/// The prior of the scorer: with it, the probabilities of what a search looks at add up to the number of said words in it. Samples of
/// texts without traits do not count.
fn prior(scorer: &ScorerConfig, samples: &[Sample], traits: &[Traits]) -> f32 {
    let least = f64::from(logit(scorer.threshold_at(JUMPY)));
    let logit = |s: &Sample| Some(logit_of(scorer, s, traits.get(s.word)?));
    let logits = samples.iter().filter_map(|s| Some((logit(s)?, s.said)));
    let seen: Vec<(f64, bool)> = logits.filter(|s| s.0 >= least).collect();
    let said = seen.iter().filter(|s| s.1).count() as f64;
    let sum = |prior: f64| seen.iter().map(|s| f64::from(sigmoid((s.0 + prior) as f32))).sum::<f64>();
    // The expected number rises with the prior.
    bisect(-20.0, 20.0, |prior| sum(prior) < said) as f32
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
                Sample { word: 0, x: [x, f64::from((i * 53) % 97) / 48.0 - 1.0, 1.0], alone: 0.0, said }
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
            let sample = |x: f64, i: u32, said| {
                let alone = f64::from(u8::from(i.is_multiple_of(9)));
                Sample { word, x: [x, f64::from(i * 53 % 97) / 48.0 - 1.0, 1.0], alone, said }
            };
            samples.extend((0..1_000).map(|i| sample(f64::from(i) / 100.0 + shift, i, false)));
            samples.extend((0..10).map(|i| sample(9.0 + shift + f64::from(i), i, true)));
        }
        let mut scorer = ScorerConfig { threshold: 0.9, ..ScorerConfig::default() };
        fit(&mut scorer, &samples, 12, &all, 10.0, Witness::Both).expect("enough words");
        assert_eq!(scorer.threshold, 0.5);
        for (word, t) in all.iter().enumerate() {
            let wrong = || samples.iter().filter(|s| s.word == word && !s.said);
            let over = |least: f64| wrong().filter(|s| logit_of(&scorer, s, t) > least).count();
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
        let sample = |x: f64, said| Sample { word: 0, x: [x, 0.0, 1.0], alone: 0.0, said };
        let mut samples = vec![sample(-1.0, false); 40];
        samples.extend(vec![sample(2.0, true); 10]);
        samples.push(sample(-9.0, true));
        // A phrase that does not count.
        samples.extend(vec![Sample { word: 1, ..sample(3.0, false) }; 20]);
        let scorer = ScorerConfig { fusion: [0.0, 1.0, 0.0, 0.0], threshold: 0.5, ..ScorerConfig::default() };
        let prior = f64::from(prior(&scorer, &samples, &[[0.0; 3]]));
        let p = |x: f64| 1.0 / (1.0 + (-(x + prior)).exp());
        assert!((40.0 * p(-1.0) + 10.0 * p(2.0) - 10.0).abs() < 1e-3, "{prior}");
    }

    #[test]
    fn what_stands_alone_is_raised_to_its_share() {
        // 100 wrong ones at 0, -1, ... of which every tenth stands alone; the highest 40 of them are looked at, of which four do.
        let texts = vec![(0..100).map(|i| (-f64::from(i), f64::from(u8::from(i % 10 == 9)))).collect::<Vec<_>>(); 3];
        // To be six, the one at -59 has to come before the 35th of the others, at -37.
        let weight = weight_of_alone(&texts, 40);
        assert!((weight - 22.0).abs() < 1e-6, "{weight}");
        let alone: Vec<Vec<_>> = texts.iter().map(|wrong| wrong.iter().map(|&(z, _)| (z, 1.0)).collect()).collect();
        assert!(weight_of_alone(&alone, 40) < 1e-6, "they have more than their share");
        let none: Vec<Vec<_>> = texts.iter().map(|wrong| wrong.iter().map(|&(z, _)| (z, 0.0)).collect()).collect();
        assert_eq!(weight_of_alone(&none, 40), 0.0, "none ever does");
        assert_eq!(weight_of_alone(&texts, 200), 0.0, "too few to tell");
    }

    #[test]
    fn solve_by_hand() {
        let x = solve([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 4.0]], [3.0, 4.0, 4.0]);
        assert!(x.iter().all(|v| (v - 1.0).abs() < 1e-9), "{x:?}");
    }
}
