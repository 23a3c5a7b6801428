//! `kws-train eval words`: word discrimination, the paper's first table (PAPER.md, "Evaluation of the paper", 1).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use kws_live::audio::decode_16k;
use kws_live::detect::Embedding;
use kws_live::model::{Backend, BackendChoice, Bundle};
use kws_live::segment::{Segment, segment_embedder};
use kws_live::text::Phone;
use kws_live::words::{Heard, PhoneTree};
use serde::Serialize;

use super::contest;
use super::plots::{self, Mark};
use super::stats::average_precision;
use super::tsne::tsne;
use crate::data::prepare::corpus_folders;
use crate::data::{Corpus, WordsConfig, sample_at};

/// Word discrimination: average precision over all pairs of word segments, and of segments with texts.
#[derive(Debug, clap::Args)]
pub struct WordsArgs {
    /// Model bundle, of either kind; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Data folder; its train splits say which words are known.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Folders that were trained on besides, as runs/synth: their words are known too.
    #[arg(long)]
    pub extra: Vec<PathBuf>,
    /// Corpus whose dev split is scored.
    #[arg(long, default_value = "librispeech-dev")]
    pub corpus: String,
    /// Folder for words.json and the plots.
    #[arg(long)]
    pub out: PathBuf,
    /// Inference engine, tract or ort.
    #[arg(long, default_value_t = Backend::Tract)]
    pub backend: Backend,
    /// Shortest word, seconds.
    #[arg(long, default_value_t = 0.5)]
    pub min_seconds: f32,
    /// Longest word, seconds.
    #[arg(long, default_value_t = 2.0)]
    pub max_seconds: f32,
    /// Take only every so-manieth recording.
    #[arg(long, default_value_t = 1)]
    pub every: usize,
}

/// A word as it was said once.
struct Said {
    word: usize,
    speaker: usize,
    segment: Segment,
    /// The words of the lexicon that it may be.
    heard: Option<Heard>,
    /// Odds of each type against those; empty before [`by_words`].
    odds: Vec<f32>,
}

/// A word type.
struct Type {
    text: String,
    known: bool,
    phones: Vec<Phone>,
    embedding: Embedding,
}

/// Average precision with what it rests on.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figure {
    /// Per cent.
    pub ap: f64,
    /// Pairs.
    pub pairs: usize,
    /// Pairs of one word.
    pub positives: usize,
}

/// A view's figures; IV and OOV pairs are of two known and of two unknown words.
#[derive(Debug, Serialize)]
pub struct View {
    /// All pairs.
    pub all: Figure,
    /// Known words.
    pub iv: Figure,
    /// Unknown words.
    pub oov: Figure,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    command: String,
    model: String,
    kind: String,
    corpus: String,
    /// Word segments.
    pub segments: usize,
    types: usize,
    types_iv: usize,
    speakers: usize,
    min_seconds: f32,
    max_seconds: f32,
    /// Every pair of segments.
    pub acoustic: View,
    /// Only pairs of two speakers.
    pub acoustic_different_speakers: View,
    /// Every segment with every word's text (its most frequent pronunciation).
    pub cross: View,
    /// The same where all words of the lexicon compete; `None` for a model without a phone head.
    pub words: Option<ByWords>,
}

/// Views of segments that are compared by the words of the lexicon that they may be.
#[derive(Debug, Serialize)]
pub struct ByWords {
    /// Every pair of segments: mean of the cosine and of the Bhattacharyya coefficient of their words.
    pub acoustic: View,
    /// Only pairs of two speakers.
    pub acoustic_different_speakers: View,
    /// Every segment with every word's text: the odds of that against the words of the lexicon.
    pub cross: View,
}

impl Report {
    /// All views with their names.
    pub fn views(&self) -> Vec<(&'static str, &View)> {
        let mut views = vec![
            ("acoustic", &self.acoustic),
            ("acoustic, different speakers", &self.acoustic_different_speakers),
            ("cross (audio, text)", &self.cross),
        ];
        if let Some(words) = &self.words {
            views.extend([
                ("by words: acoustic", &words.acoustic),
                ("by words: acoustic, different speakers", &words.acoustic_different_speakers),
                ("by words: cross (audio, text)", &words.cross),
            ]);
        }
        views
    }
}

