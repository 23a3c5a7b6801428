//! `kws-train align`: word times for any transcribed corpus, by CTC forced alignment with our own encoder.

mod borders;
mod report;
mod viterbi;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kws_live::audio::decode_16k;
use kws_live::frontend::{FrontendConfig, log_mel};
use kws_live::model::{BackendChoice, Bundle, Encoder, EncoderOutput, load_graph};
use kws_live::text::{G2p, KeywordSpec, Lexicon, Phone, Pronouncer, read_cmudict};

pub use borders::{Borders, Differences};
pub use report::{Found, Heard, Report};
pub use viterbi::{Alignment, Place, align};

use crate::data::{Corpus, Entry, RATE, Word};
use crate::spread;

/// Aligns a corpus: writes its manifest with word times.
#[derive(Debug, clap::Args)]
pub struct AlignArgs {
    /// Bundle whose encoder listens.
    #[arg(long)]
    pub model: PathBuf,
    /// Folder of recordings, with a manifest.jsonl, with --transcripts, or as LibriSpeech is published.
    #[arg(long)]
    pub corpus: PathBuf,
    /// Lines `FILE TEXT` instead of a manifest, files relative to the corpus.
    #[arg(long)]
    pub transcripts: Option<PathBuf>,
    /// Manifest to write [default: CORPUS/manifest.jsonl].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Split of recordings that come without a manifest.
    #[arg(long, default_value = "train")]
    pub split: String,
    /// Dictionary in CMUdict's format [default: the bundle's].
    #[arg(long)]
    pub lexicon: Option<PathBuf>,
    /// Grapheme-to-phoneme graph [default: the bundle's, if it has one].
    #[arg(long)]
    pub g2p: Option<PathBuf>,
    /// Recordings whose mean log-likelihood ratio a phone is lower keep no word times.
    #[arg(long, default_value_t = -2.0, allow_negative_numbers = true)]
    pub min_score: f32,
    /// Nats that a blank costs in the search, so that phones are as long as they sound.
    #[arg(long, default_value_t = 1.0)]
    pub blank_cost: f32,
    /// Recordings to align, spread over the corpus [default: all].
    #[arg(long)]
    pub limit: Option<usize>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Write nothing; report how borders differ from the ones that the manifest has.
    #[arg(long)]
    pub compare: bool,
}

/// Encoder frames a chunk: of one size, so that a backend plans once.
const CHUNK: usize = 50;

/// Aligns recordings with their texts.
pub struct Aligner {
    encoder: Box<dyn Encoder>,
    frontend: FrontendConfig,
    lexicon: Lexicon,
    pronouncer: Pronouncer,
    known: HashMap<String, Vec<Vec<Phone>>>,
    borders: Borders,
    blank_cost: f32,
}

impl Aligner {
    /// An aligner with the bundle's encoder.
    ///
    /// # Errors
    /// If the bundle's encoder cannot be loaded.
    pub fn new(bundle: &Bundle, lexicon: Lexicon, g2p: Option<G2p>, blank_cost: f32) -> Result<Self> {
        Ok(Self {
            encoder: bundle.encoder(BackendChoice::default())?,
            frontend: bundle.manifest.frontend.clone(),
            pronouncer: Pronouncer::new(lexicon.clone(), g2p),
            lexicon,
            known: HashMap::new(),
            borders: Borders::default(),
            blank_cost,
        })
    }

    /// Log-posteriors of a recording, `[frames, 40]`, the encoder's delay taken out.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn posteriors(&mut self, audio: &[f32]) -> Result<Vec<f32>> {
        let spec = self.encoder.spec().clone();
        let (window, hop) = (self.frontend.window as usize, self.frontend.hop as usize);
        let frames = (audio.len().saturating_sub(window) / hop + 1).div_ceil(spec.stride);
        let total = (frames + spec.delay_frames).next_multiple_of(CHUNK);
        let mut padded = audio.to_vec();
        padded.resize((total * spec.stride - 1) * hop + window, 0.0);
        let features = log_mel(&self.frontend, &padded)?;
        self.encoder.reset();
        let mut out = EncoderOutput::default();
        let mut phones = Vec::with_capacity(total * spec.classes);
        for chunk in features.chunks_exact(CHUNK * spec.stride * spec.mels) {
            self.encoder.encode(chunk, &mut out)?;
            phones.extend_from_slice(&out.phones);
        }
        Ok(phones[spec.delay_frames * spec.classes..(spec.delay_frames + frames) * spec.classes].to_vec())
    }

    /// Pronunciations of each word of a transcript; `None` if one cannot be said.
    pub fn pronounce(&mut self, text: &str) -> Option<Vec<(String, Vec<Vec<Phone>>)>> {
        let bare = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'').to_lowercase();
        let mut out = Vec::new();
        for word in text.split_whitespace().map(bare).filter(|w| !w.is_empty()) {
            if !self.known.contains_key(&word) {
                let mut ways = self.lexicon.get(&word);
                if ways.is_empty() {
                    ways = self.pronouncer.resolve(&KeywordSpec::new(&word)).unwrap_or_default();
                }
                self.known.insert(word.clone(), ways);
            }
            let ways = self.known[&word].clone();
            if ways.is_empty() {
                return None;
            }
            out.push((word, ways));
        }
        (!out.is_empty()).then_some(out)
    }

    /// Words of a recording with their times, and the mean log-likelihood ratio a phone; `None` where the text does not
    /// fit into the recording or a word cannot be said.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn align(&mut self, audio: &[f32], text: &str) -> Result<Option<Found>> {
        let Some(words) = self.pronounce(text) else { return Ok(None) };
        let posteriors = self.posteriors(audio)?;
        let ways: Vec<_> = words.iter().map(|(_, ways)| ways.clone()).collect();
        let Some(found) = align(&posteriors, &ways, self.blank_cost) else { return Ok(None) };
        let rate = self.frontend.sample_rate as f32;
        let hop = self.frontend.hop as f32 / rate;
        // An encoder frame is centred on the first of its own feature frames (the stem sees two before it).
        let offset = self.frontend.window as f32 / rate / 2.0;
        let frame = self.encoder.spec().stride as f32 * hop;
        let times = self.borders.times(&found.words, frame, offset, audio.len() as f32 / rate);
        let words = words
            .into_iter()
            .zip(found.words)
            .zip(times)
            .map(|(((text, mut ways), place), (start, end))| Word {
                text,
                start,
                end,
                phones: ways.swap_remove(place.variant),
            })
            .collect();
        Ok(Some(Found { words, score: found.score }))
    }
}

