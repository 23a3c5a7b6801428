//! Convolutions over time, computed by [`Filters`] in place of tract's own: weights in eight bits stay in eight bits.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto};
// What operators of tract are written with; its macros need most of it.
#[allow(clippy::wildcard_imports)]
use tract_onnx::tract_hir::internal::*;

use super::filters::{Filters, Given, Moves};

/// Name of the operator; inputs: x, weights, bias and, for weights in eight bits, their steps.
const NAME: &str = "PanelConv";
/// Attribute that is there if what is below zero becomes zero.
const RELU: &str = "relu";

/// Domain of the operator, which no file can name.
const DOMAIN: &str = "kws-live rewritten";
/// No kernel moves or reaches further.
const FURTHEST: usize = 1 << 16;

/// Teaches the reader of ONNX files the operator.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert(NAME, build);
}

/// Rewrites every convolution over time without padding whose weights and bias are constants. Where the weights come out of a `Cast` of whole
/// numbers of eight bits and a `Mul` by their steps, or out of a `Cast` of half precision, it takes what is stored; a `Relu` that alone uses
/// what it computes becomes part of it. All else stays, and so does a graph with graphs inside, which may use what would be gone.
pub(super) fn rewrite(graph: &mut GraphProto) {
    if graph.node.iter().flat_map(|n| &n.attribute).any(|a| a.g.is_some() || !a.graphs.is_empty()) {
        return;
    }
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let outputs = graph.output.iter().map(|o| &o.name);
    for name in graph.node.iter().flat_map(|n| &n.input).chain(outputs) {
        *uses.entry(name).or_default() += 1;
    }
    let once = |name: &str| uses.get(name) == Some(&1);
    let relus: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .filter(|(_, n)| n.op_type == "Relu" && n.input.len() == 1 && n.output.len() == 1 && once(&n.input[0]))
        .map(|(i, n)| (n.input[0].as_str(), i))
        .collect();
    let stored = Stored::new(graph);
    let mut gone = vec![false; graph.node.len()];
    let mut rewritten = Vec::new();
    for (i, conv) in graph.node.iter().enumerate().filter(|(_, n)| moves_plainly(n)) {
        let Some(Found { constants, between }) = stored.constants_of(conv) else { continue };
        let mut new = NodeProto { op_type: NAME.into(), domain: DOMAIN.into(), ..conv.clone() };
        new.input.truncate(1);
        new.input.extend(constants.into_iter().map(str::to_owned));
        if new.name.is_empty() {
            new.name.clone_from(&conv.output[0]);
        }
        if let Some(&relu) = relus.get(conv.output[0].as_str()) {
            new.output.clone_from(&graph.node[relu].output);
            new.attribute.push(AttributeProto {
                name: RELU.into(),
                r#type: attribute_proto::AttributeType::Int as i32,
                i: 1,
                ..AttributeProto::default()
            });
            gone[relu] = true;
        }
        for node in between {
            // What another node uses as well is made for that one.
            if !once(&graph.node[node].output[0]) {
                break;
            }
            gone[node] = true;
        }
        rewritten.push((i, new));
    }
    for (i, new) in rewritten {
        graph.node[i] = new;
    }
    let mut at = 0..;
    graph.node.retain(|_| at.next().is_some_and(|i: usize| !gone[i]));
}

/// Whether it is a convolution of one group without padding.
fn moves_plainly(node: &NodeProto) -> bool {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    let padded = attribute("pads").is_some_and(|a| a.ints.iter().any(|n| *n != 0))
        || attribute("auto_pad").is_some_and(|a| !matches!(&a.s[..], b"NOTSET" | b"VALID"));
    let grouped = attribute("group").is_some_and(|a| a.i > 1);
    node.op_type == "Conv" && node.domain.is_empty() && node.output.len() == 1 && !padded && !grouped
}

/// What a graph has stored, and which node makes what.
struct Stored<'a> {
    nodes: &'a [NodeProto],
    made: HashMap<&'a str, usize>,
    tensors: HashMap<&'a str, &'a TensorProto>,
}

/// The constants of a convolution.
struct Found<'a> {
    /// Weights, bias and, for weights in eight bits, their steps.
    constants: Vec<&'a str>,
    /// The nodes between the weights as they are stored and the convolution, from there back.
    between: Vec<usize>,
}

