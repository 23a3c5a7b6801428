//! First weights that are not random: out of a shipped bundle, so that training goes on where only the bundle has survived,
//! or out of the checkpoint of a run. The encoder may have been smaller.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kws_live::frontend::FrontendConfig;
use kws_live::model::Manifest;
use tch::nn::VarStore;
use tch::{Device, Tensor, no_grad};

use crate::data::Batch;
use crate::export::{Constant, constants};
use crate::fit::FitConfig;
use crate::model::{StreamModel, Variables};
use crate::net::{Mode, Norm, StreamConfig, TextConfig};

/// Sets the weights of `model` to a bundle's, whose encoder may have been smaller (see [`from_checkpoint`]); those of `other`
/// go before the bundle's own.
///
/// # Errors
/// If the folder holds no `stream` bundle of the model's sizes or smaller.
pub fn from_bundle(
    folder: &Path,
    model: &StreamModel,
    stream: &StreamConfig,
    batch: &Batch,
    other: BTreeMap<String, Tensor>,
) -> Result<()> {
    let saved = read_bundle(folder, model.vars.device(), batch)?;
    check_blocks(folder, stream, saved.net.config())?;
    let mut weights: BTreeMap<String, Tensor> = saved.vars.variables().into_iter().collect();
    weights.extend(other);
    grow(folder, &weights, &model.vars)
}

/// Whether a run's blocks begin as those of the weights it starts from: their shapes would not tell.
fn check_blocks(place: &Path, run: &StreamConfig, saved: &StreamConfig) -> Result<()> {
    let [run, saved] = [run, saved].map(|config| config.blocks().collect::<Vec<_>>());
    ensure!(
        run.starts_with(&saved),
        "{} has {} encoder blocks of (dilation, frames ahead) {saved:?}: those of the run must begin so",
        place.display(),
        saved.len()
    );
    Ok(())
}

/// Whether a `stream` run can start from a checkpoint, as far as the configuration beside that says.
///
/// # Errors
/// If that cannot be read, or its blocks are others.
pub fn check_checkpoint(path: &Path, stream: &StreamConfig) -> Result<()> {
    let beside = path.with_file_name("config.toml");
    if beside.exists() {
        check_blocks(path, stream, &FitConfig::read(&beside)?.stream)?;
    }
    Ok(())
}

/// The weights of a teacher's text tower, if the one of `model` has its sizes: a student that starts with them has the places of
/// the words that its windows are to come near.
pub fn text_tower(teacher: &StreamModel, model: &StreamModel) -> BTreeMap<String, Tensor> {
    let tower = |m: &StreamModel| -> BTreeMap<String, Tensor> {
        m.vars.variables().into_iter().filter(|(name, _)| name.starts_with("text.")).collect()
    };
    let sizes = |m: &StreamModel| -> Vec<Vec<i64>> { tower(m).values().map(Tensor::size).collect() };
    if sizes(teacher) == sizes(model) { tower(teacher) } else { BTreeMap::new() }
}

/// Sets those weights of `vars` that are in `weights`.
pub fn set(vars: &VarStore, weights: &BTreeMap<String, Tensor>) {
    let mut variables = vars.variables();
    no_grad(|| {
        for (name, weight) in weights {
            if let Some(variable) = variables.get_mut(name) {
                variable.copy_(weight);
            }
        }
    });
}

/// The model of a bundle, in its own sizes. Its convolutions hold the batch norms that they were trained with; those take new
/// statistics from `batch`, and the network computes what the bundle does.
///
/// What is not in a bundle (the scales of the contrasts) has its first value.
///
/// # Errors
/// If the folder holds no `stream` bundle.
pub fn read_bundle(folder: &Path, device: Device, batch: &Batch) -> Result<StreamModel> {
    let mut found = BTreeMap::new();
    for file in ["encoder.onnx", "window.onnx", "text.onnx"] {
        let path = folder.join(file);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        found.extend(constants(&bytes, file)?);
    }
    let manifest = manifest(folder)?;
    let (stream, text) =
        sizes(&manifest, &found).with_context(|| format!("{} is of another architecture", folder.display()))?;
    let model = StreamModel::new(device, &stream, &text);
    fill(folder, &found, &model)?;
    model.set_calibration(manifest.scorer.cos_scale.into(), manifest.scorer.cos_bias.into());
    let features = Tensor::from_slice(&batch.features).view(batch.features_shape).to_device(device);
    let _ = no_grad(|| model.net.forward(&features, Mode { norm: Norm::Adopt, bf16: false }));
    Ok(model)
}