/// Entries of lines `FILE TEXT`.
fn transcribed(path: &Path, split: &str) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let entry = |(i, line): (usize, &str)| {
        let (file, text) = line
            .trim()
            .split_once(char::is_whitespace)
            .with_context(|| format!("{}:{}: expected a file name, a space and its text", path.display(), i + 1))?;
        let (file, text) = (file.to_owned(), text.trim().to_lowercase());
        Ok(Entry { file, text, split: split.into(), source: "human".into(), ..Entry::default() })
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(entry).collect()
}

/// Listens to the `chosen` recordings on several threads; `None` is one that could not be read.
fn listen(
    args: &AlignArgs,
    entries: &[Entry],
    chosen: &[usize],
    aligner: impl Fn() -> Result<Aligner> + Sync,
) -> Result<Vec<(usize, Option<Heard>)>> {
    let bar = ProgressBar::new(chosen.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}")?);
    let (heard, _) = spread::over(chosen.len(), args.jobs, aligner, |aligner, i| {
        let entry = &entries[chosen[i]];
        let heard = match decode_16k(&args.corpus.join(&entry.file)) {
            Ok(audio) => Some(Heard { seconds: audio.len() as f32 / RATE, found: aligner.align(&audio, &entry.text)? }),
            Err(error) => {
                bar.suspend(|| log::warn!("left out: {error}"));
                None
            }
        };
        bar.inc(1);
        Ok((chosen[i], heard))
    })?;
    bar.finish_and_clear();
    Ok(heard)
}

/// Runs the command.
///
/// # Errors
/// If the bundle, dictionary or corpus cannot be read or the manifest cannot be written; recordings that cannot be
/// decoded are counted and named.
pub fn run(args: &AlignArgs) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let lexicon = if let Some(path) = &args.lexicon {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Lexicon::from_bytes(&Lexicon::pack(&read_cmudict(&text)?))?
    } else {
        Lexicon::from_bytes(bundle.file("lexicon.bin").context("give a dictionary with --lexicon")?)?
    };
    let g2p = || -> Result<Option<G2p>> {
        if let Some(path) = &args.g2p {
            let onnx = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            return Ok(Some(G2p::new(load_graph(onnx.into(), "g2p.onnx", BackendChoice::default())?)));
        }
        let listed = bundle.manifest.files.contains_key("g2p.onnx");
        Ok(listed.then(|| bundle.g2p_graph(BackendChoice::default())).transpose()?.map(G2p::new))
    };
    let mut entries = match &args.transcripts {
        Some(path) => transcribed(path, &args.split)?,
        None => Corpus::read(&args.corpus)?.entries,
    };
    ensure!(!entries.is_empty(), "{} has no recordings", args.corpus.display());
    let others = entries.iter().any(|e| !e.words.is_empty() && e.align_score.is_none());
    ensure!(
        args.compare || args.out.is_some() || !others,
        "{} has word times of another aligner; keep them and name another file with --out",
        args.corpus.join("manifest.jsonl").display()
    );
    let step = args.limit.map_or(1, |limit| entries.len().div_ceil(limit.max(1)));
    let chosen: Vec<usize> = (0..entries.len()).step_by(step).collect();
    let aligner = || Aligner::new(&bundle, lexicon.clone(), g2p()?, args.blank_cost);
    let mut report = Report::default();
    for (index, heard) in listen(args, &entries, &chosen, aligner)? {
        report.take(&mut entries[index], heard, args.min_score)?;
    }
    let deaf = report.is_deaf();
    report.log(args.min_score, args.compare);
    ensure!(!deaf, "none of the recordings in {} can be read; the manifest stays as it is", args.corpus.display());
    if !args.compare {
        let out = args.out.clone().unwrap_or_else(|| args.corpus.join("manifest.jsonl"));
        Corpus::write(&out, &entries)?;
        log::info!("{} lines in {}", entries.len(), out.display());
    }
    Ok(())
}
