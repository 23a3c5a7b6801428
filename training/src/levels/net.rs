//! The network that foretells levels, and its graph.

use anyhow::{Result, ensure};
use kws_live::model::{LEVEL_FILE, LevelNet, load_graph};
use tch::nn::{self, Module, OptimizerConfig, VarStore};
use tch::{Device, Kind, Reduction, Tensor, no_grad};

use super::{Measured, digest};
use crate::export::{Check, Dim, GraphBuilder, backends, verdict};

/// Hidden units.
const HIDDEN: i64 = 96;
/// Passes over the texts, texts a step, and the rate at first.
const EPOCHS: i64 = 40;
const BATCH: i64 = 256;
const RATE: f64 = 3e-3;
/// One in so many texts is held out.
const HELD_OUT: u8 = 10;

/// A network with one hidden layer over the embedding and the logarithm of the number of phones, standardised.
pub struct Net {
    first: nn::Linear,
    last: nn::Linear,
    /// Means and standard deviations of the inputs, `[D + 1]`, and of the levels.
    inputs: (Tensor, Tensor),
    levels: (f64, f64),
}

/// How well levels are foretold.
#[derive(Debug, Clone, Copy)]
pub struct Fit {
    /// Texts that were not learned from.
    pub texts: usize,
    /// Standard deviation of their levels.
    pub spread: f64,
    /// Root mean square of what is not foretold.
    pub error: f64,
}

impl Net {
    /// Learns from all texts but those held out (by hash, so that they never change).
    ///
    /// # Errors
    /// If there are too few texts.
    pub fn learn(texts: &[Measured]) -> Result<(Self, Fit)> {
        ensure!(texts.len() >= 1_000, "{} texts are too few to learn from", texts.len());
        tch::manual_seed(1);
        let rows: Vec<f32> = texts.iter().flat_map(input).collect();
        let inputs = Tensor::from_slice(&rows).view([texts.len() as i64, -1]);
        let levels = Tensor::from_slice(&texts.iter().map(|t| t.level).collect::<Vec<_>>());
        let held: Vec<bool> = texts.iter().map(held_out).collect();
        let index = |want: bool| -> Tensor {
            let found = held.iter().zip(0_i64..).filter(|(held, _)| **held == want).map(|(_, i)| i);
            Tensor::from_slice(&found.collect::<Vec<_>>())
        };
        let (learned, held) = (index(false), index(true));
        let known = inputs.index_select(0, &learned);
        let wanted = levels.index_select(0, &learned);
        let vars = VarStore::new(Device::Cpu);
        let root = vars.root();
        let net = Self {
            first: nn::linear(&root / "first", inputs.size()[1], HIDDEN, nn::LinearConfig::default()),
            last: nn::linear(&root / "last", HIDDEN, 1, nn::LinearConfig::default()),
            inputs: (known.mean_dim(0, false, None), known.std_dim(0, true, false).clamp_min(1e-6)),
            levels: (wanted.mean(None).double_value(&[]), wanted.std(true).double_value(&[]).max(1e-6)),
        };
        let wanted = (wanted - net.levels.0) / net.levels.1;
        let mut optimizer = nn::AdamW { wd: 1e-3, ..nn::AdamW::default() }.build(&vars, RATE)?;
        let steps = known.size()[0] / BATCH;
        for epoch in 0..EPOCHS {
            let order = Tensor::randperm(known.size()[0], (Kind::Int64, Device::Cpu));
            for step in 0..steps {
                let done = (epoch * steps + step) as f64 / (EPOCHS * steps) as f64;
                optimizer.set_lr(RATE * (0.5 + 0.5 * (std::f64::consts::PI * done).cos()));
                let some = order.narrow(0, step * BATCH, BATCH);
                let out = net.standard(&known.index_select(0, &some));
                // A level that few false alarms tell may be far off.
                let loss = out.smooth_l1_loss(&wanted.index_select(0, &some), Reduction::Mean, 1.0);
                optimizer.backward_step(&loss);
            }
        }
        let (truth, told) = (levels.index_select(0, &held), net.forward(&inputs.index_select(0, &held)));
        let error = no_grad(|| (told - &truth).square().mean(None).sqrt().double_value(&[]));
        Ok((net, Fit { texts: held.size()[0] as usize, spread: truth.std(true).double_value(&[]), error }))
    }