impl<'a> Stored<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let nodes = graph.node.iter().enumerate();
        Self {
            nodes: &graph.node,
            made: nodes.flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i))).collect(),
            tensors: graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
        }
    }

    fn constants_of(&self, conv: &'a NodeProto) -> Option<Found<'a>> {
        let [_, weights, bias] = &conv.input[..] else { return None };
        let found = self.weights(weights)?;
        let dims = &self.tensors[found.constants[0]].dims;
        let (bias, _) = self.single(bias)?;
        // A panel of hardly any outputs would be computed for nothing.
        let fits = dims[0] >= 16 && self.tensors[bias].dims[..] == dims[..1];
        fits.then(|| {
            let Found { mut constants, between } = found;
            constants.insert(1, bias);
            Found { constants, between }
        })
    }

    /// Weights, `[outputs, inputs, taps]`, and their steps, by output and tap or by input and tap.
    fn weights(&self, name: &'a str) -> Option<Found<'a>> {
        let (first, between, steps) = if let Some((mul, product)) = self.maker(name, "Mul") {
            let [number, steps] = &product.input[..] else { return None };
            let (cast, first) = self.cast(number)?;
            let steps = self.is(steps, DataType::Float).then_some(steps.as_str())?;
            (self.is(first, DataType::Int8).then_some(first)?, vec![mul, cast], Some(steps))
        } else {
            let (first, between) = self.single(name)?;
            (first, between, None)
        };
        let &[outputs, inputs, taps] = &self.tensors[first].dims[..] else { return None };
        let fits = |steps| {
            let dims = &self.tensors[steps].dims[..];
            dims == [outputs, 1, taps] || dims == [1, inputs, taps]
        };
        let fits = outputs.min(inputs).min(taps) > 0 && steps.is_none_or(fits);
        fits.then(|| Found { constants: [first].into_iter().chain(steps).collect(), between })
    }

    /// A constant in single or half precision, and the nodes that bring it to single precision.
    fn single(&self, name: &'a str) -> Option<(&'a str, Vec<usize>)> {
        if self.is(name, DataType::Float) {
            return Some((name, Vec::new()));
        }
        let (cast, first) = self.cast(name)?;
        self.is(first, DataType::Float16).then(|| (first, vec![cast]))
    }

    /// The node that casts to single precision, and what it casts.
    fn cast(&self, name: &str) -> Option<(usize, &'a str)> {
        let (i, cast) = self.maker(name, "Cast")?;
        let single = cast.attribute.iter().any(|a| a.name == "to" && a.i == i64::from(DataType::Float as i32));
        Some((i, cast.input.first().filter(|_| single)?))
    }

    fn maker(&self, name: &str, op: &str) -> Option<(usize, &'a NodeProto)> {
        self.made.get(name).map(|i| (*i, &self.nodes[*i])).filter(|(_, node)| node.op_type == op)
    }

    fn is(&self, name: &str, kind: DataType) -> bool {
        self.tensors.get(name).is_some_and(|t| t.data_type == kind as i32)
    }
}

fn build(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    ensure!(node.domain == DOMAIN, "operator {NAME} is unknown");
    let first = |name: &str| -> TractResult<usize> {
        let moves = node.get_attr_opt_vec::<usize>(name)?.and_then(|v| v.first().copied()).unwrap_or(1);
        ensure!((1..FURTHEST).contains(&moves), "{name} of {} are {moves}", node.name);
        Ok(moves)
    };
    let relu = node.get_attr_opt::<i64>(RELU)? == Some(1);
    Ok((expand(Unread(Moves { dilation: first("dilations")?, stride: first("strides")?, relu })), vec![]))
}

/// The operator before its weights are known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Unread(Moves);

impl Expansion for Unread {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(matches!(inputs.len(), 3 | 4), "{NAME} has three or four inputs");
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].rank, 3)?;
        s.equals(&inputs[1].rank, 3)?;
        s.equals(&inputs[2].rank, 1)?;
        s.equals(&outputs[0].rank, 3)?;
        s.equals(&inputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        s.equals(&inputs[0].shape[1], &inputs[1].shape[1])?;
        s.equals(&outputs[0].shape[1], &inputs[1].shape[0])?;
        s.given_2(&inputs[0].shape[2], &inputs[1].shape[2], move |s, frames, taps| {
            s.equals(&outputs[0].shape[2], self.0.frames_dim(&frames, taps.to_usize()?)?)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let constant = |i: usize| -> TractResult<Arc<Tensor>> {
            model.outlet_fact(inputs[i])?.konst.clone().with_context(|| format!("input {i} of {prefix} is no constant"))
        };
        let (weights, bias) = (constant(1)?, constant(2)?.cast_to::<f32>()?.into_owned());
        let shape = weights.shape();
        let bias = bias.try_as_plain_ram()?.as_slice()?;
        let filters = if inputs.len() > 3 {
            let steps = constant(3)?;
            let given = Given::Eight {
                weights: weights.try_as_plain_ram()?.as_slice()?,
                steps: steps.try_as_plain_ram()?.as_slice()?,
                steps_shape: steps.shape(),
            };
            Filters::new(shape, given, bias, self.0)
        } else {
            let weights = weights.cast_to::<f32>()?;
            Filters::new(shape, Given::Single(weights.try_as_plain_ram()?.as_slice()?), bias, self.0)
        };
        let filters = filters.with_context(|| format!("weights, steps and bias of {prefix} do not fit"))?;
        model.wire_node(prefix, PanelConv(Arc::new(filters)), &inputs[..1])
    }
}

impl Moves {
    /// Frames that come out of so many.
    fn frames_dim(self, frames: &TDim, taps: usize) -> TractResult<TDim> {
        ensure!((1..FURTHEST).contains(&taps), "a kernel of {taps} taps");
        Ok(match frames.to_usize() {
            Ok(frames) => self.frames(frames, taps).to_dim(),
            Err(_) => (frames.clone() - self.span(taps)) / self.stride + 1,
        })
    }
}

/// The operator; x: `[batch, inputs, frames]`.
#[derive(Clone)]
struct PanelConv(Arc<Filters>);

impl std::fmt::Debug for PanelConv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{NAME}({} to {})", self.0.inputs(), self.0.outputs())
    }
}

