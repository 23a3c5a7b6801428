//! `kws-train export`: a trained model to a bundle, with proof of parity.

mod compact;
mod graph;
mod jmcl;
mod parity;
mod stream;
mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kws_live::detect::ScorerConfig;
use kws_live::model::{
    Bundle, EmbeddingSection, EncoderSection, FileEntry, LEVEL_FILE, Manifest, TextSection, TowersSection, sha256,
};
use kws_live::text::{CLASSES, SYMBOLS};
use kws_live::words::{BIGRAMS_FILE, RIVALS_FILE};
use tch::Device;

pub(crate) use compact::{Constant, constants};
pub use graph::{Dim, GraphBuilder, OPSET};
pub use jmcl::write as write_jmcl;
pub use parity::{Check, TOLERANCE, check, difference};
pub(crate) use parity::{backends, verdict};
pub use weights::Weights;

use crate::checkpoint::load;
use crate::fit::{Architecture, CHECKPOINT, FitConfig};
use crate::model::{JmclModel, StreamModel};
use crate::net::StreamConfig;
use crate::whole;

/// Writes a bundle from a run's newest checkpoint.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Folder of the run.
    #[arg(long)]
    pub run: PathBuf,
    /// Folder of the bundle; g2p.onnx and lexicon.bin in it are kept and listed.
    #[arg(long)]
    pub out: PathBuf,
    /// The model's name.
    #[arg(long, default_value = "default")]
    pub name: String,
    /// Keep the weights in single precision: files four times as long.
    #[arg(long)]
    pub single: bool,
}

/// Runs the command.
///
/// # Errors
/// If the checkpoint cannot be read, or the graphs do not compute what the model does: then nothing is replaced.
pub fn run(args: &ExportArgs) -> Result<()> {
    let config = FitConfig::read(&args.run.join("config.toml"))?;
    let checkpoint = args.run.join(CHECKPOINT);
    let (checks, step) = match config.architecture {
        Architecture::Stream => {
            let model = StreamModel::new(Device::Cpu, &config.stream, &config.text);
            let step = load(&checkpoint, &model.vars, None)?;
            (write(&model, &config, &args.out, &args.name, step, args.single)?, step)
        }
        Architecture::Jmcl => {
            let model = JmclModel::new(Device::Cpu, &config.jmcl);
            let step = load(&checkpoint, &model.vars, None)?;
            (write_jmcl(&model, &config, &args.out, &args.name, step, args.single)?, step)
        }
    };
    for check in checks {
        log::info!("{:<24} differs by {:.1e}", check.name, check.difference);
    }
    log::info!("{} at step {step} -> {}", checkpoint.display(), args.out.display());
    Ok(())
}

/// Writes and proves a `stream` bundle, with weights in eight bits or `single` precision; scorer and training notes of an older manifest
/// in the folder are kept.
///
/// # Errors
/// As [`run`].
pub fn write(
    model: &StreamModel,
    config: &FitConfig,
    out: &Path,
    name: &str,
    step: u64,
    single: bool,
) -> Result<Vec<Check>> {
    let weights = Weights::of(model.vars.variables())?;
    let s = &config.stream;
    let parts = s.parts as usize;
    let files: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        ("encoder.onnx".into(), stream::encoder(&weights, s)?),
        ("window.onnx".into(), stream::window(&weights)?),
        ("text.onnx".into(), stream::text(&weights, parts)?),
    ]);
    let encoder = EncoderSection {
        mels: s.mels as usize,
        stride: StreamConfig::STRIDE as usize,
        delay_frames: s.delay(),
        ahead: s.blocks().map(|(_, ahead)| ahead as usize).collect(),
        classes: CLASSES,
        parts,
        part_dim: s.part_dim as usize,
        states: stream::state_shapes(s),
    };
    let parts = Parts {
        kind: "stream",
        encoder: Some(encoder),
        towers: None,
        dim: s.dim as usize,
        scorer: ScorerConfig::default(),
        calibration: model.calibration(),
        files,
    };
    publish(parts, config, out, name, step, single, |bundle| check(model, bundle, config.seed))
}

/// What differs between bundles of one kind and another.
struct Parts {
    kind: &'static str,
    encoder: Option<EncoderSection>,
    towers: Option<TowersSection>,
    dim: usize,
    /// Scoring parameters of a bundle that had none.
    scorer: ScorerConfig,
    calibration: (f64, f64),
    files: BTreeMap<String, Vec<u8>>,
}

