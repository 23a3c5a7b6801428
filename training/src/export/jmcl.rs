//! The graphs of a `jmcl` model, its bundle and the proof that it computes the same.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use kws_live::detect::ScorerConfig;
use kws_live::model::{Bundle, TowersSection};
use kws_live::text::Phone;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tch::{Tensor, no_grad};

use super::graph::{Dim, GraphBuilder};
use super::parity::{Check, backends, difference, embed_texts, sampled_texts, values, verdict};
use super::weights::Weights;
use super::{Parts, publish};
use crate::fit::FitConfig;
use crate::model::JmclModel;
use crate::net::JmclConfig;

/// Feature frames between two rounds of windows: 50 ms.
const HOP_FRAMES: usize = 5;
/// The paper's windows of 0.2, 0.3, 0.4 and 0.6 s, in hops.
const WINDOWS: [usize; 4] = [4, 6, 8, 12];

/// Rows of the four gates in ONNX's order i o f c, from libtorch's i f g o.
fn gates(rows: &[f32]) -> impl Iterator<Item = f32> + '_ {
    let quarter = rows.len() / 4;
    [0, 3, 1, 2].into_iter().flat_map(move |gate| rows[gate * quarter..(gate + 1) * quarter].iter().copied())
}

/// Adds a linear layer over the last axis.
fn linear(g: &mut GraphBuilder, weights: &Weights, name: &str, x: &str) -> Result<String> {
    let (shape, weight) = weights.get(&format!("{name}.weight"))?;
    let (_, bias) = weights.get(&format!("{name}.bias"))?;
    let (output, input) = (shape[0], shape[1]);
    let transposed: Vec<f32> = (0..input).flat_map(|i| (0..output).map(move |o| weight[o * input + i])).collect();
    let w = g.weights(&format!("{name}.weight"), &[input, output], &transposed);
    let b = g.weights(&format!("{name}.bias"), &[output], bias);
    let y = g.matmul(x, &w);
    Ok(g.add(&y, &b))
}

/// Adds a tower over `x`, `[T, N, input]`; returns `[N, D]`, not normalised.
fn tower(g: &mut GraphBuilder, weights: &Weights, name: &str, x: &str, config: &JmclConfig) -> Result<String> {
    let hidden = config.hidden as usize;
    let (mut x, mut last) = (x.to_owned(), String::new());
    for layer in 0..config.layers {
        let stem = format!("{name}.lstm{layer}");
        let part = |what: &str, direction: &str| weights.get(&format!("{stem}.{direction}.{what}"));
        let (mut w, mut r, mut b) = (Vec::new(), Vec::new(), Vec::new());
        let mut input = 0;
        for direction in ["forward", "backward"] {
            let (shape, w_ih) = part("weight_ih", direction)?;
            input = shape[1];
            w.extend(gates(w_ih));
            r.extend(gates(part("weight_hh", direction)?.1));
            b.extend(gates(part("bias_ih", direction)?.1));
            b.extend(gates(part("bias_hh", direction)?.1));
        }
        let w = g.weights(&format!("{stem}.w"), &[2, 4 * hidden, input], &w);
        let r = g.weights(&format!("{stem}.r"), &[2, 4 * hidden, hidden], &r);
        let b = g.weights(&format!("{stem}.b"), &[2, 8 * hidden], &b);
        let (all, end) = g.bilstm(&x, &w, &r, &b, config.hidden);
        last = end;
        if layer + 1 < config.layers {
            let y = g.transpose(&all, &[0, 2, 1, 3]);
            x = g.reshape(&y, &[0, 0, 2 * config.hidden]);
        }
    }
    let y = g.transpose(&last, &[1, 0, 2]);
    let y = g.reshape(&y, &[-1, 2 * config.hidden]);
    let y = linear(g, weights, &format!("{name}.fc"), &y)?;
    let y = g.relu(&y);
    linear(g, weights, &format!("{name}.proj"), &y)
}

/// `audio.onnx`: `features` `[N, T, mels]`, all of one length, to `embedding` `[N, D]`.
///
/// # Errors
/// If a weight is missing.
pub fn audio(weights: &Weights, config: &JmclConfig) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("audio");
    let features = g.input("features", &[Dim::Free("N"), Dim::Free("T"), Dim::Fixed(config.mels as usize)]);
    let x = g.transpose(&features, &[1, 0, 2]);
    let y = tower(&mut g, weights, "audio", &x, config)?;
    g.output(&y, "embedding", &[Dim::Free("N"), Dim::Fixed(config.dim as usize)]);
    Ok(g.finish())
}

