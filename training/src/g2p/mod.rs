//! `kws-train g2p`: a small non-autoregressive grapheme-to-phoneme model, trained on a dictionary.

mod export;
mod lexicon;
mod net;
mod score;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kws_live::model::sha256;
use kws_live::text::Phone;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};

pub use export::{graph, prove};
pub use lexicon::{Headword, read};
pub use net::{G2pConfig, G2pNet, UPSAMPLE};
pub(crate) use score::distance;
pub use score::{Scores, score};

use crate::checkpoint;
use crate::optim::{OptimConfig, Optimizer};
use crate::whole;

/// Trains, scores and exports a grapheme-to-phoneme model; run again with the same folder to resume.
#[derive(Debug, clap::Args)]
pub struct G2pArgs {
    /// Dictionary in CMUdict's format.
    #[arg(long, default_value = "../shared/data/lexicon/cmudict.dict")]
    pub lexicon: PathBuf,
    /// Folder for checkpoint, g2p.onnx and g2p.json.
    #[arg(long, default_value = "runs/g2p")]
    pub out: PathBuf,
    /// Steps in all.
    #[arg(long, default_value_t = 6_000)]
    pub steps: u64,
    /// Pronunciations a step.
    #[arg(long, default_value_t = 256)]
    pub batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 3e-3)]
    pub rate: f64,
    /// Seed of weights and batches.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Compute threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: i32,
    /// Train nothing: score this g2p.onnx, as a bundle has it, on the held-out words.
    #[arg(long, value_name = "FILE")]
    pub score: Option<PathBuf>,
}

/// A spelling and one of its pronunciations.
struct Example<'a> {
    letters: &'a [i64],
    phones: &'a [Phone],
}

/// Output frames that CTC needs for a pronunciation: equal neighbours have a blank between them.
fn frames_needed(phones: &[Phone]) -> usize {
    phones.len() + phones.windows(2).filter(|p| p[0] == p[1]).count()
}

/// Batches of one epoch: random, but of words of like length, so that little is padded.
fn epoch<'a>(examples: &'a [Example<'a>], batch: usize, seed: u64) -> Vec<Vec<&'a Example<'a>>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut order: Vec<&Example<'_>> = examples.iter().collect();
    order.shuffle(&mut rng);
    for pool in order.chunks_mut(batch * 32) {
        pool.sort_by_key(|e| e.letters.len());
    }
    let mut batches: Vec<_> = order.chunks(batch).map(<[_]>::to_vec).collect();
    batches.shuffle(&mut rng);
    batches
}

