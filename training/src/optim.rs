//! AdamW whose state can be saved: tch's own optimizers cannot be resumed.

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
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self { rate: 2.5e-3, warmup: 0.1, decay: 1e-3, clip: 2.0 }
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
    second: Tensor,
    decays: bool,
}

/// Decoupled weight decay Adam (Loshchilov and Hutter, arXiv 1711.05101).
pub struct AdamW {
    slots: Vec<Slot>,
    config: OptimConfig,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.98;

impl AdamW {
    /// An optimizer over named trainable variables.
    pub fn new(mut variables: Vec<(String, Tensor)>, config: OptimConfig) -> Self {
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let slots = variables
            .into_iter()
            .map(|(name, value)| {
                let (first, second) = (value.zeros_like().detach(), value.zeros_like().detach());
                Slot { decays: value.dim() > 1, name, value, first, second }
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
                let _ = slot.first.lerp_(&grad, 1.0 - BETA1);
                slot.second *= BETA2;
                slot.second += grad.square() * (1.0 - BETA2);
                if slot.decays {
                    slot.value *= 1.0 - rate * self.config.decay;
                }
                let update = &slot.first / ((&slot.second / fix2).sqrt() + 1e-8);
                slot.value -= update * (rate / fix1);
            }
            norm
        })
    }

    /// Its state by name, for a checkpoint.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |s: &Slot| {
            [(format!("adamw.first.{}", s.name), s.first.copy()), (format!("adamw.second.{}", s.name), s.second.copy())]
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// Takes a state back.
    ///
    /// # Errors
    /// If a variable's state is missing.
    pub fn restore(&mut self, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        for slot in &mut self.slots {
            for (kind, target) in [("first", &mut slot.first), ("second", &mut slot.second)] {
                let name = format!("adamw.{kind}.{}", slot.name);
                let saved = find(&name).with_context(|| format!("the checkpoint lacks `{name}`"))?;
                target.copy_(&saved);
            }
        }
        Ok(())
    }
}
