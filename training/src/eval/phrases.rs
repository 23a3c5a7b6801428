//! `kws-train eval phrases`: phrases cut out of running speech against right, easy and hard texts, LibriPhrase-style.
//!
//! Every clip is a phrase of one to four words at its aligned borders; the runtime spotter hears it and its highest score
//! counts. Texts: its own; easy ones, drawn at random; hard ones, the nearest by phone edit distance; and those that begin
//! alike and end otherwise. All come from the same corpus and have as many words. The official list is not used.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kws_live::audio::decode_16k;
use kws_live::detect::Keyword;
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::spotter::{Spotter, SpotterConfig};
use kws_live::text::{KeywordSpec, Phone};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::recordings::{Half, read};
use super::stats::{auc, eer, tpr_at};
use crate::data::sample_at;
use crate::g2p::distance;

/// Phrases against easy and hard texts.
#[derive(Debug, Clone, clap::Args)]
pub struct PhrasesArgs {
    /// Manifest folders or files.
    #[arg(default_value = "../shared/data/librispeech-dev")]
    pub manifests: Vec<PathBuf>,
    /// Model bundle; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Split.
    #[arg(long, default_value = "dev")]
    pub split: String,
    /// Clips of each number of words.
    #[arg(long, default_value_t = 400)]
    pub clips: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Texts of each kind a clip is compared with.
const TEXTS: usize = 3;
/// Words of a phrase at most.
const LONGEST: usize = 4;
/// Longest pause inside a phrase, seconds.
const PAUSE: f32 = 0.2;

/// How well one kind of wrong text is told from the right one; all 0 to 1.
#[derive(Debug, Clone, Serialize)]
pub struct Contrast {
    /// Right pairs.
    pub positives: usize,
    /// Wrong pairs.
    pub negatives: usize,
    /// Equal error rate.
    pub eer: f64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// True positives where 1 % of the wrong pairs pass.
    pub tpr_at_1_percent: f64,
}

/// The report: `easy`, `hard` and `prefix`, of all lengths and of each number of words.
pub type PhrasesReport = BTreeMap<String, BTreeMap<String, Contrast>>;

/// A phrase as it was said once.
struct Clip {
    path: PathBuf,
    text: String,
    phones: Vec<Phone>,
    words: usize,
    span: (f32, f32),
}

/// Whether two sequences begin alike for at least half of both, and neither holds the other whole.
fn begin_alike(a: &[Phone], b: &[Phone]) -> bool {
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    2 * common >= a.len().max(b.len()) && common < a.len().min(b.len())
}

/// Whether one sequence lies whole in the other: then the text is said in the clip, or nearly.
fn contains(a: &[Phone], b: &[Phone]) -> bool {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    short.is_empty() || long.windows(short.len()).any(|w| w == short)
}

/// Draws clips and gives each its wrong texts: indices into the clips, by kind.
fn draw(clips: &[Clip], most: usize, rng: &mut SmallRng) -> Vec<(usize, [Vec<usize>; 3])> {
    let mut out = Vec::new();
    for words in 1..=LONGEST {
        let mut of: Vec<usize> = (0..clips.len()).filter(|&i| clips[i].words == words).collect();
        // One clip a text stands for the text.
        let mut texts: BTreeMap<&str, usize> = BTreeMap::new();
        for &i in &of {
            texts.entry(&clips[i].text).or_insert(i);
        }
        let texts: Vec<usize> = texts.into_values().collect();
        for i in (1..of.len()).rev() {
            of.swap(i, rng.random_range(0..=i));
        }
        of.truncate(most);
        for clip in of {
            let own = &clips[clip];
            let mut near: Vec<(usize, usize)> = texts
                .iter()
                .filter(|&&t| !contains(&own.phones, &clips[t].phones) && clips[t].text != own.text)
                .map(|&t| (distance(&own.phones, &clips[t].phones), t))
                .collect();
            near.sort_unstable();
            let hard = near.iter().take(TEXTS).map(|n| n.1).collect();
            let alike = near.iter().filter(|n| begin_alike(&own.phones, &clips[n.1].phones));
            let prefix = alike.take(TEXTS).map(|n| n.1).collect();
            let easy = (0..TEXTS.min(near.len())).map(|_| near[rng.random_range(0..near.len())].1).collect();
            out.push((clip, [easy, hard, prefix]));
        }
    }
    out
}

/// Measures.
///
/// # Errors
/// If recordings or model cannot be used.
pub fn measure(args: &PhrasesArgs) -> Result<PhrasesReport> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let mut clips = Vec::new();
    for recording in read(&args.manifests, &args.split, Half::All)? {
        for words in 1..=LONGEST {
            for w in recording.words.windows(words) {
                let close = w.windows(2).all(|p| p[1].start - p[0].end <= PAUSE);
                let span = (w[0].start, w[words - 1].end);
                let phones: Vec<Phone> = w.iter().flat_map(|w| w.phones.iter().copied()).collect();
                // Texts of one or two phones are no keywords; words this short are never cut well.
                if close && phones.len() >= 3 && span.1 - span.0 >= 0.25 && w.iter().all(|w| !w.phones.is_empty()) {
                    let text = w.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
                    clips.push(Clip { path: recording.path.clone(), text, phones, words, span });
                }
            }
        }
    }
    let drawn = draw(&clips, args.clips, &mut SmallRng::seed_from_u64(1));
    ensure!(!drawn.is_empty(), "no phrase of at least three phones is said");
    let share = drawn.len().div_ceil(args.threads.max(1));
    let scores = std::thread::scope(|scope| -> Result<Vec<Vec<(usize, String, f32)>>> {
        let (bundle, clips) = (&bundle, &clips);
        let work = |part| scope.spawn(move || score(bundle, clips, part));
        let handles: Vec<_> = drawn.chunks(share).map(work).collect();
        handles.into_iter().map(|h| h.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    })?;
    Ok(report(&scores.concat()))
}

/// Scores of each clip with its texts: number of words, kind (`right` or a wrong one), score.
fn score(bundle: &Bundle, clips: &[Clip], drawn: &[(usize, [Vec<usize>; 3])]) -> Result<Vec<(usize, String, f32)>> {
    let mut enroller = Enroller::new(bundle, BackendChoice::default())?;
    let config = SpotterConfig { chunk_frames: 100, threshold: Some(1.0), ..SpotterConfig::default() };
    let mut spotter = Spotter::new(bundle, config)?;
    let mut keyword = |text: &str| -> Result<Keyword> { Ok(enroller.text(&KeywordSpec::new(text))?) };
    let mut out = Vec::new();
    for (clip, wrong) in drawn {
        let clip = &clips[*clip];
        let audio = decode_16k(&clip.path)?;
        let at = |seconds| sample_at(seconds, audio.len());
        let mut kinds = vec!["right"];
        let mut ids = vec![spotter.add(keyword(&clip.text)?)];
        for (kind, texts) in ["easy", "hard", "prefix"].iter().zip(wrong) {
            for &text in texts {
                ids.push(spotter.add(keyword(&clips[text].text)?));
                kinds.push(kind);
            }
        }
        spotter.reset();
        spotter.process(&audio[at(clip.span.0)..at(clip.span.1)], |_| {})?;
        spotter.flush(|_| {})?;
        for (status, kind) in spotter.keywords().zip(&kinds) {
            let best = status.best.with_context(|| format!("`{}` was never scored", clip.text))?;
            out.push((clip.words, (*kind).to_owned(), best.score));
        }
        for id in ids {
            spotter.remove(id);
        }
    }
    Ok(out)
}

fn report(scores: &[(usize, String, f32)]) -> PhrasesReport {
    let of = |kind: &str, words: Option<usize>| -> Vec<f32> {
        let taken = scores.iter().filter(|s| s.1 == kind && words.is_none_or(|w| s.0 == w));
        taken.map(|s| s.2).collect()
    };
    let contrast = |kind: &str, words: Option<usize>| {
        let (right, wrong) = (of("right", words), of(kind, words));
        (!right.is_empty() && !wrong.is_empty()).then(|| Contrast {
            positives: right.len(),
            negatives: wrong.len(),
            eer: eer(&right, &wrong),
            auc: auc(&right, &wrong),
            tpr_at_1_percent: tpr_at(&right, &wrong, 0.01),
        })
    };
    let lengths =
        std::iter::once((None, "all".to_owned())).chain((1..=LONGEST).map(|w| (Some(w), format!("{w} words"))));
    lengths
        .map(|(words, name)| {
            let kinds = ["easy", "hard", "prefix"];
            (name, kinds.iter().filter_map(|k| Some(((*k).to_owned(), contrast(k, words)?))).collect())
        })
        .collect()
}

/// Runs the command.
///
/// # Errors
/// As [`measure`].
pub fn run(args: &PhrasesArgs) -> Result<()> {
    for (length, kinds) in measure(args)? {
        for (kind, c) in kinds {
            log::info!(
                "{length:<8} {kind:<7} EER {:5.2} %  AUC {:6.2} %  TPR at 1 % FPR {:5.1} %  {} right, {} wrong pairs",
                100.0 * c.eer,
                100.0 * c.auc,
                100.0 * c.tpr_at_1_percent,
                c.positives,
                c.negatives
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kws_live::text::parse_phones;

    #[test]
    fn distances_and_beginnings_by_hand() {
        let p = |text: &str| parse_phones(text).expect("ARPAbet");
        let (governor, government, govern) = (p("G AH V ER N ER"), p("G AH V ER M AH N T"), p("G AH V ER N"));
        assert_eq!(distance(&governor, &govern), 1);
        assert_eq!(distance(&governor, &government), 3);
        assert!(begin_alike(&governor, &government));
        assert!(!begin_alike(&governor, &govern), "one holds the other");
        assert!(contains(&govern, &governor) && !contains(&governor, &government));
    }

    #[test]
    fn every_clip_gets_its_own_kinds_of_texts() {
        let clip = |text: &str, phones: &str| Clip {
            path: PathBuf::new(),
            text: text.into(),
            phones: parse_phones(phones).expect("ARPAbet"),
            words: 1,
            span: (0.0, 1.0),
        };
        let clips = [
            clip("stop", "S T AA P"),
            clip("stock", "S T AA K"),
            clip("stopped", "S T AA P T"),
            clip("lemon", "L EH M AH N"),
            clip("happy", "HH AE P IY"),
            clip("spot", "S P AA T"),
        ];
        let drawn = draw(&clips, 10, &mut SmallRng::seed_from_u64(1));
        let (_, [easy, hard, prefix]) = drawn.iter().find(|(c, _)| *c == 0).expect("stop is drawn");
        assert_eq!(easy.len(), 3);
        assert_eq!(hard[0], 1, "stock is one phone away");
        assert_eq!(prefix, &[1], "stock begins alike");
        assert!(!hard.contains(&2) && !easy.contains(&2), "stopped holds stop");
    }
}
