//! Checkpoints: all variables, the optimizer's state and the step in one safetensors file.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::optim::Optimizer;
use crate::whole::Partial;

/// Writes a checkpoint, replacing the file only when the new one is whole.
///
/// # Errors
/// If the folder cannot be written.
pub fn save(path: &Path, vars: &VarStore, optimizer: &Optimizer, step: u64) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> = vars.variables().into_iter().map(|(n, v)| (n, v.detach())).collect();
    tensors.extend(optimizer.state());
    tensors.push(("step".into(), Tensor::from_slice(&[step as i64])));
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().map(|(n, t)| (n, t.to_device(Device::Cpu))).collect();
    Partial::new(path, |partial| Tensor::write_safetensors(&tensors, partial))?.publish()
}

/// Reads a checkpoint into variables and, where given, the optimizer; returns the step it was written at.
///
/// # Errors
/// If the file is not a checkpoint of this model.
pub fn load(path: &Path, vars: &VarStore, optimizer: Option<&mut Optimizer>) -> Result<u64> {
    let tensors = Tensor::read_safetensors(path).with_context(|| format!("{} is no checkpoint", path.display()))?;
    let find = |name: &str| tensors.iter().find(|(n, _)| n == name).map(|(_, t)| t.shallow_clone());
    tch::no_grad(|| -> Result<()> {
        for (name, mut value) in vars.variables() {
            let saved = find(&name).with_context(|| format!("{} lacks `{name}`", path.display()))?;
            ensure!(
                saved.size() == value.size(),
                "`{name}` is {:?} in {}, not {:?}",
                saved.size(),
                path.display(),
                value.size()
            );
            value.copy_(&saved);
        }
        if let Some(optimizer) = optimizer {
            optimizer.restore(find)?;
        }
        Ok(())
    })?;
    Ok(find("step").map_or(0, |s| s.to_kind(Kind::Int64).int64_value(&[0]) as u64))
}
