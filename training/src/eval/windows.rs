//! `kws-train eval windows`: the paper's protocol for keywords in running speech, and ours beside it.
//!
//! The paper (PAPER.md, "Evaluation", 2) cuts running speech into fixed windows and counts an EER over them. Here a window
//! starts every half length. It holds a keyword when one of the two covers at least half of the other and more than half of
//! the window is that word; a window that holds less of it is left out for that keyword, as nobody can say what it is.
//! Keywords are the words of the corpus that last as long as the paper's (0.5 to 2 s), their texts embedded; known and
//! unknown words apart. Beside it the live scorer: the highest score of a recording, with the word said in it or not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use kws_live::audio::decode_16k;
use kws_live::detect::{Embedding, Keyword};
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::segment::segment_embedder;
use kws_live::text::KeywordSpec;
use serde::Serialize;

use super::candidates::candidates;
use super::recordings::{Half, Recording, drawn, read};
use super::stats::eer;
use super::words::known_words;
use crate::data::{WordsConfig, sample_at};

/// Fixed windows over running speech.
#[derive(Debug, Clone, clap::Args)]
pub struct WindowsArgs {
    /// Data folder; its train splits say which words are known.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Folders that were trained on besides, as runs/synth: their words are known too.
    #[arg(long)]
    pub extra: Vec<PathBuf>,
    /// Corpus whose dev split is scored.
    #[arg(long, default_value = "librispeech-dev")]
    pub corpus: String,
    /// Model bundle; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Keywords drawn.
    #[arg(long, default_value_t = 200)]
    pub words: usize,
    /// Take only every so-manieth recording.
    #[arg(long, default_value_t = 1)]
    pub every: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// The paper's window lengths, seconds.
const LENGTHS: [f32; 4] = [0.2, 0.3, 0.4, 0.6];

/// An equal error rate with what it rests on.
#[derive(Debug, Clone, Serialize)]
pub struct Rate {
    /// 0 to 1.
    pub eer: f64,
    /// Pairs with the word.
    pub positives: usize,
    /// Pairs without.
    pub negatives: usize,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct WindowsReport {
    /// Keywords, known and unknown.
    pub keywords: (usize, usize),
    /// By window length in seconds: EER over windows of known and of unknown words.
    pub fixed: BTreeMap<String, (Option<Rate>, Option<Rate>)>,
    /// The live scorer over recordings: EER of the pooled highest scores, known and unknown words.
    pub live: (Option<Rate>, Option<Rate>),
}

/// Share of two intervals' overlap in the first and in the second.
fn shares(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    let common = (a.1.min(b.1) - a.0.max(b.0)).max(0.0);
    (common / (a.1 - a.0).max(1e-3), common / (b.1 - b.0).max(1e-3))
}

/// Whether a window holds a word: `None` where that is in doubt.
fn holds(window: (f32, f32), word: (f32, f32)) -> Option<bool> {
    match shares(window, word) {
        (of_window, of_word) if of_window > 0.5 && of_window.max(of_word) >= 0.5 => Some(true),
        (of_window, of_word) if of_window.max(of_word) < 0.1 => Some(false),
        _ => None,
    }
}

fn rate(positives: &[f32], negatives: &[f32]) -> Option<Rate> {
    (!positives.is_empty() && !negatives.is_empty()).then(|| Rate {
        eer: eer(positives, negatives),
        positives: positives.len(),
        negatives: negatives.len(),
    })
}

/// Scores with and without the word, of known words and of others.
#[derive(Default)]
struct Pools([(Vec<f32>, Vec<f32>); 2]);

impl Pools {
    fn add(&mut self, known: bool, said: bool, score: f32) {
        let pool = &mut self.0[usize::from(!known)];
        if said { pool.0.push(score) } else { pool.1.push(score) }
    }

