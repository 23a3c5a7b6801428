//! Weights in half precision: files half as long, computed in single precision as before.

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
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::graph::int;
use super::parity::{Check, backends, difference, verdict};

/// Constants of fewer numbers stay as they are: nothing is gained.
const FEWEST: usize = 64;
/// What a constant's name has behind it once it is halved; the name itself is then the output of the `Cast`.
const HALF: &str = ".half";

fn is_large(tensor: &TensorProto) -> bool {
    tensor.data_type == DataType::Float as i32 && tensor.raw_data.len() >= 4 * FEWEST
}

fn singles(tensor: &TensorProto) -> impl Iterator<Item = f32> {
    tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Shape and values.
pub(crate) type Constant = (Vec<i64>, Vec<f32>);

/// Every constant of an ONNX file by its first name, half or single precision; indices are left out.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn constants(onnx: &[u8], name: &str) -> Result<BTreeMap<String, Constant>> {
    let mut out = BTreeMap::new();
    for tensor in decode(onnx, name)?.1.initializer {
        let values = if tensor.data_type == DataType::Float as i32 {
            singles(&tensor).collect()
        } else if tensor.data_type == DataType::Float16 as i32 {
            tensor.raw_data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        } else {
            continue;
        };
        let first = tensor.name.strip_suffix(HALF).unwrap_or(&tensor.name).to_owned();
        out.insert(first, (tensor.dims, values));
    }
    Ok(out)
}

fn decode(onnx: &[u8], name: &str) -> Result<(ModelProto, GraphProto)> {
    let mut model = ModelProto::decode(onnx).with_context(|| format!("{name} is no ONNX file"))?;
    let graph = model.graph.take().with_context(|| format!("{name} has no graph"))?;
    Ok((model, graph))
}

/// The file with its large constants in half precision, each behind a `Cast`; a file that has none is given back.
///
/// # Errors
/// If it cannot be read, or a weight is too large for half precision.
pub fn halve(onnx: &[u8], name: &str) -> Result<Vec<u8>> {
    let (mut model, mut graph) = decode(onnx, name)?;
    let mut casts = Vec::new();
    for tensor in graph.initializer.iter_mut().filter(|t| is_large(t)) {
        let halves: Vec<f16> = singles(tensor).map(f16::from_f32).collect();
        ensure!(halves.iter().all(|h| h.is_finite()), "{name}: `{}` is too large for half precision", tensor.name);
        tensor.raw_data = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
        tensor.data_type = DataType::Float16 as i32;
        let half = format!("{}{HALF}", tensor.name);
        let single = std::mem::replace(&mut tensor.name, half);
        casts.push(NodeProto {
            name: format!("n_{single}"),
            op_type: "Cast".into(),
            input: vec![tensor.name.clone()],
            output: vec![single],
            attribute: vec![int("to", DataType::Float as i64)],
            ..NodeProto::default()
        });
    }
    // A node comes after what it reads.
    casts.append(&mut graph.node);
    graph.node = casts;
    model.graph = Some(graph);
    Ok(model.encode_to_vec())
}

/// The file with its large constants rounded to half precision and kept in single: what [`halve`] must compute.
fn rounded(onnx: &[u8], name: &str) -> Result<Vec<u8>> {
    let (mut model, mut graph) = decode(onnx, name)?;
    for tensor in graph.initializer.iter_mut().filter(|t| is_large(t)) {
        tensor.raw_data = singles(tensor).flat_map(|v| f16::from_f32(v).to_f32().to_le_bytes()).collect();
    }
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

/// Proves on random input that every backend computes from `half` what it computes from the rounded weights of `single`.
///
/// Backends are compared with each other on real input by [`super::parity`]; random input can ask a norm of almost nothing
/// of the pooling, where their rounding differs.
///
/// # Errors
/// Names the comparison that differs by more than [`super::TOLERANCE`].
pub fn prove(single: &[u8], half: &[u8], name: &str, seed: u64) -> Result<Vec<Check>> {
    let inputs = inputs(single, name, &mut SmallRng::seed_from_u64(seed))?;
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let reference = rounded(single, name)?;
    let mut checks = Vec::new();
    for choice in backends() {
        let want = load_graph(reference.clone().into(), name, choice)?.run(&given)?;
        let got = load_graph(half.to_vec().into(), name, choice)?.run(&given)?;
        let worst = want
            .iter()
            .zip(&got)
            .map(|(a, b)| difference(a.as_f32().unwrap_or_default(), b.as_f32().unwrap_or_default()))
            .fold(0.0, f32::max);
        checks.push(Check { name: format!("{} {name}, halved", choice.backend), difference: worst });
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
    fn a_halved_layer_is_shorter_and_computes_what_its_rounded_weights_do() {
        let single = layer();
        let half = halve(&single, "layer").expect("a graph");
        assert!(half.len() + 200 < single.len(), "{} and {} bytes", half.len(), single.len());
        let checks = prove(&single, &half, "layer", 1).expect("equal");
        assert!(!checks.is_empty());
        // Twice is as good as once.
        assert_eq!(halve(&half, "layer").expect("a graph"), half);
        // Other weights are noticed.
        let second = ((0.37_f32).sin() * 0.3).to_le_bytes();
        let at = single.windows(4).position(|w| w == second).expect("the second weight");
        let mut other = single.clone();
        other[at + 3] ^= 0x80;
        assert!(prove(&other, &half, "layer", 1).is_err());
    }
}
