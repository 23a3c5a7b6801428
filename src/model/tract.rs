//! The tract backend.

mod conv;
mod filters;
mod widen;

use tract_onnx::prelude::*;

use super::{Backend, Bytes, Graph, ModelError, State, Tensor, place};

/// Plans kept for one graph; texts come in a few dozen lengths, audio chunks in one or two.
const MOST_PLANS: usize = 24;

/// One graph with a plan for every shape it has met: tract runs a plan for fixed shapes up to twice as fast as a symbolic one.
///
/// The parsed graph goes into the first plan: most graphs meet one shape, and for the others the file is read again.
pub struct TractGraph {
    role: String,
    onnx: Bytes,
    parsed: Option<InferenceModel>,
    inputs: Vec<String>,
    /// All outputs, and those that are not kept.
    outputs: Vec<String>,
    given: Vec<String>,
    kept: Vec<Kept>,
    plans: Vec<(Vec<Vec<usize>>, TypedSimpleState)>,
}

/// A state, as the backend has it.
struct Kept {
    input: usize,
    output: usize,
    shape: Vec<usize>,
    /// None is zero.
    value: Option<TValue>,
}

impl TractGraph {
    /// Parses an ONNX file.
    pub fn load(onnx: Bytes, role: &str) -> Result<Self, ModelError> {
        let fail = |message: String| ModelError::Graph {
            backend: Backend::Tract,
            action: "load",
            graph: role.into(),
            message,
        };
        let model = parse(&onnx).map_err(|e| fail(format!("{e:#}")))?;
        let names = |outlets: &[OutletId]| -> Vec<String> {
            let label =
                |o: &OutletId| model.outlet_label(*o).map_or_else(|| model.node(o.node).name.clone(), str::to_owned);
            outlets.iter().map(label).collect()
        };
        let inputs = model.inputs.iter().map(|o| model.node(o.node).name.clone()).collect();
        let outputs = names(&model.outputs);
        let given = outputs.clone();
        Ok(Self {
            role: role.into(),
            inputs,
            outputs,
            given,
            kept: Vec::new(),
            plans: Vec::new(),
            parsed: Some(model),
            onnx,
        })
    }

    fn fail(&self, message: String) -> ModelError {
        ModelError::Graph { backend: Backend::Tract, action: "run", graph: self.role.clone(), message }
    }

    /// The inputs in the graph's order: given, or kept from the run before.
    fn values(&mut self, inputs: &[(&str, &Tensor)]) -> Result<TVec<TValue>, ModelError> {
        let mut values = TVec::new();
        for i in 0..self.inputs.len() {
            let name = &self.inputs[i];
            let value = if let Some(kept) = self.kept.iter_mut().find(|k| k.input == i) {
                kept.value.take().map_or_else(|| zero(&kept.shape), Ok)
            } else {
                let given = inputs.iter().find(|(n, _)| n == name);
                to_tract(given.ok_or_else(|| self.fail(format!("input `{name}` is missing")))?.1)
            };
            values.push(value.map_err(|e| self.fail(format!("{e:#}")))?);
        }
        Ok(values)
    }

    /// Index of the plan for inputs of these types and shapes, made where it is missing.
    fn plan(&mut self, values: &[TValue]) -> Result<usize, ModelError> {
        let fits = |shapes: &[Vec<usize>]| shapes.iter().zip(values).all(|(s, v)| s == v.shape());
        if let Some(i) = self.plans.iter().position(|(shapes, _)| fits(shapes)) {
            return Ok(i);
        }
        let parsed = self.parsed.take();
        let build = || -> TractResult<TypedSimpleState> {
            let mut model = parsed.map_or_else(|| parse(&self.onnx), Ok)?;
            for (i, value) in values.iter().enumerate() {
                model.set_input_fact(i, InferenceFact::dt_shape(value.datum_type(), value.shape()))?;
            }
            model.into_optimized()?.into_runnable()?.spawn()
        };
        let state = build().map_err(|e| self.fail(format!("{e:#}")))?;
        if self.plans.len() == MOST_PLANS {
            self.plans.remove(0);
        }
        self.plans.push((values.iter().map(|v| v.shape().to_vec()).collect(), state));
        Ok(self.plans.len() - 1)
    }

    fn answer(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ModelError> {
        let values = self.values(inputs)?;
        let plan = self.plan(&values)?;
        let state = &mut self.plans[plan].1;
        // A loop (LSTM) keeps its last state from run to run; every run of ours starts from zero, so it gets a fresh copy.
        let mut fresh = state.op_states.iter().any(Option::is_some).then(|| state.clone());
        let state = fresh.as_mut().unwrap_or(state);
        let kept = &mut self.kept;
        let run = || -> TractResult<Vec<Tensor>> {
            let mut given = Vec::new();
            for (i, value) in state.run(values)?.into_iter().enumerate() {
                match kept.iter_mut().find(|k| k.output == i) {
                    Some(kept) => kept.value = Some(value),
                    None => given.push(from_tract(&value)?),
                }
            }
            Ok(given)
        };
        run().map_err(|e| self.fail(format!("{e:#}")))
    }
}

fn parse(onnx: &[u8]) -> TractResult<InferenceModel> {
    let mut reader = tract_onnx::onnx();
    let mut file = reader.proto_model_for_read(&mut &*onnx)?;
    if let Some(graph) = file.graph.as_mut().filter(|_| widen::has_vectors()) {
        conv::register(&mut reader.op_register);
        conv::rewrite(graph);
    }
    reader.model_for_proto_model(&file)
}

fn to_tract(tensor: &Tensor) -> TractResult<TValue> {
    Ok(match tensor {
        Tensor::F32 { shape, data } => tract_onnx::prelude::Tensor::from_shape(shape, data)?.into_tvalue(),
        Tensor::I64 { shape, data } => tract_onnx::prelude::Tensor::from_shape(shape, data)?.into_tvalue(),
    })
}

fn zero(shape: &[usize]) -> TractResult<TValue> {
    Ok(tract_onnx::prelude::Tensor::zero::<f32>(shape)?.into_tvalue())
}

fn from_tract(value: &TValue) -> TractResult<Tensor> {
    let view = value.to_plain_array_view::<f32>()?;
    let data = view.as_slice().map_or_else(|| view.iter().copied().collect(), <[f32]>::to_vec);
    Ok(Tensor::F32 { shape: view.shape().to_vec(), data })
}

impl Graph for TractGraph {
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ModelError> {
        let answer = self.answer(inputs);
        if answer.is_err() {
            self.reset();
        }
        answer
    }

    fn output_names(&self) -> &[String] {
        &self.given
    }

    fn keep(&mut self, states: Vec<State>) -> Result<(), ModelError> {
        self.kept = states
            .into_iter()
            .map(|state| {
                Ok(Kept {
                    input: place(&self.inputs, &state.input, &self.role, "input")?,
                    output: place(&self.outputs, &state.output, &self.role, "output")?,
                    shape: state.shape,
                    value: None,
                })
            })
            .collect::<Result<_, ModelError>>()?;
        let all = self.outputs.iter().enumerate();
        self.given =
            all.filter(|(i, _)| self.kept.iter().all(|k| k.output != *i)).map(|(_, name)| name.clone()).collect();
        Ok(())
    }

    fn reset(&mut self) {
        for kept in &mut self.kept {
            kept.value = None;
        }
    }
}
