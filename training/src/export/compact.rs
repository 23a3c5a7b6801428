//! Weights in eight bits or half precision: files little more than a quarter as long, computed in single precision as before.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use half::f16;
use kws_live::model::{Tensor, load_graph};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Size;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

use super::graph::{int, node, single};
use super::parity::{Check, backends, difference, verdict};

/// Constants of fewer numbers stay as they are: nothing is gained.
const FEWEST: usize = 64;
/// A matrix that eight bits would change by more than this share (root mean square) is kept in half precision: the phones' head
/// for one.
const MOST: f32 = 0.01;
/// What a constant's name has behind it once it is stored in half precision; the name itself is then the output of the nodes
/// that bring it back.
const HALF: &str = ".half";
/// The same for whole numbers of eight bits, and for what they are to be multiplied by.
const EIGHT: &str = ".int8";
const SCALE: &str = ".scale";
/// And for what lies between the nodes.
const CAST: &str = ".cast";

/// Shape and values.
pub(crate) type Constant = (Vec<i64>, Vec<f32>);

/// A matrix of filters as whole numbers in -127..=127, and the steps that they count.
struct Eight {
    values: Vec<i8>,
    steps: Vec<f32>,
    /// Shape of the steps: the matrix's, but 1 along one of its first two axes, which share a step.
    shape: Vec<i64>,
}

impl Eight {
    /// Rounds to steps that the first or the second axis shares, whichever loses less: of a convolution `[out, in, k]` each
    /// output has a step for each tap, of a matrix `[in, out]` each output one.
    fn of(dims: &[i64], weights: &[f32]) -> Self {
        let [first, second] = [0, 1].map(|axis| Self::shared_by(axis, dims, weights));
        if first.loss(dims, weights) < second.loss(dims, weights) { first } else { second }
    }

    fn shared_by(axis: usize, dims: &[i64], weights: &[f32]) -> Self {
        let mut shape = dims.to_vec();
        shape[axis] = 1;
        let mut steps = vec![0.0_f32; shape.iter().product::<i64>() as usize];
        let step = steps_of(dims, &shape);
        for (i, w) in weights.iter().enumerate() {
            let peak = &mut steps[step(i)];
            *peak = peak.max(w.abs());
        }
        for peak in &mut steps {
            *peak = if *peak > 0.0 { *peak / 127.0 } else { 1.0 };
        }
        let values = weights.iter().enumerate().map(|(i, w)| (w / steps[step(i)]).round() as i8).collect();
        Self { values, steps, shape }
    }

    fn weights(&self, dims: &[i64]) -> Vec<f32> {
        let step = steps_of(dims, &self.shape);
        self.values.iter().enumerate().map(|(i, v)| f32::from(*v) * self.steps[step(i)]).collect()
    }

    /// Power of what is lost, as a share of the power of the weights.
    fn loss(&self, dims: &[i64], weights: &[f32]) -> f32 {
        let lost: f32 = self.weights(dims).iter().zip(weights).map(|(a, b)| (a - b).powi(2)).sum();
        lost / weights.iter().map(|w| w * w).sum::<f32>().max(f32::MIN_POSITIVE)
    }
}

/// Which step each number of a tensor of size `dims` has, if they are of size `shape`: 1 where they are shared.
fn steps_of(dims: &[i64], shape: &[i64]) -> impl Fn(usize) -> usize + use<> {
    let mut count = 1;
    let strided = |(&dim, &own): (&i64, &i64)| {
        let stride = if own > 1 { count } else { 0 };
        count *= own as usize;
        (dim as usize, stride)
    };
    // The last axis first.
    let axes: Vec<(usize, usize)> = dims.iter().zip(shape).rev().map(strided).collect();
    move |mut i| {
        let along = |&(dim, stride): &(usize, usize)| {
            let at = i % dim;
            i /= dim;
            at * stride
        };
        axes.iter().map(along).sum()
    }
}

