//! `kws-train mean`: weights half-way between the bundle that a run started from and what the run came to.
//!
//! Where a run has won something and lost something else, weights between its ends keep most of both (model soups: Wortsman et al.,
//! arXiv 2203.05482). The statistics of the normalisation are no mean of both ends' and are taken anew (arXiv 1803.05407, section 3.2).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tch::nn::VarStore;
use tch::{Device, Tensor, no_grad};

use super::{Architecture, CHECKPOINT, FitConfig, init, stream_batcher};
use crate::checkpoint::{load, save};
use crate::data::prepare::corpora;
use crate::data::{Batch, Cache};
use crate::model::{StreamModel, Variables};
use crate::net::{Mode, Norm};
use crate::optim::Optimizer;

/// Writes the mean of a run's start and its end.
#[derive(Debug, clap::Args)]
pub struct MeanArgs {
    /// Folder of the run (`stream`): its configuration and its newest checkpoint.
    #[arg(long)]
    pub run: PathBuf,
    /// The bundle that it started from.
    #[arg(long)]
    pub start: PathBuf,
    /// Folder for the mean, as of a run: `export --run` takes it.
    #[arg(long)]
    pub out: PathBuf,
    /// Batches that the statistics of the normalisation are taken from.
    #[arg(long, default_value_t = 80)]
    pub batches: u64,
    /// Compute threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: i32,
}

/// Runs the command.
///
/// # Errors
/// If run, bundle or data cannot be used, or the folder cannot be written.
pub fn run(args: &MeanArgs) -> Result<()> {
    tch::set_num_threads(args.threads);
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    ensure!(
        real(&args.out) != real(&args.run),
        "--out is the run itself, whose checkpoint would be lost: give another folder"
    );
    let config = FitConfig::read(&args.run.join("config.toml"))?;
    ensure!(config.architecture == Architecture::Stream, "{} is no run of `stream`", args.run.display());
    let cache: &'static Cache = Box::leak(Box::new(Cache::read(&config.cache)?));
    let corpora = corpora(&config.data, &config.extra)?;
    let mut batcher = stream_batcher(&config, cache, &corpora, 0)?;
    let first = batcher.batch(0)?;
    // As `fit` began: what the bundle does not hold was drawn, and a teacher's text tower went before its own.
    tch::manual_seed(config.seed as i64);
    let model = StreamModel::new(Device::Cpu, &config.stream, &config.text);
    let text = match &config.teacher {
        Some(folder) => init::text_tower(&init::read_bundle(folder, Device::Cpu, &first)?, &model),
        None => BTreeMap::new(),
    };
    init::from_bundle(&args.start, &model, &config.stream, &first, text)?;
    let end = StreamModel::new(Device::Cpu, &config.stream, &config.text);
    let step = load(&args.run.join(CHECKPOINT), end.vars(), None)?;
    halfway(model.vars(), end.vars());
    for step in 0..args.batches {
        hear(&model, &batcher.batch(step)?);
    }
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    fs::write(args.out.join("config.toml"), toml::to_string(&config)?)?;
    save(&args.out.join(CHECKPOINT), model.vars(), &Optimizer::new(Vec::new(), config.optim), step)?;
    log::info!(
        "half-way from {} to step {step} of {}: {}",
        args.start.display(),
        args.run.display(),
        args.out.display()
    );
    Ok(())
}

/// Moves `vars` half of the way to `end`, which has the same variables.
fn halfway(vars: &VarStore, end: &VarStore) {
    let end = end.variables();
    no_grad(|| {
        for (name, mut value) in vars.variables() {
            let mean: Tensor = (&value + &end[&name]) * 0.5;
            value.copy_(&mean);
        }
    });
}

/// The encoder takes the statistics of a batch; the text tower has none.
fn hear(model: &StreamModel, batch: &Batch) {
    let mode = Mode { norm: Norm::Batch, bf16: false };
    let features = Tensor::from_slice(&batch.features).view(batch.features_shape);
    let _ = no_grad(|| model.net.forward(&features, mode));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{StreamConfig, TextConfig};
    use crate::testing::seeded;

    #[test]
    fn every_weight_is_between_its_ends() {
        let _alone = seeded(10);
        let stream = StreamConfig::tiny();
        let text = TextConfig::tiny();
        let model = || StreamModel::new(Device::Cpu, &stream, &text);
        let (start, end) = (model(), model());
        let before: BTreeMap<String, Tensor> = start.vars.variables().into_iter().map(|(n, v)| (n, v.copy())).collect();
        halfway(&start.vars, &end.vars);
        let others = end.vars.variables();
        for (name, mean) in start.vars.variables() {
            let ends: Tensor = &before[&name] + &others[&name];
            let difference = (ends - mean * 2.0).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "`{name}` is off by {difference}");
        }
        assert!(!start.vars.variables()["block0.up.weight"].equal(&before["block0.up.weight"]));
        // The statistics follow what is heard: louder features, larger variances.
        let frames = 60;
        let batch = |gain: f32| Batch {
            features: (0..2 * 40 * frames).map(|i| gain * ((i * 37 % 101) as f32 / 50.0 - 1.0)).collect(),
            features_shape: [2, 40, frames],
            ..Batch::default()
        };
        let variance = || start.vars.variables()["stem.bn.running_var"].mean(None).double_value(&[]);
        let mut last = 0.0;
        for gain in [1.0, 10.0] {
            (0..50).for_each(|_| hear(&start, &batch(gain)));
            assert!(variance() > 4.0 * last, "{} after {last}", variance());
            last = variance();
        }
    }
}
