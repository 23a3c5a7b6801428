//! The `jmcl` model as trained: the paper's towers and the scalars of its objectives.

use tch::nn::{Init, VarStore};
use tch::{Device, Kind, Tensor};

use super::Variables;
use crate::data::WordBatch;
use crate::loss::{Objective, ObjectiveConfig};
use crate::net::{JmclConfig, JmclNet};

/// Values of one step, unweighted.
#[derive(Debug, Clone, Copy, Default)]
pub struct JmclTerms {
    /// The objective.
    pub total: f64,
    /// Its audio-text term.
    pub text: f64,
    /// Its audio-audio term.
    pub audio: f64,
    /// Cross-entropy of the calibrated score.
    pub calibration: f64,
    /// Share of examples whose own text is the nearest of the batch.
    pub text_top1: f64,
    /// Share of examples whose nearest other example is of the same word.
    pub audio_top1: f64,
}

/// Both towers in one variable store.
pub struct JmclModel {
    /// All variables.
    pub vars: VarStore,
    /// The towers.
    pub net: JmclNet,
    clap_scale: Tensor,
    dwd_scale: Tensor,
    gain: Tensor,
    bias: Tensor,
}

/// The calibration's scalars are a tenth of what they stand for, so that a rate made for weights moves them fast enough.
const CALIBRATION_UNIT: f64 = 10.0;

impl JmclModel {
    /// Fresh weights on `device`.
    pub fn new(device: Device, config: &JmclConfig) -> Self {
        let vars = VarStore::new(device);
        let root = vars.root();
        let net = JmclNet::new(&root, config);
        let scalar = |name: &str, value: f64| (&root / "loss").var(name, &[], Init::Const(value));
        let (clap_scale, dwd_scale) = (scalar("clap_log_scale", 14_f64.ln()), scalar("dwd_log_scale", 10_f64.ln()));
        // softplus(gain) = 1, times the unit.
        let (gain, bias) = (scalar("calibration_gain", (1_f64.exp() - 1.0).ln()), scalar("calibration_bias", -0.5));
        Self { vars, net, clap_scale, dwd_scale, gain, bias }
    }

    /// Calibration of the cosine: gain and bias of `logit = gain * cos + bias`.
    pub fn calibration(&self) -> (f64, f64) {
        let value = |t: &Tensor| t.double_value(&[]) * CALIBRATION_UNIT;
        (value(&self.gain.softplus()), value(&self.bias))
    }

    /// The objective of a batch, to go back from, and its terms.
    ///
    /// The calibration is learned beside it from the detached cosines (audio with texts, or audio with audio for an
    /// objective without texts): the towers are trained on the paper's losses and nothing else.
    pub fn loss(&self, batch: &WordBatch, objective: Objective, config: &ObjectiveConfig) -> (Tensor, JmclTerms) {
        let device = self.vars.device();
        let features = Tensor::from_slice(&batch.features).view(batch.shape).to_device(device);
        let audio = self.net.audio(&features, &batch.lengths);
        let texts = self.net.text(&batch.texts, device);
        let scale = |s: &Tensor| s.clamp(0.0, 4.6).exp();
        let terms = objective.compute(config, &audio, &texts, &scale(&self.clap_scale), &scale(&self.dwd_scale));

        let (audio, texts) = (audio.detach(), texts.detach());
        let words = texts.size()[0];
        let ids = Tensor::arange(words, (Kind::Int64, device));
        let word_of = ids.repeat_interleave_self_int(audio.size()[0] / words, None, None);
        let with_texts = audio.matmul(&texts.tr());
        let with_audio = audio.matmul(&audio.tr());
        let itself = Tensor::eye(audio.size()[0], (Kind::Bool, device));
        let share =
            |nearest: &Tensor| nearest.eq_tensor(&word_of).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        let text_top1 = share(&with_texts.argmax(1, false));
        let neighbour = with_audio.masked_fill(&itself, -2.0).argmax(1, false);
        let audio_top1 = share(&word_of.index_select(0, &neighbour));

        // An example and itself are no pair.
        let (cosine, same, other) = if objective.has_text() {
            let same = word_of.unsqueeze(1).eq_tensor(&ids.unsqueeze(0));
            let other = same.logical_not();
            (with_texts, same, other)
        } else {
            let same = word_of.unsqueeze(1).eq_tensor(&word_of.unsqueeze(0));
            let other = same.logical_not();
            (with_audio, same.logical_and(&itself.logical_not()), other)
        };
        let logit = (cosine * self.gain.softplus() + &self.bias) * CALIBRATION_UNIT;
        // Right and wrong pairs weigh the same in all.
        let right = (-logit.masked_select(&same)).softplus().mean(Kind::Float);
        let wrong = logit.masked_select(&other).softplus().mean(Kind::Float);
        let calibration = (right + wrong) * 0.5;
        let terms_out = JmclTerms {
            total: terms.total.double_value(&[]),
            text: terms.text,
            audio: terms.audio,
            calibration: calibration.double_value(&[]),
            text_top1,
            audio_top1,
        };
        (terms.total + calibration, terms_out)
    }
}

impl Variables for JmclModel {
    fn vars(&self) -> &VarStore {
        &self.vars
    }
}