/// CTC loss of a batch, nats a phone.
fn loss(net: &G2pNet, batch: &[&Example<'_>]) -> Tensor {
    let longest = batch.iter().map(|e| e.letters.len()).max().unwrap_or(0);
    let (mut ids, mut mask) = (vec![0_i64; batch.len() * longest], vec![0.0_f32; batch.len() * longest]);
    let (mut targets, mut lengths, mut frames) = (Vec::new(), Vec::new(), Vec::new());
    for (row, example) in batch.iter().enumerate() {
        let at = row * longest;
        ids[at..at + example.letters.len()].copy_from_slice(example.letters);
        mask[at..at + example.letters.len()].fill(1.0);
        targets.extend(example.phones.iter().map(|p| p.id() as i64));
        lengths.push(example.phones.len() as i64);
        frames.push(example.letters.len() as i64 * UPSAMPLE);
    }
    let ids = Tensor::from_slice(&ids).view([batch.len() as i64, -1]);
    let mask = Tensor::from_slice(&mask).view([batch.len() as i64, 1, -1]);
    let log_probs = net.forward(&ids, Some(&mask)).permute([2, 0, 1]).log_softmax(-1, Kind::Float);
    let phones = targets.len().max(1) as f64;
    Tensor::ctc_loss(&log_probs, &Tensor::from_slice(&targets), &frames, &lengths, 0, Reduction::Sum, true) / phones
}

/// Runs the command.
///
/// # Errors
/// If the dictionary or a checkpoint cannot be used, the loss stops being finite, or the exported graph does not
/// compute what was trained.
pub fn run(args: &G2pArgs) -> Result<()> {
    tch::set_num_threads(args.threads);
    tch::manual_seed(args.seed as i64);
    let (held_out, train): (Vec<Headword>, Vec<Headword>) =
        read(&args.lexicon)?.into_iter().partition(Headword::held_out);
    if let Some(file) = &args.score {
        let onnx = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        log::info!("{}", score(&onnx, &held_out)?);
        return Ok(());
    }
    let examples: Vec<Example<'_>> = train
        .iter()
        .flat_map(|w| w.phones.iter().map(|p| Example { letters: &w.letters, phones: p }))
        .filter(|e| frames_needed(e.phones) <= e.letters.len() * UPSAMPLE as usize)
        .collect();
    ensure!(!examples.is_empty(), "{} leaves nothing to train on", args.lexicon.display());
    ensure!(args.batch > 0, "--batch is 1 at least");
    fs::create_dir_all(&args.out)?;
    let config = G2pConfig::default();
    let vars = VarStore::new(Device::Cpu);
    let net = G2pNet::new(&vars.root(), &config);
    let weights: usize = vars.trainable_variables().iter().map(Tensor::numel).sum();
    log::info!(
        "{weights} weights; {} words with {} pronunciations, {} words held out",
        train.len(),
        examples.len(),
        held_out.len()
    );
    let optim = OptimConfig { rate: args.rate, clip: 1.0, ..OptimConfig::default() };
    let mut optimizer = Optimizer::new(vars.variables().into_iter().collect(), optim.clone());
    let newest = args.out.join(crate::fit::CHECKPOINT);
    let dictionary = sha256(&fs::read(&args.lexicon)?);
    let (seed, batch, rate, steps) = (args.seed, args.batch, args.rate, args.steps);
    let this = format!("lexicon {dictionary}, seed {seed}, batch {batch}, rate {rate}, steps {steps}\n");
    let run = args.out.join("run.txt");
    if newest.exists() {
        let shown = args.out.display();
        let begun = fs::read_to_string(&run).with_context(|| format!("{shown} does not say which run it holds"))?;
        ensure!(begun == this, "{shown} holds another run ({}): give another --out", begun.trim());
    } else {
        whole::write(&run, &this)?;
    }
    let first = if newest.exists() { checkpoint::load(&newest, &vars, Some(&mut optimizer))? } else { 0 };
    let bar =
        ProgressBar::new(args.steps).with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}")?);
    bar.set_position(first);
    if first > 0 {
        log::info!("goes on from step {first}");
    }
    let per_epoch = examples.len().div_ceil(args.batch) as u64;
    let (mut sum, mut count, mut batches, mut current) = (0.0, 0, Vec::new(), u64::MAX);
    for step in first..args.steps {
        if step / per_epoch != current {
            current = step / per_epoch;
            batches = epoch(&examples, args.batch, args.seed ^ (current << 20));
        }
        let value = loss(&net, &batches[(step % per_epoch) as usize]);
        optimizer.zero_grad();
        value.backward();
        let norm = optimizer.step(step, optim.rate_at(step, args.steps));
        let value = value.double_value(&[]);
        ensure!(norm.is_finite() && value.is_finite(), "step {step}: the loss is not finite; lower --rate");
        (sum, count) = (sum + value, count + 1);
        bar.inc(1);
        if (step + 1) % 100 == 0 {
            let line = format!("step {}: {:.4} nats a phone", step + 1, sum / f64::from(count));
            (sum, count) = (0.0, 0);
            bar.set_message(line.clone());
            if bar.is_hidden() {
                log::info!("{line}");
            }
        }
        if (step + 1) % 500 == 0 || step + 1 == args.steps {
            checkpoint::save(&newest, &vars, &optimizer, step + 1)?;
        }
    }
    bar.finish_and_clear();
    let (onnx, checks) = prove(&vars, &net, &config, args.seed)?;
    for check in checks {
        log::info!("{:<24} differs by {:.1e}", check.name, check.difference);
    }
    let scores = score(&onnx, &held_out)?;
    log::info!("{scores}");
    fs::write(args.out.join("g2p.onnx"), &onnx)?;
    fs::write(args.out.join("g2p.json"), serde_json::to_string_pretty(&scores)?)?;
    log::info!("{} bytes -> {}", onnx.len(), args.out.join("g2p.onnx").display());
    Ok(())
}
