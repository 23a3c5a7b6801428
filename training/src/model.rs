//! Models as trained. Here `stream`: both towers and the scalars of its objective.

mod jmcl;
mod mine;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::nn::{Init, VarStore};
use tch::{Device, Kind, Reduction, Tensor, no_grad};

use crate::data::Batch;
use crate::loss::{DwdVariant, Pairing, calibration_bce, clap, dwd, embedding_distance, posterior_divergence};
use crate::net::{Mode, Norm, StreamConfig, StreamNet, TextConfig, TextTower};

pub use jmcl::{JmclModel, JmclTerms};

/// A model whose variables can be saved, loaded and trained.
pub trait Variables {
    /// All variables.
    fn vars(&self) -> &VarStore;
}

impl Variables for StreamModel {
    fn vars(&self) -> &VarStore {
        &self.vars
    }
}

/// Weights of the terms of the objective; a term of weight 0 is not computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Phone CTC.
    pub ctc: f64,
    /// Audio-text contrast (CLAP).
    pub clap: f64,
    /// Calibrated binary cross-entropy.
    pub bce: f64,
    /// Audio-audio word discrimination.
    pub dwd: f64,
    /// Its form.
    pub dwd_variant: DwdVariant,
    /// The teacher's phones, where there is a teacher.
    pub distil_phones: f64,
    /// The teacher's windows, where there is a teacher.
    pub distil_windows: f64,
    /// Wrong windows that the model finds in the batch by itself, at the most (see [`mine`]); 0 for none.
    pub mined: i64,
    /// Steps without the terms of windows at the start.
    pub ctc_only_steps: u64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            ctc: 0.5,
            clap: 1.0,
            bce: 0.3,
            dwd: 0.2,
            dwd_variant: DwdVariant::Scaled,
            distil_phones: 0.5,
            distil_windows: 2.0,
            mined: 0,
            ctc_only_steps: 200,
        }
    }
}

/// Values of one step's terms, unweighted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Weighted sum.
    pub total: f64,
    /// Nats a phone.
    pub ctc: f64,
    /// CLAP term.
    pub clap: f64,
    /// Calibration term.
    pub bce: f64,
    /// DWD term.
    pub dwd: f64,
    /// The teacher's phones, nats a phone.
    pub distil_phones: f64,
    /// The teacher's windows.
    pub distil_windows: f64,
    /// Share of right windows whose own text is the nearest of all texts in the batch.
    pub top1: f64,
}

/// Both towers in one variable store.
pub struct StreamModel {
    /// All variables.
    pub vars: VarStore,
    /// Audio side.
    pub net: StreamNet,
    /// Text side.
    pub text: TextTower,
    clap_scale: Tensor,
    dwd_scale: Tensor,
    bce_w: Tensor,
    bce_b: Tensor,
}

impl StreamModel {
    /// Fresh weights on `device`.
    pub fn new(device: Device, stream: &StreamConfig, text: &TextConfig) -> Self {
        let vars = VarStore::new(device);
        let root = vars.root();
        let net = StreamNet::new(&root, stream);
        let tower = TextTower::new(&(&root / "text"), text, stream.parts, stream.dim);
        let scalar = |name: &str, value: f64| (&root / "loss").var(name, &[], Init::Const(value));
        let (clap_scale, dwd_scale) = (scalar("clap_log_scale", 14_f64.ln()), scalar("dwd_log_scale", 10_f64.ln()));
        let (bce_w, bce_b) = (scalar("bce_w", 10.0), scalar("bce_b", -5.0));
        Self { vars, net, text: tower, clap_scale, dwd_scale, bce_w, bce_b }
    }

    /// Calibration of the cosine: gain and bias of `logit = gain * cos + bias`.
    pub fn calibration(&self) -> (f64, f64) {
        (self.bce_w.softplus().double_value(&[]), self.bce_b.double_value(&[]))
    }

    /// Sets what [`StreamModel::calibration`] gives; `gain` is above 0.
    pub fn set_calibration(&self, gain: f64, bias: f64) {
        no_grad(|| {
            let [mut w, mut b] = [&self.bce_w, &self.bce_b].map(Tensor::shallow_clone);
            // softplus(w) = gain, without overflow
            let _ = w.fill_(gain + (-(-gain).exp()).ln_1p());
            let _ = b.fill_(bias);
        });
    }