/// Encoder frames by which the output of a `stream` bundle lags.
///
/// # Errors
/// If the folder holds none.
pub fn delay(folder: &Path) -> Result<usize> {
    Ok(manifest(folder)?.encoder_section()?.delay_frames)
}

/// Whether a bundle hears through the front end of a run.
///
/// # Errors
/// If it does not, or the folder holds none.
pub fn check_frontend(folder: &Path, frontend: &FrontendConfig) -> Result<()> {
    let own = manifest(folder)?.frontend;
    ensure!(own == *frontend, "{} hears through {own:?}, the run through {frontend:?}", folder.display());
    Ok(())
}

fn manifest(folder: &Path) -> Result<Manifest> {
    let text = fs::read_to_string(folder.join("manifest.toml"))
        .with_context(|| format!("cannot read the manifest of {}", folder.display()))?;
    toml::from_str(&text).with_context(|| format!("the manifest of {}", folder.display()))
}

/// Sizes of the towers whose weights were `found` in a bundle.
fn sizes(manifest: &Manifest, found: &BTreeMap<String, Constant>) -> Result<(StreamConfig, TextConfig)> {
    let size = |name: &str, dim: usize| {
        let (dims, _) = found.get(name).with_context(|| format!("there is no `{name}`"))?;
        dims.get(dim).copied().with_context(|| format!("`{name}` is {dims:?}"))
    };
    let encoder = manifest.encoder_section()?;
    let parts = encoder.parts.max(1) as i64;
    let stream = StreamConfig {
        mels: encoder.mels as i64,
        width: size("stem.conv.weight", 0)?,
        bottleneck: size("block0.down.weight", 0)?,
        // After the stem's, each block keeps the frames that its convolution looks back on: two dilations.
        dilations: encoder.states.iter().skip(1).map(|state| state[1] as i64 / 2).collect(),
        ahead: if encoder.ahead.is_empty() {
            vec![1; encoder.delay_frames]
        } else {
            encoder.ahead.iter().map(|a| *a as i64).collect()
        },
        parts,
        part_dim: encoder.part_dim as i64,
        dim: manifest.embedding.dim as i64,
    };
    let text = TextConfig {
        embed: size("text.embed.weight", 1)?,
        width: size("text.conv0.weight", 0)?,
        part_dim: size("text.proj.weight", 0)? / parts,
    };
    Ok((stream, text))
}

/// Sets the weights of `model` to those `found` in a bundle of its sizes.
fn fill(folder: &Path, found: &BTreeMap<String, Constant>, model: &StreamModel) -> Result<()> {
    no_grad(|| -> Result<()> {
        for (name, mut variable) in model.vars().variables() {
            let size = variable.size();
            let count = variable.numel();
            // A folded batch norm is its convolution's bias.
            let saved = match name.rsplit_once('.') {
                Some((norm, "bias")) if norm.ends_with("bn") || norm.contains(".bn") => folded_bias(norm),
                Some((norm, _)) if norm.ends_with("bn") || norm.contains(".bn") => continue,
                _ if name.starts_with("loss.") => continue,
                _ => name.clone(),
            };
            let Some((dims, values)) = found.get(&saved) else {
                bail!("{} has no `{saved}`: it is of another architecture", folder.display())
            };
            ensure!(
                values.len() == count,
                "`{saved}` is {dims:?} in {}, not {size:?}: give the run the sizes of the bundle",
                folder.display()
            );
            // Matrices are stored as MatMul takes them, transposed.
            let tensor = Tensor::from_slice(values).view(dims.as_slice());
            let transposed = ["window.weight", "text.out.weight"].contains(&name.as_str());
            variable.copy_(&if transposed { tensor.tr() } else { tensor });
        }
        Ok(())
    })
}

/// Sets the weights of `vars` to a checkpoint's. The blocks of its `stream` encoder may have been fewer and narrower: what is
/// new in the blocks starts so that the network computes what it did (Net2Net, Chen et al., arXiv 1511.05641, with residual blocks in
/// place of identity layers). New bottleneck channels are read by nobody yet, and the last batch norm of a new block
/// multiplies by zero; their other weights stay as they were drawn.
///
/// # Errors
/// If the file is not a checkpoint of this model or of a smaller one.
pub fn from_checkpoint(path: &Path, vars: &VarStore) -> Result<()> {
    let saved: BTreeMap<String, Tensor> = Tensor::read_safetensors(path)
        .with_context(|| format!("{} is no checkpoint", path.display()))?
        .into_iter()
        .collect();
    grow(path, &saved, vars)?;
    log::info!("weights from {}", path.display());
    Ok(())
}