/// Runs the command.
///
/// # Errors
/// If data or model cannot be used, or the report cannot be written.
pub fn run(args: &WordsArgs) -> Result<()> {
    print(&measure(args)?);
    Ok(())
}

/// Measures, and writes words.json and the plots.
///
/// # Errors
/// As [`run`].
pub fn measure(args: &WordsArgs) -> Result<Report> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let known = known_words(&args.data, &args.extra)?;
    let (mut said, types, speakers) = embed(args, &bundle, &known)?;
    ensure!(said.len() > 1, "{} has no two words of {} to {} s", args.corpus, args.min_seconds, args.max_seconds);
    let cosine = |a: &Said, b: &Said| a.segment.embedding.cosine(&b.segment.embedding);
    let acoustic = pairs(&said, false, cosine);
    let cross = with_texts(&said, &types, |s, t| s.segment.embedding.cosine(&types[t].embedding));
    let view = |pairs: &[Pair]| View {
        all: figure(pairs, |_| true),
        iv: figure(pairs, |p| types[p.words.0].known && types[p.words.1].known),
        oov: figure(pairs, |p| !types[p.words.0].known && !types[p.words.1].known),
    };
    let words = by_words(args, &bundle, &mut said, &types)?.then(|| {
        let likeness = |a: &Said, b: &Said| {
            let common = a.heard.as_ref().zip(b.heard.as_ref()).map_or(0.0, |(a, b)| a.likeness(b));
            f32::midpoint(cosine(a, b), common)
        };
        ByWords {
            acoustic: view(&pairs(&said, false, likeness)),
            acoustic_different_speakers: view(&pairs(&said, true, likeness)),
            cross: view(&with_texts(&said, &types, |s, t| s.odds[t])),
        }
    });
    let report = Report {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        model: bundle.manifest.name.clone(),
        kind: bundle.manifest.kind.clone(),
        corpus: args.corpus.clone(),
        segments: said.len(),
        types: types.len(),
        types_iv: types.iter().filter(|t| t.known).count(),
        speakers,
        min_seconds: args.min_seconds,
        max_seconds: args.max_seconds,
        acoustic: view(&acoustic),
        acoustic_different_speakers: view(&pairs(&said, true, cosine)),
        cross: view(&cross),
        words,
    };
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    fs::write(args.out.join("words.json"), serde_json::to_string_pretty(&report)?)?;
    for (name, pairs) in [("acoustic.svg", &acoustic), ("cross.svg", &cross)] {
        let of = |same: bool| -> Vec<f32> {
            pairs.iter().filter(|p| (p.words.0 == p.words.1) == same).map(|p| p.score).collect()
        };
        plots::histogram(&args.out.join(name), &of(true), &of(false))?;
    }
    draw_map(&args.out.join("tsne.svg"), &said, &types)?;
    Ok(report)
}

fn print(report: &Report) {
    log::info!(
        "{} ({}): {} segments of {} words ({} known), {} speakers of {}",
        report.model,
        report.kind,
        report.segments,
        report.types,
        report.types_iv,
        report.speakers,
        report.corpus
    );
    for (name, view) in report.views() {
        for (part, f) in [("all", view.all), ("IV", view.iv), ("OOV", view.oov)] {
            log::info!("{name:<39} {part:<4} AP {:6.2} %  {} of {} pairs", f.ap, f.positives, f.pairs);
        }
    }
}

/// Words of every train split below `data` and of `extra`, from transcripts and alignments.
pub(super) fn known_words(data: &Path, extra: &[PathBuf]) -> Result<HashSet<String>> {
    let mut known = HashSet::new();
    for folder in corpus_folders(data, extra)? {
        for entry in Corpus::read(&folder)?.entries.iter().filter(|e| e.split == "train") {
            known.extend(entry.words()?.into_iter().map(|w| w.text));
            let letters = |c: char| !c.is_alphanumeric() && c != '\'';
            known.extend(entry.text.to_lowercase().split(letters).filter(|w| !w.is_empty()).map(str::to_owned));
        }
    }
    Ok(known)
}

