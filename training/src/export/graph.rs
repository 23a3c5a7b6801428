//! A small writer of ONNX graphs over the protobuf types: libtorch has no exporter.

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

/// Operator set of everything that is written.
pub const OPSET: i64 = 17;

/// Builds one graph; every method adds a node and returns the name of its output.
pub struct GraphBuilder {
    graph: GraphProto,
    count: usize,
}

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// Named, free.
    Free(&'static str),
}

fn info(name: &str, kind: DataType, dims: &[Dim]) -> ValueInfoProto {
    let dim = |d: &Dim| Dimension {
        value: Some(match *d {
            Dim::Fixed(n) => dimension::Value::DimValue(n as i64),
            Dim::Free(name) => dimension::Value::DimParam(name.into()),
        }),
        ..Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: kind as i32,
        shape: Some(TensorShapeProto { dim: dims.iter().map(dim).collect() }),
    };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..AttributeProto::default() }
}

/// A node with one output; it has the output's name.
pub(super) fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: format!("n_{output}"),
        op_type: op.into(),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}

/// A constant in single precision.
pub(super) fn single(name: &str, dims: Vec<i64>, values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims,
        data_type: DataType::Float as i32,
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self { graph: GraphProto { name: name.into(), ..GraphProto::default() }, count: 0 }
    }

    /// Declares a single-precision input.
    pub fn input(&mut self, name: &str, dims: &[Dim]) -> String {
        self.graph.input.push(info(name, DataType::Float, dims));
        name.into()
    }

    /// Declares an input of indices.
    pub fn input_ids(&mut self, name: &str, dims: &[Dim]) -> String {
        self.graph.input.push(info(name, DataType::Int64, dims));
        name.into()
    }

    /// Declares `value` to be the output `name`.
    pub fn output(&mut self, value: &str, name: &str, dims: &[Dim]) {
        self.push("Identity", &[value], name.into(), Vec::new());
        self.graph.output.push(info(name, DataType::Float, dims));
    }

    /// A constant of weights.
    ///
    /// # Panics
    /// If `data` does not fill `shape`.
    pub fn weights(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "`{name}` fills its shape");
        self.graph.initializer.push(single(name, shape.iter().map(|&d| d as i64).collect(), data));
        name.into()
    }

    fn indices(&mut self, values: &[i64]) -> String {
        let name = self.fresh("index");
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            dims: vec![values.len() as i64],
            data_type: DataType::Int64 as i32,
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
        name
    }

    fn fresh(&mut self, stem: &str) -> String {
        self.count += 1;
        format!("{stem}_{}", self.count)
    }

    fn push(&mut self, op: &str, inputs: &[&str], output: String, attribute: Vec<AttributeProto>) -> String {
        self.graph.node.push(node(op, inputs, &output, attribute));
        output
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = self.fresh(&op.to_lowercase());
        self.push(op, inputs, output, attribute)
    }

    /// 1-D convolution of `[N, C, T]` with `[out, C, k]`.
    #[allow(clippy::too_many_arguments, reason = "the attributes of ONNX's operator")]
    pub fn conv(
        &mut self,
        x: &str,
        weight: &str,
        bias: &str,
        kernel: i64,
        stride: i64,
        dilation: i64,
        pad: [i64; 2],
    ) -> String {
        let attributes = vec![
            ints("kernel_shape", &[kernel]),
            ints("strides", &[stride]),
            ints("dilations", &[dilation]),
            ints("pads", &pad),
        ];
        self.node("Conv", &[x, weight, bias], attributes)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, x: &str) -> String {
        self.node("Relu", &[x], Vec::new())
    }

    /// Sum.
    pub fn add(&mut self, a: &str, b: &str) -> String {
        self.node("Add", &[a, b], Vec::new())
    }

    /// Joins along `axis`.
    pub fn concat(&mut self, parts: &[&str], axis: i64) -> String {
        self.node("Concat", parts, vec![int("axis", axis)])
    }

    /// `x[.., from..to]` along `axis`; negative positions count from the end, `i64::MAX` is the end.
    pub fn slice(&mut self, x: &str, axis: i64, from: i64, to: i64) -> String {
        let (from, to, axis) = (self.indices(&[from]), self.indices(&[to]), self.indices(&[axis]));
        self.node("Slice", &[x, &from, &to, &axis], Vec::new())
    }

    /// Rows of `table` by index.
    pub fn gather(&mut self, table: &str, ids: &str) -> String {
        self.node("Gather", &[table, ids], vec![int("axis", 0)])
    }

    /// Reorders the axes.
    pub fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.node("Transpose", &[x], vec![ints("perm", order)])
    }

    /// Bidirectional LSTM, zero initial states, over `[T, N, input]`; weights in ONNX's gate order i o f c:
    /// `w` `[2, 4 hidden, input]`, `r` `[2, 4 hidden, hidden]`, `b` `[2, 8 hidden]`.
    ///
    /// Returns all hidden states, `[T, 2, N, hidden]`, and the final ones, `[2, N, hidden]`.
    pub fn bilstm(&mut self, x: &str, w: &str, r: &str, b: &str, hidden: i64) -> (String, String) {
        let direction = AttributeProto {
            name: "direction".into(),
            r#type: AttributeType::String as i32,
            s: b"bidirectional".to_vec(),
            ..AttributeProto::default()
        };
        let (all, last) = (self.fresh("lstm"), self.fresh("lstm_last"));
        self.graph.node.push(NodeProto {
            name: format!("n_{all}"),
            op_type: "LSTM".into(),
            input: [x, w, r, b].map(str::to_owned).to_vec(),
            output: vec![all.clone(), last.clone()],
            attribute: vec![direction, int("hidden_size", hidden)],
            ..NodeProto::default()
        });
        (all, last)
    }

    /// Matrix product over the last two axes.
    pub fn matmul(&mut self, a: &str, b: &str) -> String {
        self.node("MatMul", &[a, b], Vec::new())
    }

    /// New shape; one entry may be -1, and 0 keeps the dimension.
    pub fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.indices(shape);
        self.node("Reshape", &[x, &shape], Vec::new())
    }

    /// The finished file.
    pub fn finish(self) -> Vec<u8> {
        let model = ModelProto {
            ir_version: 8,
            producer_name: "kws-train".into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            graph: Some(self.graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }
}