fn singles(tensor: &TensorProto) -> Vec<f32> {
    tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn is_large(tensor: &TensorProto) -> bool {
    tensor.data_type == DataType::Float as i32 && tensor.raw_data.len() >= 4 * FEWEST
}

/// Every constant of an ONNX file by its first name, however it is stored; indices are left out.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn constants(onnx: &[u8], name: &str) -> Result<BTreeMap<String, Constant>> {
    let (_, graph) = decode(&expand(onnx, name)?, name)?;
    let floats = graph.initializer.into_iter().filter(|t| t.data_type == DataType::Float as i32);
    Ok(floats.map(|t| (t.name.clone(), (t.dims.clone(), singles(&t)))).collect())
}

fn decode(onnx: &[u8], name: &str) -> Result<(ModelProto, GraphProto)> {
    let mut model = ModelProto::decode(onnx).with_context(|| format!("{name} is no ONNX file"))?;
    let graph = model.graph.take().with_context(|| format!("{name} has no graph"))?;
    Ok((model, graph))
}

/// The file with every constant in single precision: the inverse of [`compact`], but for what was rounded.
///
/// # Errors
/// If it cannot be read.
fn expand(onnx: &[u8], name: &str) -> Result<Vec<u8>> {
    let (mut model, mut graph) = decode(onnx, name)?;
    let stored = std::mem::take(&mut graph.initializer);
    let steps: BTreeMap<String, TensorProto> =
        stored.iter().filter_map(|t| Some((t.name.strip_suffix(SCALE)?.to_owned(), t.clone()))).collect();
    let mut done = Vec::new();
    for tensor in stored {
        let constant = if let Some(first) = tensor.name.strip_suffix(HALF) {
            let halves = tensor.raw_data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
            single(first, tensor.dims.clone(), &halves.collect::<Vec<f32>>())
        } else if let Some(first) = tensor.name.strip_suffix(EIGHT) {
            let steps = steps.get(first).with_context(|| format!("{name}: `{first}` has no scale"))?;
            let numbers = |dims: &[i64]| dims.iter().product::<i64>() as usize;
            let whole = tensor.raw_data.len() == numbers(&tensor.dims) && singles(steps).len() == numbers(&steps.dims);
            let fits = steps.dims.iter().zip(&tensor.dims).filter(|(step, dim)| **step == 1 || step == dim).count();
            ensure!(whole && fits == tensor.dims.len(), "{name}: the scale of `{first}` does not fit it");
            let eight = Eight {
                values: tensor.raw_data.iter().map(|b| b.cast_signed()).collect(),
                steps: singles(steps),
                shape: steps.dims.clone(),
            };
            single(first, tensor.dims.clone(), &eight.weights(&tensor.dims))
        } else if tensor.name.ends_with(SCALE) {
            continue;
        } else {
            graph.initializer.push(tensor);
            continue;
        };
        done.push(constant.name.clone());
        graph.initializer.push(constant);
    }
    // The nodes that brought a constant back, and what lay between them.
    let back = |output: &str| done.iter().any(|d| output == d || output.strip_suffix(CAST) == Some(d));
    graph.node.retain(|n| !n.output.iter().any(|o| back(o)));
    model.graph = Some(graph);
    Ok(model.encode_to_vec())
}