/// Embeds every word of the dev split that is long enough, and the text of every word type.
fn embed(args: &WordsArgs, bundle: &Bundle, known: &HashSet<String>) -> Result<(Vec<Said>, Vec<Type>, usize)> {
    let choice = BackendChoice { backend: args.backend, ..BackendChoice::default() };
    let mut segments = segment_embedder(bundle, choice)?;
    let corpus = Corpus::read(&args.data.join(&args.corpus))?;
    let durations =
        WordsConfig { min_seconds: args.min_seconds, max_seconds: args.max_seconds, ..WordsConfig::default() };
    let entries: Vec<_> = corpus.entries.iter().filter(|e| e.split == "dev").step_by(args.every.max(1)).collect();
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    let mut spellings: Vec<HashMap<Vec<Phone>, usize>> = Vec::new();
    let mut speakers: HashMap<String, usize> = HashMap::new();
    let mut said = Vec::new();
    let bar = ProgressBar::new(entries.len() as u64);
    for entry in entries {
        bar.inc(1);
        let spoken: Vec<_> = entry
            .words()?
            .into_iter()
            .filter(|w| durations.takes(w.end - w.start) && !w.phones.is_empty() && !w.text.is_empty())
            .collect();
        if spoken.is_empty() {
            continue;
        }
        let audio = decode_16k(&corpus.folder.join(&entry.file))?;
        let at = |seconds| sample_at(seconds, audio.len());
        let spans: Vec<_> = spoken.iter().map(|w| at(w.start)..at(w.end)).collect();
        // An unknown speaker is one of a recording's own.
        let name = if entry.speaker.is_empty() { entry.file.clone() } else { entry.speaker.clone() };
        let fresh = speakers.len();
        let speaker = *speakers.entry(name).or_insert(fresh);
        for (word, segment) in spoken.into_iter().zip(segments.embed(&audio, &spans)?) {
            let Some(segment) = segment else { continue };
            let fresh = words.len();
            let index = *words.entry(word.text).or_insert(fresh);
            spellings.resize_with(words.len(), HashMap::new);
            *spellings[index].entry(word.phones).or_default() += 1;
            said.push(Said { word: index, speaker, segment, heard: None, odds: Vec::new() });
        }
    }
    bar.finish_and_clear();
    let mut tower = bundle.text_encoder(choice)?;
    let mut types: Vec<Option<Type>> = words.iter().map(|_| None).collect();
    for (text, index) in words {
        let usual = spellings[index].iter().max_by_key(|(phones, n)| (**n, (*phones).clone()));
        let (phones, _) = usual.with_context(|| format!("`{text}` has no phones"))?;
        let embedding = Embedding::new(tower.embed(phones)?)
            .with_context(|| format!("the text tower has no direction for `{text}`"))?;
        types[index] = Some(Type { known: known.contains(&text), text, phones: phones.clone(), embedding });
    }
    Ok((said, types.into_iter().flatten().collect(), speakers.len()))
}

/// Lets every segment be heard as words of the lexicon; false for a model without a phone head.
fn by_words(args: &WordsArgs, bundle: &Bundle, said: &mut [Said], types: &[Type]) -> Result<bool> {
    let choice = BackendChoice { backend: args.backend, ..BackendChoice::default() };
    let Some(mut vocabulary) = contest::vocabulary(bundle, choice)? else { return Ok(false) };
    let mut texts = PhoneTree::new(&types.iter().map(|t| t.phones.clone()).collect::<Vec<_>>());
    let bar = ProgressBar::new(said.len() as u64);
    for Said { segment, heard, odds, .. } in said {
        bar.inc(1);
        *heard = vocabulary.hear(&[segment])?;
        let paths = texts.paths(segment.posteriors.as_deref().unwrap_or_default());
        let against = |(t, path): (&Type, f32)| {
            let weighed = vocabulary.weigh(segment.embedding.cosine(&t.embedding), path);
            heard.as_ref().map_or(f32::NEG_INFINITY, |heard| heard.against(weighed))
        };
        odds.extend(types.iter().zip(paths).map(against));
    }
    bar.finish_and_clear();
    Ok(true)
}

/// A scored pair and the words of its sides.
struct Pair {
    score: f32,
    words: (usize, usize),
}

