//! Optimizers whose state can be saved: tch's own cannot be resumed.
//!
//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) for everything, or Muon (Jordan et al., 2024) for the matrices and filters
//! named in [`OptimConfig::muon`]: their momentum is brought near an orthogonal matrix by Newton-Schulz steps, so that every
//! direction of the update counts alike, and scaled to the size that AdamW's updates have (Liu et al., arXiv 2502.16982, eq. 4), so that
//! one rate serves both.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

/// Learning-rate schedule and decay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// Peak learning rate.
    pub rate: f64,
    /// Share of the steps that the rate rises for (cosine), before it falls to zero (cosine).
    pub warmup: f64,
    /// Decoupled weight decay, on matrices and filters only.
    pub decay: f64,
    /// Largest gradient norm.
    pub clip: f64,
    /// First letters of the names of the filters that Muon moves; AdamW moves the others.
    pub muon: Vec<String>,
    /// Root mean square of Muon's updates, in rates; AdamW's is about 0.2.
    pub muon_size: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self { rate: 2.5e-3, warmup: 0.1, decay: 1e-3, clip: 2.0, muon: Vec::new(), muon_size: 0.2 }
    }
}

impl OptimConfig {
    /// One-cycle rate at `step` of `steps`.
    pub fn rate_at(&self, step: u64, steps: u64) -> f64 {
        let x = step as f64 / steps.max(1) as f64;
        let wave = |t: f64| 0.5 - 0.5 * (std::f64::consts::PI * t).cos();
        if x < self.warmup {
            self.rate * (0.04 + 0.96 * wave(x / self.warmup))
        } else {
            self.rate * (1.0 - wave((x - self.warmup) / (1.0 - self.warmup))).max(1e-3)
        }
    }
}

struct Slot {
    name: String,
    value: Tensor,
    first: Tensor,
    /// Adam's second moment; none where Muon is at work.
    second: Option<Tensor>,
    decays: bool,
}

/// AdamW, with Muon for some of the variables.
pub struct Optimizer {
    slots: Vec<Slot>,
    config: OptimConfig,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.98;
/// Momentum of Muon.
const MOMENTUM: f64 = 0.95;

/// Brings the singular values of a matrix near 1, by five Newton-Schulz steps of the fifth degree.
fn orthogonalise(matrix: &Tensor) -> Tensor {
    let tall = matrix.size()[0] > matrix.size()[1];
    let x = if tall { matrix.tr() } else { matrix.shallow_clone() };
    let x = &x / (x.square().sum(Kind::Float).sqrt() + 1e-7);
    // Every step multiplies by a polynomial in the Gram matrix, and those commute: products of the small side are enough.
    let gram = x.matmul(&x.tr());
    let mut product = Tensor::eye(gram.size()[0], (Kind::Float, gram.device()));
    for _ in 0..5 {
        let gram = product.matmul(&gram).matmul(&product);
        let polynomial = &gram * -4.7750 + gram.matmul(&gram) * 2.0315;
        let _ = polynomial.diagonal(0, 0, 1).g_add_scalar_(3.4445);
        product = polynomial.matmul(&product);
    }
    let x = product.matmul(&x);
    if tall { x.tr() } else { x }
}

impl Optimizer {
    /// An optimizer over named trainable variables.
    pub fn new(mut variables: Vec<(String, Tensor)>, config: OptimConfig) -> Self {
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let slots = variables
            .into_iter()
            .map(|(name, value)| {
                let zeros = || value.zeros_like().detach();
                let decays = value.dim() > 1;
                let muon = decays && config.muon.iter().any(|start| name.starts_with(start));
                Slot { decays, first: zeros(), second: (!muon).then(zeros), name, value }
            })
            .collect();
        Self { slots, config }
    }

