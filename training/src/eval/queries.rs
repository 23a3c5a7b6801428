//! `kws-train eval queries`: spoken term detection by example. Each word of a list is cut out of what one half of the speakers say,
//! and looked for in what the other half says.

use anyhow::{Context, Result, ensure};
use kws_live::detect::Keyword;
use kws_live::enrol::{EnrolError, Enroller};
use kws_live::model::{BackendChoice, Bundle};
use kws_live::text::KeywordSpec;
use serde::Serialize;

use super::candidates::{Found, Judged, contested, judge};
use super::recordings::{Half, Recording, hours, read};
use super::terms::{self, List, TermsArgs, one_word};
use crate::data::sample_at;

/// Shortest example, seconds.
const SHORTEST: f32 = 0.3;

/// What was found by examples, and by the same words typed.
#[derive(Debug, Serialize)]
pub struct QueriesReport {
    /// Words that one half says and the other too.
    pub queries: usize,
    /// Examples in which no speech was found.
    pub refused: usize,
    /// By one example.
    pub example: List,
    /// By one example and their text.
    pub both: List,
    /// By their text.
    pub typed: List,
}

/// The first place where a word is said long enough, cut out.
fn cut(word: &str, recordings: &[Recording]) -> Result<Option<Vec<f32>>> {
    for recording in recordings {
        if let Some(place) = recording.places(word).into_iter().find(|p| p.1 - p.0 >= SHORTEST) {
            let samples = recording.samples()?;
            let at = |seconds| sample_at(seconds, samples.len());
            return Ok(Some(samples[at(place.0)..at(place.1)].to_vec()));
        }
    }
    Ok(None)
}

/// Measures.
///
/// # Errors
/// If list, recordings or model cannot be used.
pub fn measure(args: &TermsArgs) -> Result<QueriesReport> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let asked = read(&args.manifests, &args.split, Half::A)?;
    let searched = read(&args.manifests, &args.split, Half::B)?;
    let mut enroller = Enroller::new(&bundle, BackendChoice::default())?;
    let (mut examples, mut both, mut typed): (Vec<Keyword>, Vec<Keyword>, Vec<Keyword>) = Default::default();
    let mut refused = 0;
    for word in one_word(&args.list)? {
        if searched.iter().all(|r| r.places(&word).is_empty()) {
            continue;
        }
        let Some(samples) = cut(&word, &asked)? else { continue };
        let Ok(text) = enroller.text(&KeywordSpec::new(&word)) else { continue };
        let recordings = [samples];
        match enroller.examples(&word, &recordings, None) {
            Ok(enrolled) => {
                examples.push(enrolled.keyword);
                both.push(enroller.examples(&word, &recordings, Some(&text))?.keyword);
                typed.push(text);
            }
            Err(error @ (EnrolError::NoSpeech { .. } | EnrolError::TooLong { .. })) => {
                log::debug!("{error}");
                refused += 1;
            }
            Err(error) => return Err(error).with_context(|| format!("the example of `{word}`")),
        }
    }
    ensure!(!examples.is_empty(), "no word of the list is said by both halves of the speakers");
    let hours = hours(&searched);
    let list = |keywords: &[Keyword]| -> Result<List> {
        let (live, search) = contested(&bundle, keywords, &searched, args.threads)?;
        // What is said inside other words is known by the text alone.
        let judged = |found: &[Found]| -> Vec<Judged> {
            typed.iter().enumerate().map(|(k, text)| judge(k, text, &searched, found)).collect()
        };
        Ok(terms::list(&judged(&live), &judged(&search), &bundle.manifest.scorer, hours))
    };
    Ok(QueriesReport {
        queries: examples.len() + refused,
        refused,
        example: list(&examples)?,
        both: list(&both)?,
        typed: list(&typed)?,
    })
}

/// Runs the command.
///
/// # Errors
/// As [`measure`].
pub fn run(args: &TermsArgs) -> Result<()> {
    let report = measure(args)?;
    log::info!("{} words, {} examples without speech", report.queries, report.refused);
    terms::tell("one example", &report.example);
    terms::tell("typed and one example", &report.both);
    terms::tell("typed", &report.typed);
    Ok(())
}