/// The file with its large constants in eight bits, or in half precision where those would lose too much, each behind the nodes
/// that bring it back to single precision, which a backend computes once, when it loads the file. A file that is so already is given back.
///
/// # Errors
/// If it cannot be read, or a number is too large for half precision.
pub fn compact(onnx: &[u8], name: &str) -> Result<Vec<u8>> {
    if decode(onnx, name)?.1.initializer.iter().any(|t| t.name.ends_with(EIGHT)) {
        return Ok(onnx.to_vec());
    }
    let (mut model, mut graph) = decode(&expand(onnx, name)?, name)?;
    let mut back = Vec::new();
    let cast = |input: &str, output: &str| node("Cast", &[input], output, vec![int("to", DataType::Float as i64)]);
    for tensor in std::mem::take(&mut graph.initializer) {
        if !is_large(&tensor) {
            graph.initializer.push(tensor);
            continue;
        }
        let (first, weights) = (tensor.name.as_str(), singles(&tensor));
        let named = |ending: &str| format!("{first}{ending}");
        let eight = (tensor.dims.len() > 1).then(|| Eight::of(&tensor.dims, &weights));
        if let Some(Eight { values, steps, shape }) = eight.filter(|e| e.loss(&tensor.dims, &weights) <= MOST.powi(2)) {
            back.push(cast(&named(EIGHT), &named(CAST)));
            back.push(node("Mul", &[&named(CAST), &named(SCALE)], first, Vec::new()));
            graph.initializer.push(single(&named(SCALE), shape, &steps));
            graph.initializer.push(TensorProto {
                name: named(EIGHT),
                data_type: DataType::Int8 as i32,
                raw_data: values.iter().map(|v| v.cast_unsigned()).collect(),
                ..tensor
            });
        } else {
            let halves: Vec<f16> = weights.into_iter().map(f16::from_f32).collect();
            ensure!(halves.iter().all(|h| h.is_finite()), "{name}: `{first}` is too large for half precision");
            back.push(cast(&named(HALF), first));
            graph.initializer.push(TensorProto {
                name: named(HALF),
                data_type: DataType::Float16 as i32,
                raw_data: halves.iter().flat_map(|h| h.to_le_bytes()).collect(),
                ..tensor
            });
        }
    }
    // A node comes after what it reads.
    back.append(&mut graph.node);
    graph.node = back;
    model.graph = Some(graph);
    Ok(model.encode_to_vec())
}

/// Random inputs as the file declares them; free dimensions become 12 (a multiple of every stride).
fn inputs(onnx: &[u8], name: &str, rng: &mut SmallRng) -> Result<Vec<(String, Tensor)>> {
    let (_, graph) = decode(onnx, name)?;
    let one = |info: &tract_onnx::pb::ValueInfoProto| {
        let kind = info.r#type.as_ref().and_then(|t| t.value.as_ref());
        let Some(Kind::TensorType(tensor)) = kind else { anyhow::bail!("{name}: `{}` is no tensor", info.name) };
        let size = |d: &tract_onnx::pb::tensor_shape_proto::Dimension| match d.value {
            Some(Size::DimValue(n)) => n as usize,
            _ => 12,
        };
        let shape: Vec<usize> = tensor.shape.iter().flat_map(|s| &s.dim).map(size).collect();
        let count = shape.iter().product();
        let values = if tensor.elem_type == DataType::Int64 as i32 {
            // Letters and phones alike.
            Tensor::i64(&shape, (0..count).map(|_| rng.random_range(1..27)).collect())
        } else {
            Tensor::f32(&shape, (0..count).map(|_| rng.random::<f32>() - 0.4).collect())
        };
        Ok((info.name.clone(), values))
    };
    graph.input.iter().map(one).collect()
}