    /// Standardised levels of inputs, `[N, D + 1]` to `[N]`.
    fn standard(&self, inputs: &Tensor) -> Tensor {
        let x = (inputs - &self.inputs.0) / &self.inputs.1;
        self.last.forward(&self.first.forward(&x).relu()).squeeze_dim(1)
    }

    /// Levels of inputs, `[N, D + 1]` to `[N]`.
    fn forward(&self, inputs: &Tensor) -> Tensor {
        self.standard(inputs) * self.levels.1 + self.levels.0
    }

    /// `level.onnx`, with what standardises in the weights; compared with tch for some of the texts.
    ///
    /// # Errors
    /// If a backend cannot run it or says something else.
    pub fn export(&self, texts: &[Measured]) -> Result<(Vec<u8>, Vec<Check>)> {
        let bias = |layer: &nn::Linear| layer.bs.as_ref().map_or_else(|| Tensor::from(0.0_f32), Tensor::shallow_clone);
        let (mean, scale) = &self.inputs;
        let first = (&self.first.ws / scale).tr();
        let first_bias = bias(&self.first) - mean.unsqueeze(0).matmul(&first).squeeze_dim(0);
        let last = self.last.ws.tr() * self.levels.1;
        let last_bias = bias(&self.last) * self.levels.1 + self.levels.0;
        let mut g = GraphBuilder::new("level");
        let mut constant = |name: &str, value: &Tensor| -> Result<String> {
            let shape: Vec<usize> = value.size().iter().map(|&n| n as usize).collect();
            Ok(g.weights(name, &shape, &Vec::<f32>::try_from(value.detach().contiguous().view([-1]))?))
        };
        let (w1, b1) = (constant("first.weight", &first)?, constant("first.bias", &first_bias)?);
        let (w2, b2) = (constant("last.weight", &last)?, constant("last.bias", &last_bias)?);
        let text = g.input("text", &[Dim::Fixed(1), Dim::Fixed(first.size()[0] as usize)]);
        let x = g.matmul(&text, &w1);
        let x = g.add(&x, &b1);
        let x = g.relu(&x);
        let x = g.matmul(&x, &w2);
        let x = g.add(&x, &b2);
        g.output(&x, "level", &[Dim::Fixed(1), Dim::Fixed(1)]);
        let onnx = g.finish();
        let mut checks = Vec::new();
        for choice in backends() {
            let mut graph = LevelNet::new(load_graph(onnx.clone().into(), LEVEL_FILE, choice)?);
            let mut difference = 0.0_f32;
            for text in texts.iter().step_by(texts.len().div_ceil(20)) {
                let row = Tensor::from_slice(&input(text).collect::<Vec<_>>()).view([1, -1]);
                let want = no_grad(|| self.forward(&row)).double_value(&[0]) as f32;
                difference = difference.max((graph.level(&text.embedding, text.phones.len())? - want).abs());
            }
            checks.push(Check { name: format!("{} level", choice.backend), difference });
        }
        Ok((onnx, verdict(checks)?))
    }
}

/// What the network sees of a text, `[D + 1]`, as [`LevelNet`] gives it.
fn input(text: &Measured) -> impl Iterator<Item = f32> {
    text.embedding.iter().copied().chain([(text.phones.len() as f32).ln()])
}

fn held_out(text: &Measured) -> bool {
    digest(&text.phones)[0].is_multiple_of(HELD_OUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::seeded;
    use kws_live::text::Phone;

    #[test]
    fn what_depends_on_embedding_and_length_is_foretold() {
        let _alone = seeded(1);
        let texts: Vec<Measured> = (0..3_000_usize)
            .map(|i| {
                let angle = i as f32 * 2.4;
                let phones: Vec<Phone> =
                    (0..3 + i % 9).filter_map(|p| Phone::from_id(1 + (i * 7 + p * 5) % 39)).collect();
                let level = 2.0 * angle.sin().abs() - (phones.len() as f32).ln() - 3.0;
                Measured { embedding: vec![angle.cos(), angle.sin()], level, phones }
            })
            .collect();
        let (net, fit) = Net::learn(&texts).expect("enough texts");
        assert!(fit.texts > 100 && fit.error < 0.25 * fit.spread, "{fit:?}");
        let (onnx, checks) = net.export(&texts).expect("the graph says the same");
        assert!(!onnx.is_empty() && !checks.is_empty());
        assert!(Net::learn(&texts[..10]).is_err());
    }
}
