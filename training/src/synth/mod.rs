//! `kws-train synth`: a corpus of synthetic speech, for words that no recording holds.

mod script;
mod voice;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kws_live::audio::{MODEL_RATE, decode_16k};
use rand::SeedableRng;
use rand::rngs::SmallRng;

pub use script::{Script, plain};
pub use voice::{Engine, Voice};

use crate::data::prepare::corpus_folders;
use crate::data::{Corpus, Entry};
use crate::g2p;
use crate::spread;

/// Makes a corpus of synthetic speech; `kws-train align` then gives it word times.
#[derive(Debug, clap::Args)]
pub struct SynthArgs {
    /// Folder of the corpus.
    #[arg(long)]
    pub out: PathBuf,
    /// Hours of speech.
    #[arg(long, default_value_t = 2.5)]
    pub hours: f64,
    /// Seed of sentences and voices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Dictionary that words are drawn from, in CMUdict's format.
    #[arg(long, default_value = "../shared/data/lexicon/cmudict.dict")]
    pub lexicon: PathBuf,
    /// Recorded corpora; words that are rare in them are said more often.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Synthesisers at work at once.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
}

/// Sentences spoken between two looks at how much there is.
const ROUND: usize = 100;

/// How often the train split holds each word.
fn word_counts(data: &Path) -> Result<HashMap<String, u32>> {
    let mut counts = HashMap::new();
    for folder in corpus_folders(data, &[])? {
        for entry in Corpus::read(&folder)?.entries.iter().filter(|e| e.split == "train") {
            for word in entry.text.split_whitespace() {
                *counts.entry(word.to_lowercase()).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

/// Speaks sentence `index`; `None` where the synthesiser gave nothing that can be used.
fn utter(index: usize, seed: u64, script: &Script, engines: &[(Engine, f32)], out: &Path) -> Result<Option<Entry>> {
    let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index as u64);
    let (sentence, voice) = (script.sentence(&mut rng), Voice::draw(&mut rng, engines));
    let file = format!("{:02}/{index:06}.wav", index / 1_000);
    let path = out.join(&file);
    fs::create_dir_all(out.join(format!("{:02}", index / 1_000)))?;
    let raw = path.with_extension("raw.wav");
    voice.speak(&sentence, &raw)?;
    let audio = decode_16k(&raw);
    fs::remove_file(&raw)?;
    let audio = match audio {
        Ok(audio) => audio,
        Err(error) => {
            log::warn!("left out: {error}");
            return Ok(None);
        }
    };
    let seconds = audio.len() as f32 / MODEL_RATE as f32;
    let peak = audio.iter().fold(0.0_f32, |m, s| m.max(s.abs()));
    if !(0.4..30.0).contains(&seconds) || peak < 0.01 {
        log::warn!("left out: {} said `{sentence}` in {seconds:.2} s with a peak of {peak:.3}", voice.program());
        return Ok(None);
    }
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: MODEL_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer =
        hound::WavWriter::create(&path, spec).with_context(|| format!("cannot write {}", path.display()))?;
    // Synthesisers differ by 20 dB; one peak for all, and the augmentation sets the level.
    for sample in &audio {
        writer.write_sample((sample * 0.7 / peak * 32_767.0).round() as i16)?;
    }
    writer.finalize()?;
    Ok(Some(Entry {
        file,
        speaker: voice.speaker(),
        split: "train".into(),
        seconds: (seconds * 100.0).round() / 100.0,
        text: plain(&sentence),
        source: voice.program().into(),
        ..Entry::default()
    }))
}

/// Runs the command.
///
/// # Errors
/// If there is no synthesiser, one fails, or the corpus cannot be written.
pub fn run(args: &SynthArgs) -> Result<()> {
    let manifest = args.out.join("manifest.jsonl");
    ensure!(
        !manifest.exists(),
        "{} holds a corpus already: delete it or give another folder, then `align` and `prepare` the new one",
        args.out.display()
    );
    ensure!(args.hours > 0.0, "--hours is more than 0");
    let engines = Engine::found();
    ensure!(!engines.is_empty(), "none of flite, pico2wave and espeak-ng is on PATH; install one");
    log::info!("speaking with {:?}", engines.iter().map(|(e, _)| e).collect::<Vec<_>>());
    let dictionary = g2p::read(&args.lexicon)?;
    let script = Script::new(dictionary.iter().map(|w| w.word.as_str()), &word_counts(&args.data)?)?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let wanted = args.hours * 3_600.0;
    let bar = ProgressBar::new(wanted as u64).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} s {eta}")?);
    let mut entries: Vec<Entry> = Vec::new();
    let mut seconds = 0.0;
    let mut first = 0;
    // Rounds of a fixed size, so that the corpus does not depend on the number of jobs.
    while seconds < wanted {
        let (round, _) = spread::over(
            ROUND,
            args.jobs,
            || Ok(()),
            |(), i| utter(first + i, args.seed, &script, &engines, &args.out),
        )?;
        let before = entries.len();
        entries.extend(round.into_iter().flatten());
        ensure!(entries.len() > before, "none of {ROUND} sentences in a row could be spoken");
        seconds = entries.iter().map(|e| f64::from(e.seconds)).sum();
        bar.set_position(seconds as u64);
        first += ROUND;
    }
    bar.finish_and_clear();
    entries.sort_by(|a, b| a.file.cmp(&b.file));
    Corpus::write(&manifest, &entries)?;
    log::info!("{} sentences, {:.2} h in {}", entries.len(), seconds / 3_600.0, args.out.display());
    Ok(())
}