    fn rates(&self) -> (Option<Rate>, Option<Rate>) {
        let [known, unknown] = &self.0;
        (rate(&known.0, &known.1), rate(&unknown.0, &unknown.1))
    }
}

/// Words of at least the paper's length, drawn by hash.
fn draw(recordings: &[Recording], most: usize) -> Vec<String> {
    let durations = WordsConfig::default();
    let long = |r: &Recording| -> Vec<String> {
        r.words
            .iter()
            .filter(|w| durations.takes(w.end - w.start) && w.phones.len() >= 3)
            .map(|w| w.text.clone())
            .collect()
    };
    let words: BTreeSet<String> = recordings.iter().flat_map(long).collect();
    drawn(words.iter().map(String::as_str), most)
}

/// Measures.
///
/// # Errors
/// If data or model cannot be used.
pub fn measure(args: &WindowsArgs) -> Result<WindowsReport> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let choice = BackendChoice::default();
    let recordings = read(&[args.data.join(&args.corpus)], "dev", Half::All)?;
    let recordings: Vec<Recording> = recordings.into_iter().step_by(args.every.max(1)).collect();
    let words = draw(&recordings, args.words);
    ensure!(!words.is_empty(), "{} has no word of 0.5 to 2 s", args.corpus);
    let known = known_words(&args.data, &args.extra)?;
    let known: Vec<bool> = words.iter().map(|w| known.contains(w)).collect();
    let mut enroller = Enroller::new(&bundle, choice)?;
    let keywords: Vec<Keyword> =
        words.iter().map(|w| Ok(enroller.text(&KeywordSpec::new(w))?)).collect::<Result<_>>()?;
    let mut segments = segment_embedder(&bundle, choice)?;
    let mut fixed: Vec<Pools> = LENGTHS.iter().map(|_| Pools::default()).collect();
    for recording in &recordings {
        let audio = decode_16k(&recording.path)?;
        let places: Vec<Vec<(f32, f32)>> = words.iter().map(|w| recording.places(w)).collect();
        for (length, pools) in LENGTHS.iter().zip(&mut fixed) {
            let count = ((recording.seconds - length) / (length / 2.0)).floor().max(0.0) as usize;
            let windows: Vec<(f32, f32)> =
                (0..count).map(|i| i as f32 * length / 2.0).map(|start| (start, start + length)).collect();
            let sample = |seconds| sample_at(seconds, audio.len());
            let spans: Vec<_> = windows.iter().map(|w| sample(w.0)..sample(w.1)).collect();
            for (window, segment) in windows.iter().zip(segments.embed(&audio, &spans)?) {
                let Some(segment) = segment else { continue };
                for (k, keyword) in keywords.iter().enumerate() {
                    let cosine = |e: &Embedding| segment.embedding.cosine(e);
                    let score = keyword.pronunciations.iter().map(|p| cosine(&p.embedding)).fold(-1.0, f32::max);
                    let judged: Vec<Option<bool>> = places[k].iter().map(|p| holds(*window, *p)).collect();
                    if judged.contains(&Some(true)) {
                        pools.add(known[k], true, score);
                    } else if !judged.contains(&None) {
                        pools.add(known[k], false, score);
                    }
                }
            }
        }
    }
    let found = candidates(&bundle, &keywords, &recordings, args.threads)?;
    let mut live = Pools::default();
    for (recording, found) in recordings.iter().zip(&found) {
        for (k, word) in words.iter().enumerate() {
            let best = found[k].first().map_or(0.0, |c| c.score);
            live.add(known[k], !recording.places(word).is_empty(), best);
        }
    }
    let known_count = known.iter().filter(|k| **k).count();
    Ok(WindowsReport {
        keywords: (known_count, known.len() - known_count),
        fixed: LENGTHS.iter().zip(&fixed).map(|(l, p)| (format!("{l}"), p.rates())).collect(),
        live: live.rates(),
    })
}

/// Runs the command.
///
/// # Errors
/// As [`measure`].
pub fn run(args: &WindowsArgs) -> Result<()> {
    let report = measure(args)?;
    let show = |rate: &Option<Rate>| {
        rate.as_ref().map_or("-".into(), |r| {
            format!("{:5.1} % ({} of {})", 100.0 * r.eer, r.positives, r.positives + r.negatives)
        })
    };
    log::info!(
        "{} known and {} unknown words; EER (pairs with the word, of all)",
        report.keywords.0,
        report.keywords.1
    );
    for (length, (iv, oov)) in &report.fixed {
        log::info!("fixed windows of {length} s: IV {}  OOV {}", show(iv), show(oov));
    }
    log::info!("live scorer, recordings: IV {}  OOV {}", show(&report.live.0), show(&report.live.1));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_words_or_not_or_nobody_can_say() {
        // The word fills the window, the window lies in the word, the window holds a short word and more.
        assert_eq!(holds((0.0, 0.6), (0.0, 0.6)), Some(true));
        assert_eq!(holds((0.2, 0.5), (0.0, 1.0)), Some(true));
        assert_eq!(holds((0.0, 0.6), (0.1, 0.5)), Some(true));
        // A third of the window: in doubt. Elsewhere: no.
        assert_eq!(holds((0.0, 0.6), (0.4, 1.0)), None);
        assert_eq!(holds((0.0, 0.6), (0.9, 1.5)), Some(false));
    }

    #[test]
    fn pools_keep_known_and_unknown_words_apart() {
        let mut pools = Pools::default();
        pools.add(true, true, 0.9);
        pools.add(true, false, 0.1);
        pools.add(false, true, 0.2);
        let (known, unknown) = pools.rates();
        assert_eq!(known.expect("both kinds").eer, 0.0);
        assert!(unknown.is_none(), "no negative");
    }
}
