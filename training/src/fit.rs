//! `kws-train fit`: the training loop, with checkpoints that a run can be resumed from to the bit.

mod init;
pub mod mean;
mod metrics;
mod run;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kws_live::frontend::FrontendConfig;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::data::prepare::corpora;
use crate::data::{AugmentConfig, Batch, BatchConfig, Batcher, Cache, Corpus, Shape, WordBatcher, WordsConfig};
use crate::loss::{Objective, ObjectiveConfig};
use crate::model::{JmclModel, LossConfig, StreamModel, Variables};
use crate::net::{JmclConfig, StreamConfig, TextConfig};
use crate::optim::OptimConfig;

/// Name of the newest checkpoint in a run's folder.
pub const CHECKPOINT: &str = "last.safetensors";

/// Which model a run trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Ours: causal convolutions over running speech; sections `stream`, `text`, `batch`, `loss`.
    #[default]
    Stream,
    /// The paper's towers over word segments; `objective`, sections `jmcl`, `words`, `terms`.
    Jmcl,
}

/// A training run, as its TOML file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitConfig {
    /// Which model.
    pub architecture: Architecture,
    /// What `jmcl` is trained on.
    pub objective: Objective,
    /// Steps in all.
    pub steps: u64,
    /// Seed of weights and batches.
    pub seed: u64,
    /// A `stream` bundle to learn from (`stream` only); the run starts with its text tower, if that is as large as its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Convolutions in bfloat16 (`stream` only), where the device computes it.
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
    /// Encoder of `stream`.
    pub stream: StreamConfig,
    /// Text tower of `stream`.
    pub text: TextConfig,
    /// Batches of `stream`.
    pub batch: BatchConfig,
    /// Augmentation; of it `jmcl`, which cuts single words, knows neither speeds, vocal tracts nor masks.
    pub augment: AugmentConfig,
    /// Objective of `stream`.
    pub loss: LossConfig,
    /// Towers of `jmcl`.
    pub jmcl: JmclConfig,
    /// Batches of `jmcl`.
    pub words: WordsConfig,
    /// Weights and constants of the objective of `jmcl`.
    pub terms: ObjectiveConfig,
    /// Optimizer.
    pub optim: OptimConfig,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            architecture: Architecture::default(),
            objective: Objective::default(),
            steps: 6_000,
            seed: 1,
            teacher: None,
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
            jmcl: JmclConfig::default(),
            words: WordsConfig::default(),
            terms: ObjectiveConfig::default(),
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
        let config: Self =
            toml::from_str(&text).with_context(|| format!("{} is not a training configuration", path.display()))?;
        for (name, count) in [("checkpoint_every", config.checkpoint_every), ("batch.crops", config.batch.crops as u64)]
        {
            ensure!(count > 0, "{}: {name} is 1 at least", path.display());
        }
        Ok(config)
    }

    /// Whether the network of `section` takes as many mel bands as the front end gives.
    fn check_mels(&self, section: &str, mels: i64) -> Result<()> {
        let given = self.frontend.mels;
        ensure!(i64::from(given) == mels, "frontend.mels is {given}, {section}.mels {mels}");
        Ok(())
    }

    /// Whether a run that `begun` configured can go on with this configuration: all that decides what is trained is the same. Where the
    /// data lies, how many threads cut it and how often a checkpoint is written may change.
    ///
    /// # Errors
    /// Names the first key that differs.
    fn continues(&self, begun: &Self) -> Result<()> {
        let same = Self {
            data: begun.data.clone(),
            extra: begun.extra.clone(),
            cache: begun.cache.clone(),
            loaders: begun.loaders,
            checkpoint_every: begun.checkpoint_every,
            ..self.clone()
        };
        let [now, then] = [&same, begun].map(toml::Table::try_from);
        let (now, then) = (now?, then?);
        let differs = |now: &toml::Table, then: &toml::Table| {
            let keys: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
            keys.into_iter().find(|key| now.get(*key) != then.get(*key)).cloned()
        };
        let Some(mut key) = differs(&now, &then) else { return Ok(()) };
        if let (Some(toml::Value::Table(now)), Some(toml::Value::Table(then))) = (now.get(&key), then.get(&key))
            && let Some(inner) = differs(now, then)
        {
            key = format!("{key}.{inner}");
        }
        bail!("its `{key}` is another")
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
    /// Start from these weights: the folder of a `stream` bundle, or a checkpoint of another run. Its encoder may have had fewer
    /// blocks and a narrower bottleneck
    #[arg(long)]
    pub init: Option<PathBuf>,
    /// Stop after this step, as if interrupted.
    #[arg(long)]
    pub until: Option<u64>,
    /// `cpu` or `cuda`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Compute threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: i32,
}

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
    let corpora = corpora(&config.data, &config.extra)?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let stored = args.out.join("config.toml");
    if args.out.join(CHECKPOINT).exists() && stored.exists() {
        config.continues(&FitConfig::read(&stored)?).with_context(|| {
            format!(
                "{} holds another run: give --out another folder, or --config {}",
                args.out.display(),
                stored.display()
            )
        })?;
    }
    fs::write(stored, toml::to_string(&config)?)?;
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
    match config.architecture {
        Architecture::Stream => fit_stream(config, cache, corpora, args, device),
        Architecture::Jmcl => fit_jmcl(config, cache, corpora, args, device),
    }
}

