//! `kws-train levels`: foretells, from its embedding alone, how high the scores of a text rise in speech that does not hold it.
//!
//! Some words sound like much that people say, others like nothing else: with one threshold for all, the former bring the false
//! alarms and the latter are missed. Normalising by what a model of the target scores on other speech is known from speaker
//! verification (zero normalisation: Auckenthaler et al., Digital Signal Processing 10, 2000). Here the other speech is the training
//! speech, and what thousands of texts reach in it is learned by a small network, so that a typed word needs neither the speech nor a table.

mod measure;
mod net;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use kws_live::model::{Bundle, LEVEL_FILE};
use kws_live::text::{Lexicon, Phone};
use kws_live::words::{RIVALS_FILE, unpack_rivals};
use sha2::{Digest, Sha256};

pub use measure::{Measured, measure};
pub use net::{Fit, Net};

use crate::data::prepare::corpus_folders;
use crate::eval::recordings::{Half, Recording, hours, read};
use crate::export::{add_file, compact_graph};

/// Texts have so many phones.
const PHONES: std::ops::RangeInclusive<usize> = 2..=30;

/// Learns a bundle's levels from the training speech.
#[derive(Debug, clap::Args)]
pub struct LevelsArgs {
    /// Folder with one sub-folder a corpus, each with its manifest.jsonl; their `train` splits are heard.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// The bundle; the weights of cosine and path are those of its manifest.
    #[arg(long)]
    pub model: PathBuf,
    /// Hours of speech, drawn evenly.
    #[arg(long, default_value_t = 4.0)]
    pub hours: f64,
    /// False alarms an hour at which levels are read off.
    #[arg(long, default_value_t = 2.0)]
    pub rate: f64,
    /// Words of the lexicon, drawn by hash, beside those that are said.
    #[arg(long, default_value_t = 20_000)]
    pub words: usize,
    /// Phrases: half of words that follow one another in the speech, half of words that do not.
    #[arg(long, default_value_t = 6_000)]
    pub phrases: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// A draw that never changes.
fn digest(phones: &[Phone]) -> [u8; 32] {
    Sha256::digest(phones.iter().map(|p| p.id() as u8).collect::<Vec<u8>>()).into()
}

/// The first `most` by hash, so that the draw never changes.
fn drawn(texts: impl IntoIterator<Item = Vec<Phone>>, most: usize) -> Vec<Vec<Phone>> {
    let mut all: Vec<_> = texts.into_iter().collect();
    all.sort_by_cached_key(|phones| digest(phones));
    all.dedup();
    all.truncate(most);
    all
}

/// The texts to listen for, sorted: what is said often, words of the lexicon, phrases of two and three words.
fn texts(bundle: &Bundle, recordings: &[Recording], args: &LevelsArgs) -> Result<Vec<Vec<Phone>>> {
    let lexicon = Lexicon::from_bytes(bundle.file("lexicon.bin")?)?;
    let mut all: BTreeSet<Vec<Phone>> = match bundle.file(RIVALS_FILE) {
        Ok(packed) => unpack_rivals(packed)?.into_iter().collect(),
        Err(_) => BTreeSet::new(),
    };
    all.extend(drawn(lexicon.pronunciations(), args.words));
    let spoken = || recordings.iter().map(|r| &r.words[..]);
    let joined = |words: &[crate::data::Word]| words.iter().flat_map(|w| w.phones.iter().copied()).collect();
    let following = spoken().flat_map(|words| [2, 3].into_iter().flat_map(|n| words.windows(n)).map(joined));
    all.extend(drawn(following, args.phrases / 2));
    let words: Vec<&[Phone]> = spoken().flatten().map(|w| &w.phones[..]).collect();
    let (firsts, seconds) = (words.iter(), words.iter().cycle().skip(words.len() / 2));
    all.extend(drawn(firsts.zip(seconds).map(|(a, b)| [*a, *b].concat()), args.phrases - args.phrases / 2));
    Ok(all.into_iter().filter(|phones| PHONES.contains(&phones.len())).collect())
}

/// Runs the command.
///
/// # Errors
/// If corpora or bundle cannot be read, or a file cannot be written.
pub fn run(args: &LevelsArgs) -> Result<()> {
    let bundle = Bundle::load(&args.model)?;
    let all = read(&corpus_folders(&args.data, &[])?, "train", Half::All)?;
    let every = ((hours(&all) / args.hours).round() as usize).max(1);
    let recordings: Vec<Recording> = all.into_iter().step_by(every).collect();
    let texts = texts(&bundle, &recordings, args)?;
    log::info!("{} texts over {} recordings, {:.2} h", texts.len(), recordings.len(), hours(&recordings));
    let measured = measure(&bundle, &texts, &recordings, args.rate, args.threads)?;
    let (net, fit) = Net::learn(&measured)?;
    log::info!("{} texts held out: levels spread by {:.3}, foretold within {:.3}", fit.texts, fit.spread, fit.error);
    let (onnx, checks) = net.export(&measured)?;
    let (onnx, compacted) = compact_graph(&onnx, LEVEL_FILE, 1)?;
    for check in checks.into_iter().chain(compacted) {
        log::info!("{:<24} differs by {:.1e}", check.name, check.difference);
    }
    add_file(&args.model, LEVEL_FILE, &onnx)?;
    log::info!("{} kB -> {}; calibrate the bundle anew", onnx.len() / 1000, args.model.display());
    Ok(())
}