    /// Whether `self` can teach `student`.
    ///
    /// # Errors
    /// Names the sizes that differ.
    pub fn check_student(&self, student: &StreamConfig) -> Result<()> {
        let own = self.net.config();
        for (name, a, b) in
            [("mels", own.mels, student.mels), ("parts", own.parts, student.parts), ("dim", own.dim, student.dim)]
        {
            ensure!(a == b, "the teacher's {name} are {a}, those of the run {b}: they must be the same");
        }
        Ok(())
    }

    /// Log posteriors `[frames, crops, classes]` and projections `[crops, K * part_dim, frames]` of a batch's frames.
    fn hear(&self, features: &Tensor, frames: i64, mode: Mode) -> (Tensor, Tensor) {
        let (logits, proj) = self.net.forward(features, mode);
        let delay = self.net.config().delay() as i64;
        let (logits, proj) = (logits.narrow(2, delay, frames), proj.narrow(2, delay, frames));
        (logits.permute([2, 0, 1]).log_softmax(-1, Kind::Float), proj)
    }

    /// The loss of a batch, whose clean crops a teacher may have heard.
    ///
    /// # Errors
    /// If there is a teacher and the batch holds nothing for it; a batch of the wrong shape panics inside libtorch.
    pub fn loss(
        &self,
        batch: &Batch,
        weights: &LossConfig,
        ctc_only: bool,
        mode: Mode,
        teacher: Option<&Self>,
    ) -> Result<(Tensor, Terms)> {
        let device = self.vars.device();
        let tensor = |features: &[f32]| Tensor::from_slice(features).view(batch.features_shape).to_device(device);
        let frames = batch.frames as i64;
        let (log_probs, proj) = self.hear(&tensor(&batch.features), frames, mode);
        ensure!(teacher.is_none() || !batch.clean.is_empty(), "the batch holds no crops for the teacher");
        let hear = |teacher: &Self| teacher.hear(&tensor(&batch.clean), frames, Mode { norm: Norm::Running, ..mode });
        let taught = teacher.map(|t| (t, no_grad(|| hear(t))));
        let ints = |v: &[i64]| Tensor::from_slice(v).to_device(device);
        let mut terms = Terms::default();
        let mut total = Tensor::zeros([], (Kind::Float, device));

        let lengths = vec![frames; batch.target_lengths.len()];
        let phones: i64 = batch.target_lengths.iter().sum();
        let ctc = Tensor::ctc_loss(
            &log_probs,
            &ints(&batch.targets),
            &lengths,
            &batch.target_lengths,
            0,
            Reduction::Sum,
            true,
        ) / phones.max(1) as f64;
        terms.ctc = ctc.double_value(&[]);
        total += ctc * weights.ctc;
        if let Some((_, (posteriors, _))) = taught.as_ref().filter(|_| weights.distil_phones > 0.0) {
            let term = posterior_divergence(&log_probs, posteriors) / phones.max(1) as f64;
            terms.distil_phones = term.double_value(&[]);
            total += term * weights.distil_phones;
        }

        if !ctc_only && !batch.right.is_empty() {
            let parts = self.net.config().parts;
            let crops = batch.features_shape[0];
            let pool =
                Tensor::from_slice(&batch.pool).view([crops, parts, frames, batch.windows as i64]).to_device(device);
            let rows = Tensor::cat(&[ints(&batch.right), ints(&batch.wrong), ints(&batch.background)], 0);
            let windows = self.net.windows(&proj, &pool, &rows);
            if let Some((teacher, (_, proj))) = taught.as_ref().filter(|_| weights.distil_windows > 0.0) {
                let term = embedding_distance(&windows, &no_grad(|| teacher.net.windows(proj, &pool, &rows)));
                terms.distil_windows = term.double_value(&[]);
                total += term * weights.distil_windows;
            }
            let (spans, strangers) = (batch.right.len() as i64, (batch.wrong.len() + batch.background.len()) as i64);
            let right = windows.narrow(0, 0, spans);
            let wrong = windows.narrow(0, spans, strangers);
            let texts = self.text.forward(&batch.texts, device, mode);
            let doubtful = marked(&batch.doubtful, strangers, batch.texts.len() as i64).to_device(device);
            let (wrong, doubtful) = if weights.mined > 0 {
                let mined = mine::mine(&self.net, &proj, &texts, batch, weights.mined, mode);
                (Tensor::cat(&[wrong, mined.windows], 0), Tensor::cat(&[doubtful, mined.doubtful], 0))
            } else {
                (wrong, doubtful)
            };
            let (text_of, wrong_text, keys) =
                (ints(&batch.right_text), ints(&batch.wrong_text), ints(&batch.text_keys));
            let pairing = Pairing {
                audio: &right,
                texts: &texts,
                wrong: &wrong,
                text_of: &text_of,
                wrong_text: &wrong_text,
                keys: &keys,
                doubtful: &doubtful,
            };
            if weights.clap > 0.0 {
                let term = clap(&pairing, &self.clap_scale.clamp(0.0, 4.6).exp());
                terms.clap = term.double_value(&[]);
                total += term * weights.clap;
            }
            if weights.bce > 0.0 && wrong.size()[0] > 0 {
                let term = calibration_bce(&pairing, &self.bce_w, &self.bce_b, 3);
                terms.bce = term.double_value(&[]);
                total += term * weights.bce;
            }
            if weights.dwd > 0.0 {
                let scale = self.dwd_scale.clamp(0.0, 4.6).exp();
                // Spellings of one word are one word here too.
                let term = dwd(&right, &keys.index_select(0, &text_of), &scale, weights.dwd_variant);
                terms.dwd = term.double_value(&[]);
                total += term * weights.dwd;
            }
            let nearest = right.detach().matmul(&texts.detach().tr()).argmax(1, false);
            terms.top1 = nearest.eq_tensor(&text_of).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        }
        terms.total = total.double_value(&[]);
        Ok((total, terms))
    }
}

