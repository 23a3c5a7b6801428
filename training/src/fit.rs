//! `kws-train fit`: the training loop, with checkpoints that a run can be resumed from to the bit.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kws_live::frontend::FrontendConfig;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::checkpoint;
use crate::data::prepare::corpus_folders;
use crate::data::{AugmentConfig, BatchConfig, Batcher, Cache, Corpus, Loader, Shape};
use crate::model::{LossConfig, StreamModel, Terms};
use crate::net::{Mode, StreamConfig, TextConfig};
use crate::optim::{AdamW, OptimConfig};

/// A training run, as its TOML file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitConfig {
    /// Steps in all.
    pub steps: u64,
    /// Seed of weights and batches.
    pub seed: u64,
    /// Convolutions in bfloat16.
    pub bf16: bool,
    /// Threads that cut batches; they change nothing but the speed.
    pub loaders: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Data folder with one sub-folder a corpus.
    pub data: PathBuf,
    /// Further corpus folders.
    pub extra: Vec<PathBuf>,
    /// Cache that `prepare` wrote.
    pub cache: PathBuf,
    /// Front end.
    pub frontend: FrontendConfig,
    /// Encoder.
    pub stream: StreamConfig,
    /// Text tower.
    pub text: TextConfig,
    /// Batches.
    pub batch: BatchConfig,
    /// Augmentation.
    pub augment: AugmentConfig,
    /// Objective.
    pub loss: LossConfig,
    /// Optimizer.
    pub optim: OptimConfig,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            steps: 6_000,
            seed: 1,
            bf16: true,
            loaders: 1,
            checkpoint_every: 250,
            data: "../shared/data".into(),
            extra: Vec::new(),
            cache: "runs/cache".into(),
            frontend: FrontendConfig::default(),
            stream: StreamConfig::default(),
            text: TextConfig::default(),
            batch: BatchConfig::default(),
            augment: AugmentConfig::default(),
            loss: LossConfig::default(),
            optim: OptimConfig::default(),
        }
    }
}

impl FitConfig {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// Names the file, line and key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a training configuration", path.display()))
    }
}

/// Trains a model; run again with the same folder to resume.
#[derive(Debug, clap::Args)]
pub struct FitArgs {
    /// Configuration; every key has a default.
    #[arg(long)]
    pub config: PathBuf,
    /// Folder of the run: checkpoints, metrics.csv, config.toml.
    #[arg(long)]
    pub out: PathBuf,
    /// Start from these weights (a checkpoint of another run).
    #[arg(long)]
    pub init: Option<PathBuf>,
    /// Stop after this step, as if interrupted.
    #[arg(long)]
    pub until: Option<u64>,
    /// `cpu` or `cuda`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Compute threads.
    #[arg(long, default_value_t = 2)]
    pub threads: i32,
}

/// Name of the newest checkpoint in a run's folder.
pub const CHECKPOINT: &str = "last.safetensors";

/// Runs the command.
///
/// # Errors
/// If data, configuration or checkpoint cannot be used; the loss not being finite ends the run as well.
pub fn run(args: &FitArgs) -> Result<()> {
    let config = FitConfig::read(&args.config)?;
    tch::set_num_threads(args.threads);
    let device = match args.device.as_str() {
        "cpu" => Device::Cpu,
        "cuda" if tch::Cuda::is_available() => Device::Cuda(0),
        "cuda" => bail!("no CUDA device: link a libtorch with CUDA, or use --device cpu"),
        other => bail!("--device {other}: use cpu or cuda"),
    };
    let cache: &'static Cache = Box::leak(Box::new(Cache::read(&config.cache)?));
    let corpora =
        corpus_folders(&config.data, &config.extra)?.iter().map(|f| Corpus::read(f)).collect::<Result<Vec<_>>>()?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    fs::write(args.out.join("config.toml"), toml::to_string(&config)?)?;
    fit(&config, cache, &corpora, args, device)
}