/// Whether bfloat16 is computed and not emulated, which is thirty times slower than single precision.
pub fn computes_bf16(device: Device) -> bool {
    #[cfg(target_arch = "x86_64")]
    let cpu = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    let cpu = std::arch::is_aarch64_feature_detected!("bf16");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let cpu = false;
    device.is_cuda() || cpu
}

/// What cuts the batches of a `stream` run, whose teacher looks `ahead` so many encoder frames (0 without one).
///
/// # Errors
/// If the corpora hold nothing to train on.
pub fn stream_batcher(config: &FitConfig, cache: &'static Cache, corpora: &[Corpus], ahead: usize) -> Result<Batcher> {
    let shape = Shape {
        stride: StreamConfig::STRIDE as usize,
        delay: config.stream.delay().max(ahead),
        parts: config.stream.parts as usize,
    };
    let (batch, augment, frontend) = (config.batch.clone(), config.augment.clone(), config.frontend.clone());
    Batcher::new(cache, corpora, batch, augment, frontend, shape, config.seed)
}

fn weights(model: &impl Variables) -> usize {
    model.vars().trainable_variables().iter().map(Tensor::numel).sum()
}

fn fit_stream(
    config: &FitConfig,
    cache: &'static Cache,
    corpora: &[Corpus],
    args: &FitArgs,
    device: Device,
) -> Result<()> {
    config.stream.check()?;
    let frame_seconds = StreamConfig::STRIDE as f32 * (config.frontend.hop as f32 / config.frontend.sample_rate as f32);
    ensure!(
        (frame_seconds - StreamConfig::FRAME_SECONDS).abs() < 1e-4,
        "frontend.hop makes encoder frames of {frame_seconds} s: `stream` is trained with {} s",
        StreamConfig::FRAME_SECONDS
    );
    config.check_mels("stream", config.stream.mels)?;
    for bundle in config.teacher.iter().chain(args.init.as_ref().filter(|i| i.is_dir())) {
        init::check_frontend(bundle, &config.frontend)?;
    }
    let model = StreamModel::new(device, &config.stream, &config.text);
    // A teacher may look further ahead.
    let ahead = config.teacher.as_deref().map(init::delay).transpose()?.unwrap_or_default();
    let mut batcher = stream_batcher(config, cache, corpora, ahead)?;
    if config.teacher.is_some() {
        batcher = batcher.taught();
    }
    let fresh = !args.out.join(CHECKPOINT).exists();
    let bundle = args.init.as_ref().filter(|i| fresh && i.is_dir());
    // For the statistics of what comes out of a bundle.
    let first = if bundle.is_some() || config.teacher.is_some() { batcher.batch(0)? } else { Batch::default() };
    let teach = |folder: &PathBuf| {
        let teacher = init::read_bundle(folder, device, &first)?;
        teacher.check_student(&config.stream)?;
        log::info!("learns from {}, {} weights", folder.display(), weights(&teacher));
        anyhow::Ok(teacher)
    };
    let teacher = config.teacher.as_ref().map(teach).transpose()?;
    if fresh {
        if let Some(checkpoint) = args.init.as_ref().filter(|i| !i.is_dir()) {
            init::check_checkpoint(checkpoint, &config.stream)?;
            init::from_checkpoint(checkpoint, &model.vars)?;
        }
        let text = teacher.as_ref().map(|t| init::text_tower(t, &model)).unwrap_or_default();
        if !text.is_empty() {
            log::info!("the text tower starts as the teacher's");
        }
        if let Some(bundle) = bundle {
            init::from_bundle(bundle, &model, &config.stream, &first, text)?;
            log::info!("weights from the bundle {}", bundle.display());
        } else {
            init::set(&model.vars, &text);
        }
    }
    let (utterances, themes) = batcher.sizes();
    log::info!("{} weights; {utterances} recordings with word times, {themes} words said by several", weights(&model));
    let bf16 = config.bf16 && computes_bf16(device);
    if bf16 != config.bf16 {
        log::warn!(
            "this processor has no bfloat16: the convolutions are computed in single precision, which is slower"
        );
    }
    let trainee = run::StreamTrainee { model, teacher, loss: &config.loss, bf16, warm: args.init.is_some() };
    run::train(&trainee, vec![batcher; config.loaders.max(1)], config, args)
}

