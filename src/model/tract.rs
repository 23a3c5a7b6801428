//! The tract backend.

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

    /// Index of the plan for inputs of these types and shapes, made where it is missing.
    fn plan(&mut self, facts: &[(DatumType, &[usize])]) -> Result<usize, ModelError> {
        let fits = |shapes: &[Vec<usize>]| shapes.iter().zip(facts).all(|(s, (_, shape))| s == shape);
        if let Some(i) = self.plans.iter().position(|(shapes, _)| fits(shapes)) {
            return Ok(i);
        }
        let parsed = self.parsed.take();
        let build = || -> TractResult<TypedSimpleState> {
            let mut model = parsed.map_or_else(|| parse(&self.onnx), Ok)?;
            for (i, (kind, shape)) in facts.iter().enumerate() {
                model.set_input_fact(i, InferenceFact::dt_shape(*kind, *shape))?;
            }
            model.into_optimized()?.into_runnable()?.spawn()
        };
        let state = build().map_err(|e| self.fail(format!("{e:#}")))?;
        if self.plans.len() == MOST_PLANS {
            self.plans.remove(0);
        }
        self.plans.push((facts.iter().map(|(_, shape)| shape.to_vec()).collect(), state));
        Ok(self.plans.len() - 1)
    }
}

fn parse(onnx: &[u8]) -> TractResult<InferenceModel> {
    tract_onnx::onnx().model_for_read(&mut &*onnx)
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
        let mut kept: Vec<(usize, Option<TValue>)> = self.kept.iter_mut().map(|k| (k.input, k.value.take())).collect();
        // In the graph's order: a given tensor, or the place of a state in `kept`.
        let mut ordered = Vec::with_capacity(self.inputs.len());
        for (i, name) in self.inputs.iter().enumerate() {
            let state = self.kept.iter().position(|k| k.input == i);
            let given = inputs.iter().find(|(n, _)| n == name).map(|(_, t)| *t);
            ordered.push(match (state, given) {
                (Some(k), _) => Err(k),
                (None, Some(tensor)) => Ok(tensor),
                (None, None) => return Err(self.fail(format!("input `{name}` is missing"))),
            });
        }
        let shapes: Vec<Vec<usize>> = self.kept.iter().map(|k| k.shape.clone()).collect();
        let facts: Vec<(DatumType, &[usize])> = ordered
            .iter()
            .map(|value| match value {
                Ok(Tensor::I64 { shape, .. }) => (i64::datum_type(), shape.as_slice()),
                Ok(Tensor::F32 { shape, .. }) => (f32::datum_type(), shape.as_slice()),
                Err(k) => (f32::datum_type(), shapes[*k].as_slice()),
            })
            .collect();
        let plan = self.plan(&facts)?;
        let state = &mut self.plans[plan].1;
        // A loop (LSTM) keeps its last state from run to run; every run of ours starts from zero, so it gets a fresh copy.
        let mut fresh = state.op_states.iter().any(Option::is_some).then(|| state.clone());
        let state = fresh.as_mut().unwrap_or(state);
        let states = &mut self.kept;
        let mut run = || -> TractResult<Vec<Tensor>> {
            let values = ordered
                .iter()
                .map(|value| match value {
                    Ok(tensor) => to_tract(tensor),
                    Err(k) => kept[*k].1.take().map_or_else(|| zero(&shapes[*k]), Ok),
                })
                .collect::<TractResult<TVec<_>>>()?;
            let mut given = Vec::new();
            for (i, value) in state.run(values)?.into_iter().enumerate() {
                match states.iter_mut().find(|k| k.output == i) {
                    Some(kept) => kept.value = Some(value),
                    None => given.push(from_tract(&value)?),
                }
            }
            Ok(given)
        };
        run().map_err(|e| {
            self.reset();
            self.fail(format!("{e:#}"))
        })
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