/// Which pairs of a row and a column are in a list, `[rows, columns]`.
fn marked(pairs: &[(i64, i64)], rows: i64, columns: i64) -> Tensor {
    let mut marks = vec![false; (rows * columns) as usize];
    for &(row, column) in pairs {
        marks[(row * columns + column) as usize] = true;
    }
    Tensor::from_slice(&marks).view([rows, columns])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{AugmentConfig, BatchConfig, Batcher, Shape, testing::tiny_corpus};
    use crate::testing::seeded;
    use kws_live::frontend::FrontendConfig;

    #[test]
    fn a_teacher_has_nothing_to_say_to_itself_and_much_to_others() {
        let stream = |width, ahead: i64| StreamConfig { width, ahead: vec![ahead], ..StreamConfig::tiny() };
        let text = TextConfig::tiny();
        let _alone = seeded(3);
        let model = |config: &StreamConfig| StreamModel::new(Device::Cpu, config, &text);
        // The teacher is wider and looks further ahead.
        let (student, teacher) = (model(&stream(24, 1)), model(&stream(32, 2)));
        teacher.check_student(student.net.config()).expect("they fit");
        let (cache, corpus) = tiny_corpus();
        let shape = Shape { stride: 3, delay: 2, parts: 4 };
        let config = BatchConfig { crops: 4, ..BatchConfig::default() };
        let frontend = FrontendConfig::default();
        let mut batcher =
            Batcher::new(cache, &[corpus], config, AugmentConfig::none(), frontend, shape, 1).expect("words");
        let mut batch = batcher.batch(0).expect("a batch");
        batch.clean.clone_from(&batch.features);
        let weights = LossConfig { ctc: 0.0, clap: 0.0, bce: 0.0, dwd: 0.0, ..LossConfig::default() };
        let hear = |student: &StreamModel| {
            student.loss(&batch, &weights, false, Mode::EVAL, Some(&teacher)).expect("a batch that fits")
        };
        let (_, alone) = hear(&teacher);
        assert!(alone.distil_phones.abs() < 1e-4 && alone.distil_windows.abs() < 1e-5, "{alone:?}");
        let (loss, terms) = hear(&student);
        assert!(terms.distil_phones > 0.01 && terms.distil_windows > 0.1, "{terms:?}");
        loss.backward();
        let learns = |model: &StreamModel, name: &str| model.vars.variables()[name].grad().defined();
        assert!(learns(&student, "block0.up.weight") && !learns(&teacher, "block0.up.weight"));
        let other = StreamConfig { dim: 8, ..stream(24, 1) };
        let error = teacher.check_student(&other).expect_err("another space").to_string();
        assert!(error.contains("dim are 16"), "{error}");
    }
}