/// Writes a bundle once `prove` has found nothing against it, nor what shortens its weights. What an older manifest of the same kind says
/// of scorer and training is kept, and so are the text files in the folder; its scores were those of other weights.
fn publish(
    parts: Parts,
    config: &FitConfig,
    out: &Path,
    name: &str,
    step: u64,
    single: bool,
    prove: impl FnOnce(&Bundle) -> Result<Vec<Check>>,
) -> Result<Vec<Check>> {
    let folder = out.file_name().with_context(|| format!("{}: give the folder by its name", out.display()))?;
    let Parts { kind, encoder, towers, dim, scorer, calibration: (scale, bias), mut files } = parts;
    for extra in ["g2p.onnx", "lexicon.bin", RIVALS_FILE, BIGRAMS_FILE] {
        if let Ok(bytes) = fs::read(out.join(extra)) {
            files.insert(extra.into(), bytes);
        }
    }
    let old = out.join("manifest.toml").exists().then(|| read_manifest(out)).transpose()?.filter(|m| m.kind == kind);
    let mut scorer = old.as_ref().map_or(scorer, |m| m.scorer.clone());
    (scorer.cos_scale, scorer.cos_bias) = (scale as f32, bias as f32);
    if old.as_ref().is_some_and(|m| m.files.contains_key(LEVEL_FILE)) {
        log::warn!("{LEVEL_FILE} was learned from other weights and is left out; run levels, then calibrate");
        let ScorerConfig { fusion, ways, alone, .. } = ScorerConfig::default();
        (scorer.fusion, scorer.ways, scorer.alone) = (fusion, ways, alone);
    }
    let mut training = old.as_ref().map(|m| m.training.clone()).unwrap_or_default();
    training.insert("steps".into(), toml::Value::Integer(step as i64));
    let manifest = Manifest {
        format: 1,
        name: name.into(),
        kind: kind.into(),
        licence: "MIT OR Apache-2.0".into(),
        opset: OPSET as u32,
        frontend: config.frontend.clone(),
        encoder,
        towers,
        embedding: EmbeddingSection { dim },
        text: TextSection { phones: SYMBOLS.iter().map(|s| (*s).to_owned()).collect() },
        scorer,
        files: files.iter().map(|(n, bytes)| (n.clone(), FileEntry { sha256: sha256(bytes) })).collect(),
        training,
        scores: toml::Table::default(),
    };
    // Written beside the target first: a bundle that fails its proof never replaces one that passed.
    let partial = out.with_file_name(format!(".{}.partial", folder.to_string_lossy()));
    let _ = fs::remove_dir_all(&partial);
    write_files(&partial, &files, &manifest)?;
    let mut checks = prove(&Bundle::load(&partial)?)?;
    if !single {
        checks.extend(compact_bundle(&partial, config.seed)?);
    }
    fs::create_dir_all(out)?;
    for file in files.keys().map(String::as_str).chain(["manifest.toml"]) {
        fs::rename(partial.join(file), out.join(file))
            .with_context(|| format!("cannot write {}", out.join(file).display()))?;
    }
    fs::remove_dir_all(&partial)?;
    Ok(checks)
}

fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join("manifest.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is no manifest of a bundle", path.display()))
}

/// Changes the manifest of the bundle in a folder.
///
/// # Errors
/// If it cannot be read or written.
pub fn edit_manifest(model: &Path, change: impl FnOnce(&mut Manifest)) -> Result<()> {
    let mut manifest = read_manifest(model)?;
    change(&mut manifest);
    write_manifest(model, &manifest)
}

/// Writes a file into the bundle in a folder, and its sum into the manifest.
///
/// # Errors
/// If either cannot be written.
pub fn add_file(model: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    whole::write(&model.join(name), bytes)?;
    let entry = FileEntry { sha256: sha256(bytes) };
    edit_manifest(model, |manifest| drop(manifest.files.insert(name.into(), entry)))
}

/// A graph with eight-bit weights, and proof that it computes the same from them.
///
/// # Errors
/// If it cannot be read or computes something else.
pub fn compact_graph(onnx: &[u8], name: &str, seed: u64) -> Result<(Vec<u8>, Vec<Check>)> {
    let compacted = compact::compact(onnx, name)?;
    let proof = if compacted == onnx { Vec::new() } else { compact::prove(onnx, &compacted, name, seed)? };
    Ok((compacted, proof))
}

/// Gives every graph of a bundle eight-bit weights, after proof that each computes the same from them.
///
/// # Errors
/// If a file cannot be read, proven or written; then nothing is replaced.
pub fn compact_bundle(folder: &Path, seed: u64) -> Result<Vec<Check>> {
    let mut manifest = read_manifest(folder)?;
    let mut files = BTreeMap::new();
    let mut checks = Vec::new();
    for (name, entry) in
        manifest.files.iter_mut().filter(|(n, _)| Path::new(n).extension().is_some_and(|e| e == "onnx"))
    {
        let bytes = fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
        let (compacted, proof) = compact_graph(&bytes, name, seed)?;
        checks.extend(proof);
        entry.sha256 = sha256(&compacted);
        files.insert(name.clone(), compacted);
    }
    write_files(folder, &files, &manifest)?;
    Ok(checks)
}

fn write_files(folder: &Path, files: &BTreeMap<String, Vec<u8>>, manifest: &Manifest) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {}", folder.join(name).display()))?;
    }
    write_manifest(folder, manifest)
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<()> {
    whole::write(&folder.join("manifest.toml"), &toml::to_string_pretty(manifest)?)
}