/// Sets `vars` to the weights `saved` in `path`; see [`from_checkpoint`].
fn grow(path: &Path, saved: &BTreeMap<String, Tensor>, vars: &VarStore) -> Result<()> {
    no_grad(|| -> Result<()> {
        for (name, mut variable) in vars.variables() {
            let grows = name.starts_with("block");
            let Some(old) = saved.get(&name) else {
                ensure!(grows, "{} lacks `{name}`", path.display());
                if name.ends_with("bn2.weight") {
                    let _ = variable.zero_();
                }
                continue;
            };
            let (from, to) = (old.size(), variable.size());
            let fits = from.len() == to.len() && from.iter().zip(&to).all(|(a, b)| a == b || (grows && a < b));
            ensure!(fits, "`{name}` is {from:?} in {}, not {to:?}", path.display());
            // New inputs (dimension 1) count for nothing; new outputs stay as they were drawn.
            let mut corner = variable.shallow_clone();
            for (dim, &length) in from.iter().enumerate() {
                if dim == 1 && length < to[1] {
                    let _ = corner.narrow(1, length, to[1] - length).zero_();
                }
                corner = corner.narrow(dim as i64, 0, length);
            }
            corner.copy_(old);
        }
        Ok(())
    })
}

/// `block0.bn1` belongs to `block0.down`, `bn2` to `up`, `stem.bn` to `stem.conv`.
fn folded_bias(norm: &str) -> String {
    let conv = norm.replace(".bn1", ".down").replace(".bn2", ".up").replace("stem.bn", "stem.conv");
    format!("{conv}.bias")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{AugmentConfig, BatchConfig, Batcher, Shape, testing::tiny_corpus};
    use crate::export;
    use crate::testing::seeded;
    use tch::Kind;

    #[test]
    fn a_grown_encoder_computes_what_the_smaller_one_did_and_learns_with_all_its_weights() {
        let _alone = seeded(8);
        let text = TextConfig::tiny();
        let sized =
            |bottleneck, dilations| StreamConfig { bottleneck, dilations, ahead: vec![1], ..StreamConfig::tiny() };
        let model = |stream: &StreamConfig| StreamModel::new(Device::Cpu, stream, &text);
        let (young, grown) = (model(&sized(12, vec![1, 2])), model(&sized(20, vec![1, 2, 1])));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("young.safetensors");
        let named: Vec<(String, Tensor)> = young.vars.variables().into_iter().map(|(n, v)| (n, v.detach())).collect();
        Tensor::write_safetensors(&named, &path).expect("a file");
        from_checkpoint(&path, &grown.vars).expect("a smaller model");
        let x = Tensor::randn([4, 40, 60], (Kind::Float, Device::Cpu));
        let batch = Mode { norm: Norm::Batch, bf16: false };
        let run = |m: &StreamModel| m.net.forward(&x, batch).1;
        let worst = (run(&young) - run(&grown)).abs().max().double_value(&[]);
        assert!(worst < 1e-4, "differs by {worst}");
        let loss = run(&grown).square().mean(Kind::Float);
        loss.backward();
        for name in ["block0.up.weight", "block2.bn2.weight"] {
            let gradient = grown.vars.variables()[name].grad();
            let new = if name.contains("up") { gradient.narrow(1, 12, 8) } else { gradient };
            assert!(new.abs().max().double_value(&[]) > 0.0, "`{name}` does not learn");
        }
        let beside = |dilations| {
            let config = FitConfig { stream: sized(12, dilations), ..FitConfig::default() };
            std::fs::write(folder.path().join("config.toml"), toml::to_string(&config).expect("a configuration"))
                .expect("room on the disk");
            check_checkpoint(&path, grown.net.config())
        };
        check_checkpoint(&path, grown.net.config()).expect("nothing is known of it");
        beside(vec![1, 2]).expect("it begins so");
        let error = beside(vec![2, 1]).expect_err("other dilations").to_string();
        assert!(error.contains("[(2, 1), (1, 0)]"), "{error}");
        let wider = StreamConfig { width: 32, ..sized(12, vec![1, 2]) };
        let error = from_checkpoint(&path, &model(&wider).vars).expect_err("another width").to_string();
        assert!(error.contains("in "), "{error}");
    }

    #[test]
    fn a_bundle_gives_back_what_was_exported() {
        let _alone = seeded(9);
        let stream = StreamConfig { ahead: vec![1, 3], ..StreamConfig::tiny() };
        let text = TextConfig::tiny();
        let config = FitConfig { stream: stream.clone(), text: text.clone(), ..FitConfig::default() };
        let trained = StreamModel::new(Device::Cpu, &stream, &text);
        let (cache, corpus) = tiny_corpus();
        let shape = Shape { stride: 3, delay: stream.delay(), parts: 4 };
        let small = BatchConfig { crops: 4, ..BatchConfig::default() };
        let mut batcher =
            Batcher::new(cache, &[corpus], small, AugmentConfig::none(), config.frontend.clone(), shape, 1)
                .expect("words");
        let batch = batcher.batch(0).expect("a batch");
        let features = Tensor::from_slice(&batch.features).view(batch.features_shape);
        // Running statistics other than the first ones, as training leaves them.
        for _ in 0..20 {
            let _ = no_grad(|| trained.net.forward(&features, Mode { norm: Norm::Batch, bf16: false }));
        }
        trained.set_calibration(12.5, -6.25);
        let folder = tempfile::tempdir().expect("a folder");
        export::write(&trained, &config, folder.path(), "tiny", 1, true).expect("parity");
        let fresh = StreamModel::new(Device::Cpu, &stream, &text);
        from_bundle(folder.path(), &fresh, &stream, &batch, BTreeMap::new()).expect("the same sizes");
        let run = |model: &StreamModel| no_grad(|| model.net.forward(&features, Mode::EVAL).1);
        let worst = (run(&trained) - run(&fresh)).abs().max().double_value(&[]);
        assert!(worst < 1e-3, "differs by {worst}");
        let (gain, bias) = fresh.calibration();
        assert!((gain - 12.5).abs() < 1e-4 && (bias + 6.25).abs() < 1e-4, "{gain} {bias}");
        // In training mode too: the batch's statistics are those that were adopted.
        let trainee = no_grad(|| fresh.net.forward(&features, Mode { norm: Norm::Batch, bf16: false }).1);
        let worst = (trainee - run(&trained)).abs().max().double_value(&[]);
        assert!(worst < 1e-2, "differs by {worst} in training");
        let texts = [kws_live::text::parse_phones("K AE T").expect("ARPAbet")];
        let embed = |m: &StreamModel| no_grad(|| m.text.forward(&texts, Device::Cpu, Mode::EVAL));
        let worst = (embed(&trained) - embed(&fresh)).abs().max().to_kind(Kind::Double).double_value(&[]);
        assert!(worst < 1e-5, "texts differ by {worst}");
        // The text tower may be a teacher's, if it is as large.
        let teacher = StreamModel::new(Device::Cpu, &stream, &text);
        from_bundle(folder.path(), &fresh, &stream, &batch, text_tower(&teacher, &fresh)).expect("the same sizes");
        assert!(embed(&teacher).equal(&embed(&fresh)) && !embed(&teacher).equal(&embed(&trained)));
        let alone = StreamModel::new(Device::Cpu, &stream, &text);
        set(&alone.vars, &text_tower(&teacher, &alone));
        assert!(embed(&teacher).equal(&embed(&alone)) && !run(&teacher).equal(&run(&alone)));
        let wide = StreamModel::new(Device::Cpu, &stream, &TextConfig { width: 24, ..text.clone() });
        assert!(text_tower(&teacher, &wide).is_empty());
        // A larger encoder starts from it as well, also one that hears more before it speaks.
        let larger = StreamConfig { bottleneck: 16, dilations: vec![1, 2, 1], ahead: vec![1, 3, 2], ..stream };
        let grown = StreamModel::new(Device::Cpu, &larger, &text);
        from_bundle(folder.path(), &grown, &larger, &batch, BTreeMap::new()).expect("a larger encoder");
        let (before, later) = (run(&trained), run(&grown));
        let frames = before.size()[2] - 2;
        let worst = (before.narrow(2, 0, frames) - later.narrow(2, 2, frames)).abs().max().double_value(&[]);
        assert!(worst < 1e-3, "the larger one differs by {worst}");
        let shorter = StreamConfig { dilations: vec![1], ..larger };
        let short = StreamModel::new(Device::Cpu, &shorter, &text);
        let error =
            from_bundle(folder.path(), &short, &shorter, &batch, BTreeMap::new()).expect_err("too few").to_string();
        assert!(error.contains("has 2 encoder blocks"), "{error}");
    }
}