/// All unordered pairs of segments, or only those of two speakers.
fn pairs(said: &[Said], different_speakers: bool, score: impl Fn(&Said, &Said) -> f32) -> Vec<Pair> {
    let mut out = Vec::with_capacity(said.len() * said.len().saturating_sub(1) / 2);
    for (i, a) in said.iter().enumerate() {
        let others = said[..i].iter().filter(|b| !different_speakers || a.speaker != b.speaker);
        out.extend(others.map(|b| Pair { score: score(a, b), words: (a.word, b.word) }));
    }
    out
}

/// All pairs of a segment and a word's text.
fn with_texts(said: &[Said], types: &[Type], score: impl Fn(&Said, usize) -> f32) -> Vec<Pair> {
    let pairs = said.iter().flat_map(|s| (0..types.len()).map(move |t| (s, t)));
    pairs.map(|(s, t)| Pair { score: score(s, t), words: (s.word, t) }).collect()
}

fn figure(pairs: &[Pair], take: impl Fn(&Pair) -> bool) -> Figure {
    let mut scored: Vec<(f32, bool)> =
        pairs.iter().filter(|p| take(p)).map(|p| (p.score, p.words.0 == p.words.1)).collect();
    let ap = average_precision(&mut scored) * 100.0;
    Figure { ap, pairs: scored.len(), positives: scored.iter().filter(|(_, p)| *p).count() }
}

/// Words on the map, and segments of each.
const MAP_WORDS: usize = 150;
const MAP_SEGMENTS: usize = 5;

/// t-SNE of the most frequent words' segments (dots) with their texts (crosses).
fn draw_map(path: &Path, said: &[Said], types: &[Type]) -> Result<()> {
    let mut by_word: Vec<(usize, Vec<&Said>)> = (0..types.len()).map(|w| (w, Vec::new())).collect();
    for s in said {
        by_word[s.word].1.push(s);
    }
    by_word.sort_by_key(|(word, list)| (std::cmp::Reverse(list.len()), *word));
    by_word.truncate(MAP_WORDS);
    let mut points: Vec<(&Embedding, usize, Option<String>)> = Vec::new();
    for (group, (word, list)) in by_word.iter().enumerate() {
        points.push((&types[*word].embedding, group, Some(types[*word].text.clone())));
        points.extend(list.iter().take(MAP_SEGMENTS).map(|s| (&s.segment.embedding, group, None)));
    }
    let n = points.len();
    let distance = |i: usize, j: usize| f64::from(2.0 - 2.0 * points[i].0.cosine(points[j].0)).max(0.0);
    let distances: Vec<f64> = (0..n * n).map(|k| distance(k / n, k % n)).collect();
    let places = tsne(&distances, n);
    let marks: Vec<Mark> =
        points.into_iter().zip(places).map(|((_, group, label), at)| Mark { at, group, label }).collect();
    plots::map(path, "Words said (dots) and their texts (crosses), t-SNE", &marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_figures_by_hand() {
        let e = |x: f32, y: f32| Embedding::new(vec![x, y]).expect("a direction");
        let said = [(0, 0, e(1.0, 0.0)), (0, 1, e(0.8, 0.6)), (1, 0, e(0.0, 1.0))].map(|(word, speaker, embedding)| {
            let segment = Segment { embedding, posteriors: None, frames: 9.0 };
            Said { word, speaker, segment, heard: None, odds: Vec::new() }
        });
        let types = [("a", e(1.0, 0.0)), ("b", e(0.0, 1.0))].map(|(text, embedding)| Type {
            text: text.into(),
            known: text == "a",
            phones: Vec::new(),
            embedding,
        });
        let cosine = |a: &Said, b: &Said| a.segment.embedding.cosine(&b.segment.embedding);
        let all = pairs(&said, false, cosine);
        assert_eq!((all.len(), pairs(&said, true, cosine).len()), (3, 2));
        // 0.8 (same) before 0.6 and 0.
        let got = figure(&all, |_| true);
        assert_eq!((got.ap, got.pairs, got.positives), (100.0, 3, 1));
        let cross = with_texts(&said, &types, |s, t| s.segment.embedding.cosine(&types[t].embedding));
        // Scores: same 1, 0.8, 1; different 0, 0.6, 0.
        let got = figure(&cross, |_| true);
        assert_eq!((got.ap, got.pairs, got.positives), (100.0, 6, 3));
        let oov = figure(&cross, |p| p.words == (1, 1));
        assert_eq!((oov.pairs, oov.positives), (1, 1));
    }
}