/// The loop of [`run`] on data in memory.
///
/// # Errors
/// As [`run`].
pub fn fit(
    config: &FitConfig,
    cache: &'static Cache,
    corpora: &[Corpus],
    args: &FitArgs,
    device: Device,
) -> Result<()> {
    tch::manual_seed(config.seed as i64);
    let model = StreamModel::new(device, &config.stream, &config.text);
    let trainable = model.vars.variables().into_iter().filter(|(_, v)| v.requires_grad()).collect();
    let mut optimizer = AdamW::new(trainable, config.optim.clone());
    let newest = args.out.join(CHECKPOINT);
    let mut first = 0;
    if newest.exists() {
        first = checkpoint::load(&newest, &model.vars, Some(&mut optimizer))?;
        log::info!("resuming {} at step {first}", newest.display());
    } else if let Some(init) = &args.init {
        checkpoint::load(init, &model.vars, None)?;
        log::info!("weights from {}", init.display());
    }
    let last = args.until.unwrap_or(config.steps).min(config.steps);
    let shape = Shape {
        stride: StreamConfig::STRIDE as usize,
        delay: config.stream.delay(),
        parts: config.stream.parts as usize,
    };
    let batcher = || {
        let (batch, augment, frontend) = (config.batch.clone(), config.augment.clone(), config.frontend.clone());
        Batcher::new(cache, corpora, batch, augment, frontend, shape, config.seed)
    };
    let batchers = (0..config.loaders.max(1)).map(|_| batcher()).collect::<Result<Vec<_>>>()?;
    let (utterances, themes) = batchers[0].sizes();
    let weights: usize = model.vars.trainable_variables().iter().map(Tensor::numel).sum();
    log::info!("{weights} weights; {utterances} recordings with word times, {themes} words said by several");
    let mut loader = Loader::start(batchers, first, last)?;
    let mut metrics = Metrics::open(&args.out.join("metrics.csv"), first == 0)?;
    let bar = ProgressBar::new(config.steps);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}")?);
    bar.set_position(first);
    let mode = Mode { train: true, bf16: config.bf16 };
    let mut skipped = 0;
    for step in first..last {
        let batch = loader.next()?;
        let ctc_only = step < config.loss.ctc_only_steps && args.init.is_none();
        let (loss, terms) = model.loss(&batch, &config.loss, ctc_only, mode)?;
        optimizer.zero_grad();
        loss.backward();
        let rate = config.optim.rate_at(step, config.steps);
        let norm = optimizer.step(step, rate);
        if !norm.is_finite() || !terms.total.is_finite() {
            skipped += 1;
            ensure!(skipped < 20, "the gradient was not finite in {skipped} steps; lower optim.rate");
            log::warn!("step {step}: gradient not finite, step left out");
        }
        if let Some(line) = metrics.add(step, rate, norm, &terms, batch.seconds)? {
            bar.set_message(line.clone());
            if bar.is_hidden() {
                log::info!("{line}");
            }
        }
        bar.inc(1);
        if (step + 1) % config.checkpoint_every == 0 || step + 1 == last {
            checkpoint::save(&newest, &model.vars, &optimizer, step + 1)?;
        }
    }
    bar.finish();
    Ok(())
}

/// Means over 20 steps, as CSV.
struct Metrics {
    file: File,
    sums: [f64; 7],
    count: u32,
    seconds: f32,
    since: Instant,
}

impl Metrics {
    const EVERY: u32 = 20;

    fn open(path: &Path, fresh: bool) -> Result<Self> {
        let mut file = OpenOptions::new().create(true).append(!fresh).write(true).truncate(fresh).open(path)?;
        if fresh {
            writeln!(file, "step,rate,loss,ctc,clap,bce,dwd,top1,grad_norm,audio_seconds_per_second")?;
        }
        Ok(Self { file, sums: [0.0; 7], count: 0, seconds: 0.0, since: Instant::now() })
    }

    fn add(&mut self, step: u64, rate: f64, norm: f64, terms: &Terms, seconds: f32) -> Result<Option<String>> {
        let values = [terms.total, terms.ctc, terms.clap, terms.bce, terms.dwd, terms.top1, norm];
        self.sums.iter_mut().zip(values).for_each(|(s, v)| *s += v);
        self.count += 1;
        self.seconds += seconds;
        if self.count < Self::EVERY {
            return Ok(None);
        }
        let [loss, ctc, clap, bce, dwd, top1, norm] = self.sums.map(|s| s / f64::from(self.count));
        let speed = self.seconds / self.since.elapsed().as_secs_f32();
        writeln!(
            self.file,
            "{},{rate:.2e},{loss:.4},{ctc:.4},{clap:.4},{bce:.4},{dwd:.4},{top1:.4},{norm:.3},{speed:.0}",
            step + 1
        )?;
        (self.sums, self.count, self.seconds, self.since) = ([0.0; 7], 0, 0.0, Instant::now());
        Ok(Some(format!(
            "step {}: loss {loss:.3} ctc {ctc:.3} clap {clap:.3} bce {bce:.3} dwd {dwd:.3} top1 {top1:.3} |g| {norm:.2} {speed:.0} s/s",
            step + 1
        )))
    }
}