/// Proves that the `compact` file holds the constants of `first`, none further off than its rounding allows, and on random
/// input that every backend computes from it what it computes from the same constants in single precision.
///
/// Backends are compared with each other on real input by [`super::parity`]; random input can ask a norm of almost nothing
/// of the pooling, where their rounding differs.
///
/// # Errors
/// Names the constant, or the comparison that differs by more than [`super::TOLERANCE`].
pub fn prove(first: &[u8], compact: &[u8], name: &str, seed: u64) -> Result<Vec<Check>> {
    let rounded = constants(compact, name)?;
    for (constant, (dims, values)) in constants(first, name)? {
        let peak = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        // Half a step of the widest channel; half precision is finer.
        let near = rounded.get(&constant).is_some_and(|(d, v)| *d == dims && difference(v, &values) <= peak / 253.0);
        ensure!(near, "{name}: `{constant}` is lost");
    }
    let inputs = inputs(compact, name, &mut SmallRng::seed_from_u64(seed))?;
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let reference = expand(compact, name)?;
    let mut checks = Vec::new();
    for choice in backends() {
        let want = load_graph(reference.clone().into(), name, choice)?.run(&given)?;
        let got = load_graph(compact.to_vec().into(), name, choice)?.run(&given)?;
        let worst = want
            .iter()
            .zip(&got)
            .map(|(a, b)| difference(a.as_f32().unwrap_or_default(), b.as_f32().unwrap_or_default()))
            .fold(0.0, f32::max);
        checks.push(Check { name: format!("{} {name}, compact", choice.backend), difference: worst });
    }
    verdict(checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Dim, GraphBuilder};

    fn layer() -> Vec<u8> {
        let mut g = GraphBuilder::new("layer");
        let x = g.input("x", &[Dim::Free("N"), Dim::Fixed(16)]);
        let data: Vec<f32> = (0..16 * 8).map(|i| (i as f32 * 0.37).sin() * 0.3).collect();
        let w = g.weights("w", &[16, 8], &data);
        let y = g.matmul(&x, &w);
        g.output(&y, "y", &[Dim::Free("N"), Dim::Fixed(8)]);
        g.finish()
    }

    #[test]
    fn a_compact_layer_is_shorter_and_computes_what_its_rounded_weights_do() {
        let first = layer();
        let compact = compact(&first, "layer").expect("a graph");
        assert!(compact.len() + 200 < first.len(), "{} and {} bytes", compact.len(), first.len());
        let checks = prove(&first, &compact, "layer", 1).expect("equal");
        assert!(!checks.is_empty());
        // Twice is as good as once.
        assert_eq!(super::compact(&compact, "layer").expect("a graph"), compact);
        // Other weights are noticed.
        let second = ((0.37_f32).sin() * 0.3).to_le_bytes();
        let at = first.windows(4).position(|w| w == second).expect("the second weight");
        let mut other = first.clone();
        other[at + 3] ^= 0x80;
        assert!(prove(&other, &compact, "layer", 1).is_err());
    }

    #[test]
    fn steps_are_shared_along_the_axis_that_loses_less() {
        // Rows of very different size; the same as columns.
        let number = |channel: usize, i: usize| (i as f32 + 0.4).sin() * 3_f32.powi(channel as i32);
        let rows: Vec<f32> = (0..32).map(|i| number(i / 8, i % 8)).collect();
        let columns: Vec<f32> = (0..32).map(|i| number(i % 4, i / 4)).collect();
        for (dims, weights, shape) in [([4, 8], rows, [4, 1]), ([8, 4], columns, [1, 4])] {
            let eight = Eight::of(&dims, &weights);
            assert_eq!(eight.shape, shape);
            assert!(eight.loss(&dims, &weights) < 1e-4);
            let step = steps_of(&dims, &shape);
            for (i, (back, weight)) in eight.weights(&dims).iter().zip(&weights).enumerate() {
                assert!((back - weight).abs() <= eight.steps[step(i)] * 0.501, "{back} for {weight}");
            }
        }
        // A convolution of two outputs, three inputs and two taps.
        let conv = Eight::shared_by(1, &[2, 3, 2], &[1.0, 9.0, -2.0, 8.0, 3.0, -7.0, 0.1, 0.0, 0.2, 0.0, 0.3, 0.0]);
        assert_eq!(conv.shape, [2, 1, 2]);
        assert_eq!(conv.steps, [3.0 / 127.0, 9.0 / 127.0, 0.3 / 127.0, 1.0]);
    }

    #[test]
    fn what_eight_bits_would_spoil_stays_in_half_precision() {
        // Steps are wide where every row and every column has one large weight.
        for (large, ending) in [(1.0, EIGHT), (20.0, HALF)] {
            let mut g = GraphBuilder::new("layer");
            let x = g.input("x", &[Dim::Free("N"), Dim::Fixed(64)]);
            let weight = |i: usize| (i as f32 * 0.37).sin() + if i / 64 == i % 64 { large } else { 0.0 };
            let w = g.weights("w", &[64, 64], &(0..64 * 64).map(weight).collect::<Vec<f32>>());
            let y = g.matmul(&x, &w);
            g.output(&y, "y", &[Dim::Free("N"), Dim::Fixed(64)]);
            let first = g.finish();
            let compact = compact(&first, "layer").expect("a graph");
            let (_, graph) = decode(&compact, "layer").expect("a graph");
            assert!(graph.initializer.iter().any(|t| t.name == format!("w{ending}")), "{large}");
            prove(&first, &compact, "layer", 1).expect("equal");
        }
    }
}