/// `text.onnx`: `phones` `[1, P]` to `embedding` `[1, D]`.
///
/// # Errors
/// If a weight is missing.
pub fn text(weights: &Weights, config: &JmclConfig) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("text");
    let phones = g.input_ids("phones", &[Dim::Fixed(1), Dim::Free("P")]);
    let (shape, data) = weights.get("text.embed.weight")?;
    let table = g.weights("text.embed.weight", shape, data);
    let x = g.gather(&table, &phones);
    let x = g.transpose(&x, &[1, 0, 2]);
    let y = tower(&mut g, weights, "text", &x, config)?;
    g.output(&y, "embedding", &[Dim::Fixed(1), Dim::Fixed(config.dim as usize)]);
    Ok(g.finish())
}

/// Writes and proves a bundle, as [`super::write`] does for `stream`.
///
/// # Errors
/// If the graphs do not compute what the model does: then nothing is replaced.
pub fn write(
    model: &JmclModel,
    config: &FitConfig,
    out: &Path,
    name: &str,
    step: u64,
    single: bool,
) -> Result<Vec<Check>> {
    let weights = Weights::of(model.vars.variables())?;
    let files: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        ("audio.onnx".into(), audio(&weights, &config.jmcl)?),
        ("text.onnx".into(), text(&weights, &config.jmcl)?),
    ]);
    let fresh = ScorerConfig {
        window_frames: WINDOWS.to_vec(),
        // The paper tries every window for every word.
        min_seconds_per_phone: 0.0,
        max_seconds_per_phone: 1.0,
        slack_seconds: 1.0,
        // There is no phone path to fuse with.
        fusion: [0.0, 1.0, 0.0, 0.0],
        ..ScorerConfig::default()
    };
    let parts = Parts {
        kind: "jmcl",
        encoder: None,
        towers: Some(TowersSection { mels: config.jmcl.mels as usize, hop_frames: HOP_FRAMES }),
        dim: config.jmcl.dim as usize,
        scorer: fresh,
        calibration: model.calibration(),
        files,
    };
    publish(parts, config, out, name, step, single, |bundle| check(model, bundle, config.seed))
}

/// Compares tch with every backend, in all lengths of the paper's windows, alone and in groups of every size that the
/// runtime makes (43 = 32 + 8 + 2 + 1), and some texts.
fn check(model: &JmclModel, bundle: &Bundle, seed: u64) -> Result<Vec<Check>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let device = model.vars.device();
    let mels = model.net.config().mels as usize;
    let texts: Vec<Vec<Phone>> = sampled_texts(&mut rng);
    let want_texts = values(&no_grad(|| model.net.text(&texts, device)))?;
    let segments: Vec<(usize, usize, Vec<f32>)> = WINDOWS
        .iter()
        .flat_map(|w| [(1, w * HOP_FRAMES), (43, w * HOP_FRAMES)])
        .chain([(1, 57), (1, 1)])
        .map(|(rows, frames)| {
            (rows, frames, (0..rows * frames * mels).map(|_| rng.random::<f32>() * 8.0 - 5.0).collect())
        })
        .collect();
    let mut checks = Vec::new();
    let mut note = |name: String, difference: f32| checks.push(Check { name, difference });
    for choice in backends() {
        let backend = choice.backend;
        let mut tower = bundle.audio_tower(choice)?;
        for (rows, frames, features) in &segments {
            let want = values(&no_grad(|| {
                let x = Tensor::from_slice(features).view([*rows as i64, *frames as i64, mels as i64]);
                model.net.audio(&x.to_device(device), &vec![*frames as i64; *rows])
            }))?;
            let mut got = vec![0.0; want.len()];
            tower.embed(features, *rows, &mut got)?;
            note(format!("{backend} audio {rows} x {frames}"), difference(&got, &want));
        }
        note(format!("{backend} text"), difference(&embed_texts(bundle, choice, &texts)?, &want_texts));
    }
    verdict(checks)
}
