//! `kws-train eval terms`: spoken term detection, term-weighted value (NIST STD 2006, EVIDENCE.md "Metrics").

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kws_live::detect::{Keyword, ScorerConfig};
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::search::{BETA, LEAST, relevance};
use kws_live::text::KeywordSpec;
use serde::Serialize;

use super::candidates::{Found, Judged, contested, judge};
use super::recordings::{Half, hours, read};

/// Spoken term detection over a keyword list.
#[derive(Debug, Clone, clap::Args)]
pub struct TermsArgs {
    /// Manifest folders or files.
    #[arg(default_value = "../shared/data/librispeech-dev")]
    pub manifests: Vec<PathBuf>,
    /// Keyword list: an identifier, a tab and the words, a line each.
    #[arg(long, default_value = "../shared/data/std/librispeech_dev_keywords.txt")]
    pub list: PathBuf,
    /// Model bundle; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Split to search.
    #[arg(long, default_value = "dev")]
    pub split: String,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Term-weighted values of one list.
#[derive(Debug, Clone, Serialize)]
pub struct Terms {
    /// Keywords that are said.
    pub keywords: usize,
    /// Places where they are said.
    pub places: usize,
    /// Audio searched, hours.
    pub hours: f64,
    /// At the best threshold for all.
    pub mtwv: f64,
    /// That threshold.
    pub best_threshold: f64,
    /// At the model's own threshold.
    pub atwv: f64,
    /// At the best threshold of each keyword: what calibration could win.
    pub otwv: f64,
}

/// A list, decided in two ways.
#[derive(Debug, Serialize)]
pub struct List {
    /// Every score by itself, as live mode has to.
    pub live: Terms,
    /// For each keyword over all that was searched, and with rivals, as `scan --search` does.
    pub search: Terms,
}

/// Both lists.
#[derive(Debug, Serialize)]
pub struct TermsReport {
    /// One-word keywords.
    pub one_word: List,
    /// Phrases.
    pub phrases: Option<List>,
}

/// Term-weighted value of a keyword at a threshold: `1 - (P_miss + beta P_fa)`, `P_fa = N_fa / (seconds - N_true)`.
fn value(judged: &Judged, threshold: f32, seconds: f64) -> f64 {
    let places = judged.places.len() as f64;
    let missed = judged.places.iter().filter(|p| p.1 < threshold).count() as f64;
    let alarms = judged.alarms.iter().filter(|s| **s >= threshold).count() as f64;
    1.0 - missed / places - BETA * alarms / (seconds - places)
}

fn terms(judged: &[Judged], own: f32, hours: f64) -> Terms {
    let seconds = hours * 3600.0;
    let said: Vec<&Judged> = judged.iter().filter(|j| !j.places.is_empty()).collect();
    let mean = |threshold: f32| said.iter().map(|j| value(j, threshold, seconds)).sum::<f64>() / said.len() as f64;
    // Thresholds at equal steps of the logit.
    let grid = (-80..=80).map(|i| kws_live::detect::sigmoid(i as f32 * 0.1));
    // Never to detect anything is worth 0; of nothing nobody knows.
    let (mut mtwv, mut best_threshold) = (if said.is_empty() { f64::NAN } else { 0.0 }, 1.0);
    for threshold in grid {
        let value = mean(threshold);
        if value > mtwv {
            (mtwv, best_threshold) = (value, f64::from(threshold));
        }
    }
    let best_of = |j: &Judged| {
        // A keyword's best threshold lets in just down to one of the places that were heard; never to detect is worth 0.
        let heard = j.places.iter().map(|p| p.1).filter(|score| score.is_finite());
        heard.map(|score| value(j, score, seconds)).fold(0.0, f64::max)
    };
    Terms {
        keywords: said.len(),
        places: said.iter().map(|j| j.places.len()).sum(),
        hours,
        mtwv,
        best_threshold,
        atwv: mean(own),
        otwv: said.iter().map(|j| best_of(j)).sum::<f64>() / said.len() as f64,
    }
}

/// The same places with their relevance in place of their scores; what a search does not look at is gone. The search knows no
/// transcript: what is said inside something else has its part in how often it believes the keyword to be said.
fn searched(judged: &Judged, scorer: &ScorerConfig, hours: f64) -> Judged {
    let (places, alarms) = (judged.places.len(), judged.places.len() + judged.alarms.len());
    let all = judged.places.iter().map(|p| p.1).chain(judged.alarms.iter().chain(&judged.inside).copied());
    let (seen, scores): (Vec<usize>, Vec<f32>) = all.enumerate().filter(|s| s.1 >= LEAST).unzip();
    let unheard = judged.places.iter().map(|p| (p.0, f32::NEG_INFINITY));
    let mut out = Judged { places: unheard.collect(), ..Judged::default() };
    for (index, score) in seen.into_iter().zip(relevance(&scores, scorer, hours * 3600.0)) {
        if index < places {
            out.places[index].1 = score;
        } else if index < alarms {
            out.alarms.push(score);
        }
    }
    out
}

/// Both ways to decide: over what was heard live, and over what a search heard.
pub(super) fn list(live: &[Judged], search: &[Judged], scorer: &ScorerConfig, hours: f64) -> List {
    let contested = scorer.contested();
    let search: Vec<Judged> = search.iter().map(|j| searched(j, &contested, hours)).collect();
    List { live: terms(live, scorer.threshold, hours), search: terms(&search, 0.5, hours) }
}

fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let words: Vec<String> = text
        .lines()
        .filter_map(|l| Some(l.split_once('\t')?.1.trim().to_lowercase()))
        .filter(|w| !w.is_empty())
        .collect();
    ensure!(!words.is_empty(), "{} has no keyword: write an identifier, a tab and the words", path.display());
    Ok(words)
}

