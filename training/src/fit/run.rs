//! The loop itself, for any model with an objective.

use std::path::Path;

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tch::{Tensor, nn::VarStore};

use super::metrics::Metrics;
use super::{CHECKPOINT, FitArgs, FitConfig};
use crate::checkpoint::{load, save};
use crate::data::{Batch, BatchSource, Loader, WordBatch};
use crate::loss::{Objective, ObjectiveConfig};
use crate::model::{JmclModel, LossConfig, StreamModel, Variables};
use crate::net::{Mode, Norm};
use crate::optim::Optimizer;

/// A model with its objective.
pub(super) trait Trainee: Variables {
    /// One step's data.
    type Batch: Send + 'static;
    /// Names of the values that [`Trainee::loss`] returns; the first is the loss.
    const NAMES: &'static [&'static str];

    /// The loss of a batch, to go back from, and the values to report.
    fn loss(&self, batch: &Self::Batch, step: u64) -> Result<(Tensor, Vec<f64>)>;

    /// Seconds of audio in a batch.
    fn seconds(batch: &Self::Batch) -> f32;
}

/// The `stream` model and its terms.
pub(super) struct StreamTrainee<'a> {
    pub(super) model: StreamModel,
    pub(super) teacher: Option<StreamModel>,
    pub(super) loss: &'a LossConfig,
    pub(super) bf16: bool,
    /// Whether the run starts from weights that know phones already.
    pub(super) warm: bool,
}

impl Variables for StreamTrainee<'_> {
    fn vars(&self) -> &VarStore {
        &self.model.vars
    }
}

impl Trainee for StreamTrainee<'_> {
    type Batch = Batch;
    const NAMES: &'static [&'static str] =
        &["loss", "ctc", "clap", "bce", "dwd", "top1", "distil_phones", "distil_windows"];

    fn loss(&self, batch: &Batch, step: u64) -> Result<(Tensor, Vec<f64>)> {
        let ctc_only = step < self.loss.ctc_only_steps && !self.warm;
        let mode = Mode { norm: Norm::Batch, bf16: self.bf16 };
        let (loss, t) = self.model.loss(batch, self.loss, ctc_only, mode, self.teacher.as_ref())?;
        Ok((loss, vec![t.total, t.ctc, t.clap, t.bce, t.dwd, t.top1, t.distil_phones, t.distil_windows]))
    }

    fn seconds(batch: &Batch) -> f32 {
        batch.seconds
    }
}

/// The paper's towers and the objective asked for.
pub(super) struct JmclTrainee<'a> {
    pub(super) model: JmclModel,
    pub(super) objective: Objective,
    pub(super) weights: &'a ObjectiveConfig,
}

impl Variables for JmclTrainee<'_> {
    fn vars(&self) -> &VarStore {
        &self.model.vars
    }
}

impl Trainee for JmclTrainee<'_> {
    type Batch = WordBatch;
    const NAMES: &'static [&'static str] = &["loss", "text", "audio", "calibration", "text_top1", "audio_top1"];

    fn loss(&self, batch: &WordBatch, _step: u64) -> Result<(Tensor, Vec<f64>)> {
        let (loss, t) = self.model.loss(batch, self.objective, self.weights);
        Ok((loss, vec![t.total, t.text, t.audio, t.calibration, t.text_top1, t.audio_top1]))
    }

    fn seconds(batch: &WordBatch) -> f32 {
        batch.seconds
    }
}

/// Step a run goes on from, after its weights and its optimizer have been read.
fn start(trainee: &impl Trainee, optimizer: &mut Optimizer, checkpoint: &Path) -> Result<u64> {
    if checkpoint.exists() {
        let first = load(checkpoint, trainee.vars(), Some(optimizer))?;
        log::info!("resuming {} at step {first}", checkpoint.display());
        return Ok(first);
    }
    Ok(0)
}

/// Trains to the end of the run, or to where the arguments say.
pub(super) fn train<T: Trainee, S: BatchSource<Batch = T::Batch>>(
    trainee: &T,
    sources: Vec<S>,
    config: &FitConfig,
    args: &FitArgs,
) -> Result<()> {
    let variables = trainee.vars().variables().into_iter().filter(|(_, v)| v.requires_grad()).collect();
    let mut optimizer = Optimizer::new(variables, config.optim.clone());
    let checkpoint = args.out.join(CHECKPOINT);
    let first = start(trainee, &mut optimizer, &checkpoint)?;
    let last = args.until.unwrap_or(config.steps).min(config.steps);
    let mut loader = Loader::start(sources, first, last)?;
    let mut metrics = Metrics::open(&args.out.join("metrics.csv"), T::NAMES, first)?;
    let bar = ProgressBar::new(config.steps);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}")?);
    bar.set_position(first);
    let mut skipped = 0;
    for step in first..last {
        let batch = loader.take()?;
        let (loss, values) = trainee.loss(&batch, step)?;
        let rate = config.optim.rate_at(step, config.steps);
        let mut norm = f64::NAN;
        if values[0].is_finite() {
            optimizer.zero_grad();
            loss.backward();
            norm = optimizer.step(step, rate);
        }
        if !norm.is_finite() {
            skipped += 1;
            ensure!(skipped < 20, "loss or gradient were not finite in {skipped} steps; lower optim.rate");
            log::warn!("step {step}: loss or gradient not finite, step left out");
        } else if let Some(line) = metrics.add(step, rate, norm, &values, T::seconds(&batch))? {
            bar.set_message(line.clone());
            if bar.is_hidden() {
                log::info!("{line}");
            }
        }
        bar.inc(1);
        if (step + 1) % config.checkpoint_every == 0 || step + 1 == last {
            save(&checkpoint, trainee.vars(), &optimizer, step + 1)?;
        }
    }
    bar.finish();
    Ok(())
}
