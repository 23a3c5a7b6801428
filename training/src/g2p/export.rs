//! `g2p.onnx`: letters in, phone logits out, at any length; written only if both backends agree with tch.

use anyhow::Result;
use kws_live::model::{Tensor as Plain, load_graph};
use kws_live::text::LETTERS;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tch::nn::VarStore;
use tch::{Tensor, no_grad};

use super::net::{G2pConfig, G2pNet, UPSAMPLE};
use crate::export::{Check, Dim, GraphBuilder, Weights, backends, difference, verdict};

/// The graph of a model's weights.
///
/// # Errors
/// If a weight is missing or not finite.
pub fn graph(weights: &Weights, config: &G2pConfig) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("g2p");
    let letters = g.input_ids("letters", &[Dim::Fixed(1), Dim::Free("L")]);
    let constant = |g: &mut GraphBuilder, name: &str| -> Result<String> {
        let (shape, data) = weights.get(name)?;
        Ok(g.weights(name, shape, data))
    };
    let conv = |g: &mut GraphBuilder, x: &str, name: &str, kernel: i64, dilation: i64| -> Result<String> {
        let (w, b) = (constant(g, &format!("{name}.weight"))?, constant(g, &format!("{name}.bias"))?);
        let pad = (kernel - 1) / 2 * dilation;
        Ok(g.conv(x, &w, &b, kernel, 1, dilation, [pad, pad]))
    };
    let block = |g: &mut GraphBuilder, x: &str, name: &str, dilation: i64| -> Result<String> {
        let y = conv(g, x, &format!("{name}.down"), 3, dilation)?;
        let y = g.relu(&y);
        let y = conv(g, &y, &format!("{name}.up"), 1, 1)?;
        Ok(g.add(x, &y))
    };
    let table = constant(&mut g, "embed.weight")?;
    let x = g.gather(&table, &letters);
    let mut x = g.transpose(&x, &[0, 2, 1]);
    for (i, &dilation) in config.dilations.iter().enumerate() {
        x = block(&mut g, &x, &format!("block{i}"), dilation)?;
    }
    let x = conv(&mut g, &x, "expand", 1, 1)?;
    let x = g.reshape(&x, &[1, config.fine_width, UPSAMPLE, -1]);
    let x = g.transpose(&x, &[0, 1, 3, 2]);
    let mut x = g.reshape(&x, &[1, config.fine_width, -1]);
    for (i, &dilation) in config.fine_dilations.iter().enumerate() {
        x = block(&mut g, &x, &format!("fine{i}"), dilation)?;
    }
    let x = conv(&mut g, &x, "head", 1, 1)?;
    g.output(&x, "phones", &[Dim::Fixed(1), Dim::Fixed(kws_live::text::CLASSES), Dim::Free("T")]);
    Ok(g.finish())
}

/// Writes the graph to memory and compares it with tch on random words of several lengths.
///
/// ONNX Runtime is compared where its library can be loaded; the result says which comparisons were made.
///
/// # Errors
/// Names the comparison that differs by more than [`TOLERANCE`].
pub fn prove(vars: &VarStore, net: &G2pNet, config: &G2pConfig, seed: u64) -> Result<(Vec<u8>, Vec<Check>)> {
    let onnx = graph(&Weights::of(vars.variables())?, config)?;
    let checks = verdict(check(&onnx, net, seed)?)?;
    Ok((onnx, checks))
}

fn check(onnx: &[u8], net: &G2pNet, seed: u64) -> Result<Vec<Check>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut checks = Vec::new();
    for choice in backends() {
        let backend = choice.backend;
        let mut graph = load_graph(onnx.to_vec().into(), "g2p.onnx", choice)?;
        for length in [3, 4, 7, 12, 40] {
            let mut ids: Vec<i64> = (0..length).map(|_| rng.random_range(1..LETTERS as i64)).collect();
            (ids[0], ids[length - 1]) = (0, 0);
            let want = no_grad(|| net.forward(&Tensor::from_slice(&ids).view([1, -1]), None));
            let want = Vec::<f32>::try_from(want.contiguous().view([-1]))?;
            let outputs = graph.run(&[("letters", &Plain::i64(&[1, length], ids))])?;
            let got = outputs.first().and_then(Plain::as_f32).unwrap_or_default();
            checks.push(Check { name: format!("{backend} g2p, {length} letters"), difference: difference(got, &want) });
        }
    }
    Ok(checks)
}