fn fit_jmcl(
    config: &FitConfig,
    cache: &'static Cache,
    corpora: &[Corpus],
    args: &FitArgs,
    device: Device,
) -> Result<()> {
    ensure!(config.teacher.is_none(), "`teacher` is for the architecture `stream`: take it out of the configuration");
    config.check_mels("jmcl", config.jmcl.mels)?;
    ensure!(
        !args.init.as_ref().is_some_and(|i| i.is_dir()),
        "--init takes the folder of a `stream` bundle; for `jmcl` give it a checkpoint"
    );
    let model = JmclModel::new(device, &config.jmcl);
    if let Some(checkpoint) = args.init.as_ref().filter(|_| !args.out.join(CHECKPOINT).exists()) {
        init::from_checkpoint(checkpoint, &model.vars)?;
    }
    let (words, augment, frontend) = (config.words.clone(), config.augment.clone(), config.frontend.clone());
    let batcher = WordBatcher::new(cache, corpora, words, augment, frontend, config.seed)?;
    let (words, examples) = batcher.sizes();
    log::info!("{} weights; {words} words said {examples} times", weights(&model));
    let trainee = run::JmclTrainee { model, objective: config.objective, weights: &config.terms };
    run::train(&trainee, vec![batcher; config.loaders.max(1)], config, args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::tiny_corpus;
    use crate::testing::seeded;

    fn tiny(objective: Objective) -> FitConfig {
        FitConfig {
            architecture: Architecture::Jmcl,
            objective,
            steps: 40,
            frontend: FrontendConfig { hop: 400, ..FrontendConfig::default() },
            jmcl: JmclConfig { mels: 40, embed: 8, layers: 1, hidden: 12, fc: 16, dim: 8 },
            words: WordsConfig { words: 4, examples: 3, ..WordsConfig::default() },
            augment: AugmentConfig::none(),
            optim: OptimConfig { rate: 5e-3, warmup: 0.2, decay: 1e-4, clip: 1.0, ..OptimConfig::default() },
            ..FitConfig::default()
        }
    }

    fn run_to(config: &FitConfig, out: &Path, until: Option<u64>) {
        let _alone = seeded(config.seed as i64);
        let (cache, corpus) = tiny_corpus();
        let args =
            FitArgs { config: PathBuf::new(), out: out.into(), init: None, until, device: "cpu".into(), threads: 1 };
        fit(config, cache, &[corpus], &args, Device::Cpu).expect("a run");
    }

    #[test]
    fn a_run_goes_on_only_with_its_own_configuration() {
        let begun = FitConfig::default();
        let moved = FitConfig { data: "elsewhere".into(), loaders: 3, checkpoint_every: 10, ..begun.clone() };
        moved.continues(&begun).expect("nothing that matters has changed");
        let longer = FitConfig { steps: 9_000, ..begun.clone() };
        let wired =
            FitConfig { stream: StreamConfig { dilations: vec![2, 1], ..begun.stream.clone() }, ..begun.clone() };
        for (other, key) in [(longer, "`steps`"), (wired, "`stream.dilations`")] {
            let error = other.continues(&begun).expect_err(key).to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn every_objective_learns_four_tones() {
        use Objective::{Clap, ClapDwd, Contrastive, Dwd, Multiview, Siamese};
        for objective in [Clap, Dwd, ClapDwd, Siamese, Contrastive, Multiview] {
            let folder = tempfile::tempdir().expect("a folder");
            run_to(&tiny(objective), folder.path(), None);
            let csv = fs::read_to_string(folder.path().join("metrics.csv")).expect("metrics");
            let losses: Vec<f64> = csv
                .lines()
                .skip(1)
                .map(|l| l.split(',').nth(2).and_then(|v| v.parse().ok()).expect("a loss"))
                .collect();
            assert!(losses.len() == 2 && losses[1] < losses[0], "{objective:?}: {losses:?}");
        }
    }

    #[test]
    fn resumed_equals_straight() {
        let config = FitConfig { steps: 8, checkpoint_every: 3, ..tiny(Objective::ClapDwd) };
        let (straight, resumed) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        run_to(&config, straight.path(), None);
        run_to(&config, resumed.path(), Some(5));
        run_to(&config, resumed.path(), None);
        let read = |folder: &Path| {
            let mut all = Tensor::read_safetensors(folder.join(CHECKPOINT)).expect("a checkpoint");
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        for ((name, a), (_, b)) in read(straight.path()).iter().zip(&read(resumed.path())) {
            assert!(a.equal(b), "`{name}` differs");
        }
    }

    #[test]
    fn the_configurations_in_the_repository_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        for name in ["stream.toml", "taught.toml", "small.toml", "search.toml", "jmcl.toml"] {
            let config = FitConfig::read(&folder.join(name)).expect(name);
            config.stream.check().expect(name);
        }
        let far = StreamConfig { dilations: vec![1, 2], ahead: vec![1, 5], ..StreamConfig::default() };
        let error = far.check().expect_err("further than the block reaches").to_string();
        assert!(error.contains("ahead[1] is 5"), "{error}");
    }
}
