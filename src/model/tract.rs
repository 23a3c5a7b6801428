//! The tract backend.

use tract_onnx::prelude::*;

use super::{Backend, Graph, ModelError, Tensor};

/// Plans kept for one graph; texts come in a few dozen lengths, audio chunks in one or two.
const MOST_PLANS: usize = 24;

/// One graph with a plan for every shape it has met: tract runs a plan for fixed shapes up to twice as fast as a symbolic one.
pub struct TractGraph {
    role: String,
    model: InferenceModel,
    inputs: Vec<String>,
    outputs: Vec<String>,
    plans: Vec<(Vec<Vec<usize>>, TypedSimpleState)>,
}

impl TractGraph {
    /// Parses an ONNX file.
    pub fn load(onnx: &[u8], role: &str) -> Result<Self, ModelError> {
        let fail = |message: String| ModelError::Graph {
            backend: Backend::Tract,
            action: "load",
            graph: role.into(),
            message,
        };
        let model = tract_onnx::onnx().model_for_read(&mut &*onnx).map_err(|e| fail(format!("{e:#}")))?;
        let names = |outlets: &[OutletId]| -> Vec<String> {
            let label =
                |o: &OutletId| model.outlet_label(*o).map_or_else(|| model.node(o.node).name.clone(), str::to_owned);
            outlets.iter().map(label).collect()
        };
        let inputs = model.inputs.iter().map(|o| model.node(o.node).name.clone()).collect();
        let outputs = names(&model.outputs);
        Ok(Self { role: role.into(), inputs, outputs, plans: Vec::new(), model })
    }

    fn fail(&self, message: String) -> ModelError {
        ModelError::Graph { backend: Backend::Tract, action: "run", graph: self.role.clone(), message }
    }

    /// Index of the plan for these inputs, made where it is missing.
    fn plan(&mut self, ordered: &[&Tensor]) -> Result<usize, ModelError> {
        let fits = |shapes: &[Vec<usize>]| shapes.iter().zip(ordered).all(|(s, t)| s == t.shape());
        if let Some(i) = self.plans.iter().position(|(shapes, _)| fits(shapes)) {
            return Ok(i);
        }
        let build = || -> TractResult<TypedSimpleState> {
            let mut model = self.model.clone();
            for (i, tensor) in ordered.iter().enumerate() {
                let kind = match tensor {
                    Tensor::F32 { .. } => f32::datum_type(),
                    Tensor::I64 { .. } => i64::datum_type(),
                };
                model.set_input_fact(i, InferenceFact::dt_shape(kind, tensor.shape()))?;
            }
            model.into_optimized()?.into_runnable()?.spawn()
        };
        let state = build().map_err(|e| self.fail(format!("{e:#}")))?;
        if self.plans.len() == MOST_PLANS {
            self.plans.remove(0);
        }
        self.plans.push((ordered.iter().map(|t| t.shape().to_vec()).collect(), state));
        Ok(self.plans.len() - 1)
    }
}

fn to_tract(tensor: &Tensor) -> TractResult<TValue> {
    Ok(match tensor {
        Tensor::F32 { shape, data } => tract_onnx::prelude::Tensor::from_shape(shape, data)?.into_tvalue(),
        Tensor::I64 { shape, data } => tract_onnx::prelude::Tensor::from_shape(shape, data)?.into_tvalue(),
    })
}

impl Graph for TractGraph {
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ModelError> {
        let mut ordered = Vec::with_capacity(inputs.len());
        for name in &self.inputs {
            let given = inputs.iter().find(|(n, _)| n == name).map(|(_, t)| *t);
            ordered.push(given.ok_or_else(|| self.fail(format!("input `{name}` is missing")))?);
        }
        let plan = self.plan(&ordered)?;
        let state = &mut self.plans[plan].1;
        // A loop (LSTM) keeps its last state from run to run; every run of ours starts from zero, so it gets a fresh copy.
        let mut fresh = state.op_states.iter().any(Option::is_some).then(|| state.clone());
        let state = fresh.as_mut().unwrap_or(state);
        let mut run = || -> TractResult<Vec<Tensor>> {
            let values = ordered.iter().map(|t| to_tract(t)).collect::<TractResult<TVec<_>>>()?;
            let outputs = state.run(values)?;
            outputs
                .iter()
                .map(|value| {
                    let view = value.to_plain_array_view::<f32>()?;
                    let data = view.as_slice().map_or_else(|| view.iter().copied().collect(), <[f32]>::to_vec);
                    Ok(Tensor::F32 { shape: view.shape().to_vec(), data })
                })
                .collect()
        };
        run().map_err(|e| self.fail(format!("{e:#}")))
    }

    fn output_names(&self) -> &[String] {
        &self.outputs
    }
}