impl PartialEq for PanelConv {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PanelConv {}

impl Op for PanelConv {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    op_as_typed_op!();
}

impl EvalOp for PanelConv {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[batch, channels, frames] = input.shape() else { bail!("{self:?} got {:?}", input.shape()) };
        ensure!(channels == self.0.inputs(), "{self:?} got {channels} channels");
        let x = input.try_as_plain_ram()?.as_slice::<f32>()?;
        let mut all = Vec::new();
        for x in x.chunks_exact((channels * frames).max(1)) {
            all.extend(self.0.run(x));
        }
        let frames = all.len() / (batch * self.0.outputs()).max(1);
        Ok(tvec!(tract_ndarray::Array3::from_shape_vec((batch, self.0.outputs(), frames), all)?.into_tvalue()))
    }

    op_out_of_plan!();
}

impl TypedOp for PanelConv {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = &inputs[0].shape;
        let frames = self.0.moves().frames_dim(&shape[2], self.0.taps())?;
        Ok(tvec!(f32::fact([shape[0].clone(), self.0.outputs().to_dim(), frames])))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{ModelProto, tensor_shape_proto, type_proto};
    use tract_onnx::prelude::{Framework, InferenceModelExt};

    use super::*;

    fn node(op: &str, input: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            input: input.iter().map(|i| (*i).to_owned()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn ints(name: &str, ints: &[i64]) -> AttributeProto {
        let r#type = attribute_proto::AttributeType::Ints as i32;
        AttributeProto { name: name.into(), r#type, ints: ints.to_vec(), ..AttributeProto::default() }
    }

    fn constant(name: &str, kind: DataType, dims: &[i64], raw_data: Vec<u8>) -> TensorProto {
        TensorProto {
            name: name.into(),
            data_type: kind as i32,
            dims: dims.to_vec(),
            raw_data,
            ..TensorProto::default()
        }
    }

    fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    }

    /// What the graph makes of its inputs, by tract's own convolutions or by ours.
    fn run(file: &ModelProto, ours: bool, inputs: &[Tensor]) -> Vec<Vec<f32>> {
        let mut reader = tract_onnx::onnx();
        let mut file = file.clone();
        if ours {
            register(&mut reader.op_register);
            rewrite(file.graph.as_mut().expect("a graph"));
        }
        let mut model = reader.model_for_proto_model(&file).expect("it can be read");
        for (i, input) in inputs.iter().enumerate() {
            model.set_input_fact(i, InferenceFact::dt_shape(f32::datum_type(), input.shape())).expect("it fits");
        }
        let plan = model.into_optimized().expect("a graph").into_runnable().expect("a plan");
        let outputs = plan.run(inputs.iter().map(|t| t.clone().into_tvalue()).collect()).expect("it runs");
        outputs
            .iter()
            .map(|o| o.try_as_plain_ram().expect("plain").as_slice::<f32>().expect("floats").to_vec())
            .collect()
    }

    fn same(left: &[Vec<f32>], right: &[Vec<f32>]) {
        assert_eq!(left.iter().map(Vec::len).collect::<Vec<_>>(), right.iter().map(Vec::len).collect::<Vec<_>>());
        for (l, r) in left.iter().flatten().zip(right.iter().flatten()) {
            assert!((l - r).abs() < 1e-4 * l.abs().max(1.0), "{l} and {r}");
        }
    }

    fn wave(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 0.7).sin()).collect();
        Tensor::from_shape(shape, &values).expect("it fits")
    }

