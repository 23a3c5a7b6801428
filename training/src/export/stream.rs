//! The graphs of a `stream` model.

use anyhow::Result;

use super::graph::{Dim, GraphBuilder};
use super::weights::Weights;
use crate::net::{StreamConfig, TEXT_LAYERS};

/// Shapes `[channels, frames]` of the encoder's state tensors.
pub fn state_shapes(config: &StreamConfig) -> Vec<[usize; 2]> {
    let stem = [config.mels as usize, (StreamConfig::STEM - StreamConfig::STRIDE) as usize];
    let block = |d: &i64| [config.width as usize, 2 * *d as usize];
    std::iter::once(stem).chain(config.dilations.iter().map(block)).collect()
}

/// `encoder.onnx`: features and states in, phone logits, projections and states out; any number of frames at a time.
///
/// # Errors
/// If a weight is missing.
pub fn encoder(weights: &Weights, config: &StreamConfig) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("encoder");
    let features = g.input("features", &[Dim::Fixed(1), Dim::Fixed(config.mels as usize), Dim::Free("T")]);
    let shapes = state_shapes(config);
    let states: Vec<String> = shapes
        .iter()
        .enumerate()
        .map(|(i, &[c, l])| g.input(&format!("state_{i}"), &[Dim::Fixed(1), Dim::Fixed(c), Dim::Fixed(l)]))
        .collect();
    let mut next = Vec::new();
    let conv = |g: &mut GraphBuilder, x: &str, name: &str, norm: &str, kernel, stride, dilation| -> Result<String> {
        let (shape, weight, bias) = weights.folded(name, norm)?;
        let w = g.weights(&format!("{name}.weight"), &shape, &weight);
        let b = g.weights(&format!("{name}.bias"), &[bias.len()], &bias);
        Ok(g.conv(x, &w, &b, kernel, stride, dilation, [0, 0]))
    };

    let buffer = g.concat(&[&states[0], &features], 2);
    next.push(g.slice(&buffer, 2, -(shapes[0][1] as i64), i64::MAX));
    let x = conv(&mut g, &buffer, "stem.conv", "stem.bn", StreamConfig::STEM, StreamConfig::STRIDE, 1)?;
    let mut x = g.relu(&x);
    for (i, (dilation, ahead)) in config.blocks().enumerate() {
        let context = 2 * dilation;
        let buffer = g.concat(&[&states[i + 1], &x], 2);
        next.push(g.slice(&buffer, 2, -context, i64::MAX));
        let y = conv(&mut g, &buffer, &format!("block{i}.down"), &format!("block{i}.bn1"), 3, 1, dilation)?;
        let y = g.relu(&y);
        let y = conv(&mut g, &y, &format!("block{i}.up"), &format!("block{i}.bn2"), 1, 1, 1)?;
        // The residual is as late as the block looks ahead.
        let to = if ahead == 0 { i64::MAX } else { -ahead };
        let residual = g.slice(&buffer, 2, context - ahead, to);
        let sum = g.add(&residual, &y);
        x = g.relu(&sum);
    }
    for (name, output) in [("phone", "phones"), ("proj", "proj")] {
        let (shape, weight) = weights.get(&format!("{name}.weight"))?;
        let (_, bias) = weights.get(&format!("{name}.bias"))?;
        let w = g.weights(&format!("{name}.weight"), shape, weight);
        let b = g.weights(&format!("{name}.bias"), &[bias.len()], bias);
        let y = g.conv(&x, &w, &b, 1, 1, 1, [0, 0]);
        g.output(&y, output, &[Dim::Fixed(1), Dim::Fixed(shape[0]), Dim::Free("N")]);
    }
    for (i, (value, &[c, l])) in next.iter().zip(&shapes).enumerate() {
        g.output(value, &format!("next_state_{i}"), &[Dim::Fixed(1), Dim::Fixed(c), Dim::Fixed(l)]);
    }
    Ok(g.finish())
}

/// `window.onnx`: pooled windows to embeddings.
///
/// # Errors
/// If a weight is missing.
pub fn window(weights: &Weights) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("window");
    let (shape, weight) = weights.get("window.weight")?;
    let (dim, width) = (shape[0], shape[1]);
    let (_, bias) = weights.get("window.bias")?;
    let transposed: Vec<f32> = (0..width).flat_map(|i| (0..dim).map(move |o| weight[o * width + i])).collect();
    let pooled = g.input("pooled", &[Dim::Free("N"), Dim::Fixed(width)]);
    let w = g.weights("window.weight", &[width, dim], &transposed);
    let b = g.weights("window.bias", &[dim], bias);
    let x = g.relu(&pooled);
    let x = g.matmul(&x, &w);
    let x = g.add(&x, &b);
    g.output(&x, "embedding", &[Dim::Free("N"), Dim::Fixed(dim)]);
    Ok(g.finish())
}

/// `text.onnx`: phones and their pooling to an embedding.
///
/// # Errors
/// If a weight is missing.
pub fn text(weights: &Weights, parts: usize) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("text");
    let phones = g.input_ids("phones", &[Dim::Fixed(1), Dim::Free("P")]);
    let pool = g.input("pool", &[Dim::Fixed(parts), Dim::Free("P"), Dim::Fixed(1)]);
    let constant = |g: &mut GraphBuilder, name: &str| -> Result<(String, Vec<usize>)> {
        let (shape, data) = weights.get(name)?;
        Ok((g.weights(name, shape, data), shape.to_vec()))
    };
    let (table, _) = constant(&mut g, "text.embed.weight")?;
    let x = g.gather(&table, &phones);
    let mut x = g.transpose(&x, &[0, 2, 1]);
    for i in 0..TEXT_LAYERS {
        let (w, _) = constant(&mut g, &format!("text.conv{i}.weight"))?;
        let (b, _) = constant(&mut g, &format!("text.conv{i}.bias"))?;
        let y = g.conv(&x, &w, &b, 3, 1, 1, [1, 1]);
        let y = g.relu(&y);
        x = if i == 0 { y } else { g.add(&x, &y) };
    }
    let (w, shape) = constant(&mut g, "text.proj.weight")?;
    let (b, _) = constant(&mut g, "text.proj.bias")?;
    let y = g.conv(&x, &w, &b, 1, 1, 1, [0, 0]);
    let y = g.reshape(&y, &[parts as i64, (shape[0] / parts) as i64, -1]);
    let y = g.matmul(&y, &pool);
    let y = g.reshape(&y, &[1, shape[0] as i64]);
    let (_, out) = weights.get("text.out.weight")?;
    let (_, bias) = weights.get("text.out.bias")?;
    let (dim, width) = (bias.len(), shape[0]);
    let transposed: Vec<f32> = (0..width).flat_map(|i| (0..dim).map(move |o| out[o * width + i])).collect();
    let w = g.weights("text.out.weight", &[width, dim], &transposed);
    let b = g.weights("text.out.bias", &[dim], bias);
    let y = g.matmul(&y, &w);
    let y = g.add(&y, &b);
    g.output(&y, "embedding", &[Dim::Fixed(1), Dim::Fixed(dim)]);
    Ok(g.finish())
}