    /// Clears the gradients.
    pub fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.value.zero_grad();
        }
    }

    /// One step; `step` counts from 0. Returns the gradient norm before clipping.
    pub fn step(&mut self, step: u64, rate: f64) -> f64 {
        no_grad(|| {
            let squares: Vec<Tensor> = self
                .slots
                .iter()
                .filter(|s| s.value.grad().defined())
                .map(|s| s.value.grad().square().sum(Kind::Float))
                .collect();
            if squares.is_empty() {
                return 0.0;
            }
            let norm = Tensor::stack(&squares, 0).sum(Kind::Float).sqrt().double_value(&[]);
            if !norm.is_finite() {
                return norm;
            }
            let scale = (self.config.clip / (norm + 1e-6)).min(1.0);
            let t = (step + 1) as f64;
            let (fix1, fix2) = (1.0 - BETA1.powf(t), 1.0 - BETA2.powf(t));
            for slot in &mut self.slots {
                let grad = slot.value.grad();
                if !grad.defined() {
                    continue;
                }
                let grad = grad * scale;
                if slot.decays {
                    slot.value *= 1.0 - rate * self.config.decay;
                }
                let update = if let Some(second) = &mut slot.second {
                    let _ = slot.first.lerp_(&grad, 1.0 - BETA1);
                    *second *= BETA2;
                    *second += grad.square() * (1.0 - BETA2);
                    &slot.first / fix1 / ((&*second / fix2).sqrt() + 1e-8)
                } else {
                    let _ = slot.first.lerp_(&grad, 1.0 - MOMENTUM);
                    let ahead = grad.lerp(&slot.first, MOMENTUM);
                    let matrix = ahead.flatten(1, -1);
                    let longer = matrix.size().into_iter().max().unwrap_or(1) as f64;
                    orthogonalise(&matrix).view_as(&slot.value) * (self.config.muon_size * longer.sqrt())
                };
                slot.value -= update * rate;
            }
            norm
        })
    }

    /// Its state by name, for a checkpoint.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |s: &Slot| {
            let second = s.second.as_ref().map(|t| (format!("optim.second.{}", s.name), t.copy()));
            [Some((format!("optim.first.{}", s.name), s.first.copy())), second].into_iter().flatten()
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// Takes a state back.
    ///
    /// # Errors
    /// If a variable's state is missing.
    pub fn restore(&mut self, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        for slot in &mut self.slots {
            for (kind, target) in [("first", Some(&mut slot.first)), ("second", slot.second.as_mut())] {
                let Some(target) = target else { continue };
                let name = format!("optim.{kind}.{}", slot.name);
                let saved = find(&name).with_context(|| format!("the checkpoint lacks `{name}`"))?;
                target.copy_(&saved);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::seeded;
    use tch::Device;

    #[test]
    fn orthogonal_updates_move_every_direction_alike() {
        let _alone = seeded(2);
        for shape in [[6, 40], [40, 6]] {
            // Singular values a hundred times apart.
            let stretch = Tensor::from_slice(&[100.0_f32, 10.0, 1.0, 3.0, 30.0, 1.0]);
            let tall = Tensor::randn([40, 6], (Kind::Float, Device::Cpu)) * &stretch;
            let matrix = if shape[0] < shape[1] { tall.tr() } else { tall };
            let (_, values, _) = orthogonalise(&matrix).svd(true, true);
            let (low, high) = (values.min().double_value(&[]), values.max().double_value(&[]));
            assert!(low > 0.3 && high < 1.4, "{low} to {high}");
        }
    }

    #[test]
    fn one_step_of_both_rules_by_hand() {
        let variable = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (filters, head) = (variable(&[1, 3, 3]), variable(&[1, 9]));
        let config = OptimConfig { decay: 0.0, clip: 1e9, muon: vec!["block".into()], ..OptimConfig::default() };
        let named = vec![("block0.down".into(), filters.shallow_clone()), ("head".into(), head.shallow_clone())];
        let mut optimizer = Optimizer::new(named, config);
        (filters.sum(Kind::Float) * 2.0 + head.sum(Kind::Float) * 2.0).backward();
        let norm = optimizer.step(0, 0.1);
        assert!((norm - (18.0_f64 * 4.0).sqrt()).abs() < 1e-4, "{norm}");
        // Adam's first step is the rate in every weight. A single row has one direction, whose singular value five steps
        // bring from 1 to about 0.7: a ninth part of its square in each weight, times 0.2 sqrt(9).
        let moved = |v: &Tensor| v.abs().max().double_value(&[]);
        assert!((moved(&head) - 0.1).abs() < 1e-4, "{}", moved(&head));
        let mut value = 1.0_f64;
        for _ in 0..5 {
            value = 3.4445 * value - 4.7750 * value.powi(3) + 2.0315 * value.powi(5);
        }
        let want = 0.1 * 0.2 * 9.0_f64.sqrt() * value / 3.0;
        assert!((moved(&filters) - want).abs() < 1e-4, "{}, by hand {want}", moved(&filters));
        assert_eq!(optimizer.state().len(), 3, "Muon keeps one moment, Adam two");
    }
}