    #[test]
    fn the_encoder_computes_what_it_did_without_a_convolution_of_tract() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/default/encoder.onnx");
        let file = tract_onnx::onnx().proto_model_for_path(path).expect("the model");
        let graph = file.graph.clone().expect("a graph");
        let mut rewritten = graph.clone();
        rewrite(&mut rewritten);
        let count = |graph: &GraphProto, op: &str| graph.node.iter().filter(|n| n.op_type == op).count();
        let convolutions = count(&graph, "Conv");
        assert!(convolutions > 20);
        assert_eq!((count(&rewritten, "Conv"), count(&rewritten, NAME)), (0, convolutions));
        assert_eq!(count(&rewritten, "Mul"), 0, "weights in eight bits become floats");
        // The sum with the residual keeps its own.
        assert!(count(&rewritten, "Relu") < count(&graph, "Relu"));

        let size = |input: &tract_onnx::pb::ValueInfoProto| -> Vec<usize> {
            let kind = input.r#type.as_ref().and_then(|t| t.value.as_ref());
            let Some(type_proto::Value::TensorType(tensor)) = kind else { panic!("no tensor") };
            let dims = tensor.shape.as_ref().expect("a shape").dim.iter();
            dims.map(|d| match d.value {
                Some(tensor_shape_proto::dimension::Value::DimValue(n)) => n as usize,
                _ => 12,
            })
            .collect()
        };
        let inputs: Vec<Tensor> = graph.input.iter().map(|i| wave(&size(i))).collect();
        same(&run(&file, false, &inputs), &run(&file, true, &inputs));
    }

    fn cast(input: &str, output: &str) -> NodeProto {
        let mut cast = node("Cast", &[input], output);
        cast.attribute.push(AttributeProto {
            name: "to".into(),
            r#type: attribute_proto::AttributeType::Int as i32,
            i: i64::from(DataType::Float as i32),
            ..AttributeProto::default()
        });
        cast
    }

    fn conv(x: &str, weights: &str, output: &str, moves: &[AttributeProto]) -> NodeProto {
        let mut conv = node("Conv", &[x, weights, "b"], output);
        conv.attribute.push(ints("kernel_shape", &[3]));
        conv.attribute.extend_from_slice(moves);
        conv
    }

    fn value(name: &str, dims: &[i64]) -> tract_onnx::pb::ValueInfoProto {
        let dim = |n: &i64| tract_onnx::pb::tensor_shape_proto::Dimension {
            value: Some(tensor_shape_proto::dimension::Value::DimValue(*n)),
            ..Default::default()
        };
        let shape = tract_onnx::pb::TensorShapeProto { dim: dims.iter().map(dim).collect() };
        let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
        let kind = Some(type_proto::Value::TensorType(tensor));
        let kind = tract_onnx::pb::TypeProto { value: kind, ..Default::default() };
        tract_onnx::pb::ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
    }

    /// A graph of `x`, `[2, 2, frames]`, and `given`, with weights of 16 outputs, 2 inputs and 3 taps in every precision.
    fn file(node: Vec<NodeProto>, frames: i64, outputs: &[(&str, i64)]) -> ModelProto {
        let halves = |count: i32| (0..count).flat_map(|i| half(i as f32 / 16.0 - 2.0)).collect();
        let graph = GraphProto {
            node,
            initializer: vec![
                constant("w8", DataType::Int8, &[16, 2, 3], (0..96_u8).map(|i| i.wrapping_mul(9)).collect()),
                constant("steps", DataType::Float, &[16, 1, 3], floats((1..49).map(|i| 0.001 * i as f32))),
                constant("shared", DataType::Float, &[16, 1, 1], floats((1..17).map(|i| 0.001 * i as f32))),
                constant("single", DataType::Float, &[16, 2, 3], floats((0..96).map(|i| (i as f32).cos()))),
                constant("w16", DataType::Float16, &[16, 2, 3], halves(96)),
                constant("b16", DataType::Float16, &[16], halves(16)),
            ],
            input: vec![value("x", &[2, 2, frames]), value("given", &[16, 2, 3])],
            output: outputs.iter().map(|(name, frames)| value(name, &[2, 16, *frames])).collect(),
            ..GraphProto::default()
        };
        let version = tract_onnx::pb::OperatorSetIdProto { domain: String::new(), version: 17 };
        ModelProto { graph: Some(graph), opset_import: vec![version], ..ModelProto::default() }
    }

    /// Of sixteenths between -2 and 4, as IEEE 754 has them in 16 bits.
    fn half(value: f32) -> [u8; 2] {
        if value == 0.0 {
            return [0, 0];
        }
        let bits = value.to_bits();
        let exponent = (bits >> 23 & 0xff) - 112;
        ((bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff) as u16).to_le_bytes()
    }

    #[test]
    fn what_is_not_a_plain_convolution_of_constants_stays() {
        let nodes = vec![
            cast("b16", "b"),
            cast("w8", "w32"),
            node("Mul", &["w32", "steps"], "w"),
            // A second user of the weights, and of what the first convolution computes.
            conv("x", "w", "plain", &[]),
            node("Relu", &["plain"], "above"),
            conv("x", "w", "padded", &[ints("pads", &[1, 1])]),
            conv("x", "given", "unknown", &[]),
            node("Mul", &["w32", "shared"], "channels"),
            conv("x", "channels", "by_channel", &[]),
            conv("x", "single", "alone", &[ints("strides", &[2]), ints("dilations", &[2])]),
            node("Relu", &["alone"], "fused"),
            cast("w16", "wh"),
            conv("x", "wh", "halves", &[]),
        ];
        let outputs =
            [("plain", 7), ("above", 7), ("padded", 9), ("unknown", 7), ("by_channel", 7), ("fused", 3), ("halves", 7)];
        let file = file(nodes, 9, &outputs);
        let mut rewritten = file.graph.clone().expect("a graph");
        rewrite(&mut rewritten);
        let ops: Vec<&str> = rewritten.node.iter().map(|n| n.op_type.as_str()).collect();
        let want = ["Cast", "Cast", "Mul", NAME, "Relu", "Conv", "Conv", "Mul", "Conv", NAME, NAME];
        assert_eq!(ops, want);
        let inputs = [wave(&[2, 2, 9]), wave(&[16, 2, 3])];
        same(&run(&file, false, &inputs), &run(&file, true, &inputs));
    }

    #[test]
    fn too_few_frames_give_none() {
        let node = conv("x", "single", "none", &[ints("dilations", &[4])]);
        let file = file(vec![cast("b16", "b"), node], 5, &[("none", 0)]);
        let inputs = [wave(&[2, 2, 5]), wave(&[16, 2, 3])];
        assert_eq!(run(&file, true, &inputs), [Vec::<f32>::new()]);
    }

    #[test]
    fn no_file_names_the_operator_itself() {
        let mut reader = tract_onnx::onnx();
        register(&mut reader.op_register);
        let file = file(vec![cast("b16", "b"), node(NAME, &["x", "single", "b"], "out")], 9, &[("out", 7)]);
        let error = reader.model_for_proto_model(&file).expect_err("no such operator");
        assert!(format!("{error:#}").contains("is unknown"), "{error:#}");
    }
}