/// The keywords of a list that are no phrases.
pub(super) fn one_word(path: &Path) -> Result<Vec<String>> {
    Ok(read_list(path)?.into_iter().filter(|word| !word.contains(' ')).collect())
}

/// Measures.
///
/// # Errors
/// If list, recordings or model cannot be used.
pub fn measure(args: &TermsArgs) -> Result<TermsReport> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let words = read_list(&args.list)?;
    let recordings = read(&args.manifests, &args.split, Half::All)?;
    let mut enroller = Enroller::new(&bundle, BackendChoice::default())?;
    let (words, keywords): (Vec<String>, Vec<Keyword>) = words
        .into_iter()
        .filter_map(|word| match enroller.text(&KeywordSpec::new(&word)) {
            Ok(keyword) => Some((word, keyword)),
            Err(error) => {
                log::warn!("left out: {error}");
                None
            }
        })
        .unzip();
    let is_said = |word: &String| recordings.iter().any(|r| !r.places(word).is_empty());
    ensure!(words.iter().any(is_said), "none of the keywords of {} is said in these recordings", args.list.display());
    let (found, searched) = contested(&bundle, &keywords, &recordings, args.threads)?;
    let hours = hours(&recordings);
    let judged = |phrases: bool, found: &[Found]| -> Vec<Judged> {
        let of = words.iter().enumerate().filter(|(_, w)| w.contains(' ') == phrases);
        of.map(|(k, _)| judge(k, &keywords[k], &recordings, found)).collect()
    };
    let scorer = &bundle.manifest.scorer;
    let both = |phrases: bool| list(&judged(phrases, &found), &judged(phrases, &searched), scorer, hours);
    let phrases = words.iter().any(|w| w.contains(' ') && recordings.iter().any(|r| !r.places(w).is_empty()));
    Ok(TermsReport { one_word: both(false), phrases: phrases.then(|| both(true)) })
}

/// Runs the command.
///
/// # Errors
/// As [`measure`].
pub fn run(args: &TermsArgs) -> Result<()> {
    let report = measure(args)?;
    tell("one word", &report.one_word);
    if let Some(phrases) = &report.phrases {
        tell("phrases", phrases);
    }
    Ok(())
}

/// Two lines about a list.
pub(super) fn tell(name: &str, list: &List) {
    for (how, t) in [("live", &list.live), ("search", &list.search)] {
        log::info!(
            "{name}, {how}: {} keywords at {} places in {:.2} h: MTWV {:.3} (at {:.3}), ATWV {:.3}, OTWV {:.3}",
            t.keywords,
            t.places,
            t.hours,
            t.mtwv,
            t.best_threshold,
            t.atwv,
            t.otwv
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_gives_a_word_that_everything_sounds_like_a_higher_threshold() {
        let scorer = ScorerConfig::default();
        let rare = Judged { places: vec![(0, 0.6), (1, 0.009)], alarms: vec![0.005], inside: vec![] };
        let common = Judged { places: vec![(0, 0.97)], alarms: vec![0.6; 20], inside: vec![] };
        let found = searched(&rare, &scorer, 2.0);
        // What is not worth a look is gone.
        assert!(found.places[0].1 > 0.5 && found.places[1].1 == f32::NEG_INFINITY && found.alarms.is_empty());
        // What is said inside something else is no alarm, but raises the border.
        let within = searched(&Judged { inside: vec![0.6; 5], ..rare.clone() }, &scorer, 2.0);
        assert!(within.places[0].1 < found.places[0].1 && within.alarms.is_empty() && within.inside.is_empty());
        let both = [rare, common];
        let both = list(&both, &both, &scorer, 2.0);
        assert!(both.search.atwv > both.live.atwv, "{both:?}");
    }

    #[test]
    fn term_weighted_values_by_hand() {
        // 1,000.9 s less 1 place: one false alarm costs 1.
        let judged = |places, alarms| Judged { places, alarms, ..Judged::default() };
        let easy = judged(vec![(0, 0.9)], vec![0.3]);
        let hard = judged(vec![(0, 0.2)], vec![0.6]);
        let unsaid = judged(vec![], vec![0.99]);
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-6, "{got}, by hand {want}");
        let seconds = 1_000.9;
        near(value(&easy, 0.5, seconds), 1.0);
        near(value(&hard, 0.5, seconds), -1.0);
        near(value(&hard, 0.1, seconds), 0.0);
        let t = terms(&[easy, hard, unsaid], 0.5, seconds / 3600.0);
        assert_eq!((t.keywords, t.places), (2, 2));
        // Above 0.6: the first found, the second missed.
        near(t.mtwv, 0.5);
        near(t.atwv, 0.0);
        // The second's best is not to detect at all.
        near(t.otwv, 0.5);
        // What was not heard at all no threshold finds.
        let half = judged(vec![(0, 0.9), (1, f32::NEG_INFINITY)], vec![]);
        let deaf = judged(vec![(0, f32::NEG_INFINITY)], vec![]);
        near(terms(&[half, deaf], 0.5, seconds / 3600.0).otwv, 0.25);
    }
}
