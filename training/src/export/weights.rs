//! Named weights, with batch norms folded into the convolutions before them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};

use crate::net::BatchNorm;

/// All variables of a model as plain numbers.
pub struct Weights(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Weights {
    /// Copies every variable.
    ///
    /// # Errors
    /// If a variable is not a dense tensor of numbers.
    pub fn of(variables: impl IntoIterator<Item = (String, Tensor)>) -> Result<Self> {
        let copy = |(name, tensor): (String, Tensor)| {
            let shape = tensor.size().iter().map(|&d| d as usize).collect();
            let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
            let data = Vec::<f32>::try_from(flat).with_context(|| format!("`{name}`"))?;
            Ok((name, (shape, data)))
        };
        variables.into_iter().map(copy).collect::<Result<_>>().map(Self)
    }

    /// Shape and values of a variable.
    ///
    /// # Errors
    /// If there is none of that name, or it holds numbers that are not finite.
    pub fn get(&self, name: &str) -> Result<(&[usize], &[f32])> {
        let (shape, data) = self.0.get(name).with_context(|| format!("the model has no `{name}`"))?;
        ensure!(data.iter().all(|v| v.is_finite()), "`{name}` holds numbers that are not finite");
        Ok((shape, data))
    }

    /// Weight and bias of a convolution without bias that is followed by the batch norm `norm`: in inference
    /// `gamma (w x - mean) / sqrt(var + eps) + beta` is one convolution.
    ///
    /// # Errors
    /// As [`Weights::get`].
    pub fn folded(&self, conv: &str, norm: &str) -> Result<(Vec<usize>, Vec<f32>, Vec<f32>)> {
        let (shape, weight) = self.get(&format!("{conv}.weight"))?;
        let part = |name: &str| self.get(&format!("{norm}.{name}")).map(|(_, data)| data);
        let (gamma, beta, mean, var) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
        let per_channel = weight.len() / shape[0];
        let mut folded = weight.to_vec();
        let mut bias = Vec::with_capacity(shape[0]);
        for (c, row) in folded.chunks_exact_mut(per_channel).enumerate() {
            let scale = gamma[c] / (var[c] + BatchNorm::EPS as f32).sqrt();
            for w in row.iter_mut() {
                *w *= scale;
            }
            bias.push(beta[c] - mean[c] * scale);
        }
        Ok((shape.to_vec(), folded, bias))
    }
}
