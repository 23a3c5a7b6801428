//! The ONNX Runtime backend, loaded at run time.

use std::path::PathBuf;
use std::sync::Mutex;

use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType, ValueType};

use super::{Backend, Graph, ModelError, Provider, State, Tensor, place};

/// The process's one environment; the library is loaded when the first graph asks for it.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

fn environment() -> Result<Environment, ModelError> {
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(environment) = &*slot {
        return Ok(environment.clone());
    }
    let library = std::env::var_os("ORT_DYLIB_PATH").map_or_else(|| PathBuf::from("libonnxruntime.so"), PathBuf::from);
    let fail = |e: String| ModelError::Runtime(format!("{}: {e}", library.display()));
    let environment =
        ort::init_from(&library).map_err(|e| fail(e.to_string()))?.build().map_err(|e| fail(e.to_string()))?;
    Ok(slot.insert(environment).clone())
}

/// One session.
pub struct OrtGraph {
    role: String,
    session: Session,
    /// Outputs that are not kept.
    outputs: Vec<String>,
    /// States and what feeds them; nothing is zero.
    kept: Vec<(State, Option<DynValue>)>,
}

impl OrtGraph {
    /// Loads an ONNX file.
    pub fn load(onnx: &[u8], role: &str, provider: Provider) -> Result<Self, ModelError> {
        let environment = environment()?;
        let fail =
            |message: String| ModelError::Graph { backend: Backend::Ort, action: "load", graph: role.into(), message };
        let mut builder = Session::builder(&environment)
            .map_err(|e| ModelError::Runtime(e.to_string()))?
            .with_intra_threads(1)
            .map_err(|e| fail(e.to_string()))?;
        if provider == Provider::Cuda {
            let cuda = ort::ep::CUDA::default().build().error_on_failure();
            builder = builder.with_execution_providers([cuda]).map_err(|e| {
                ModelError::Runtime(format!("no CUDA provider ({e}); use a GPU build of the library or --provider cpu"))
            })?;
        }
        let session = builder.commit_from_memory(onnx).map_err(|e| fail(e.to_string()))?;
        for output in session.outputs() {
            let ValueType::Tensor { ty: TensorElementType::Float32, .. } = output.dtype() else {
                return Err(fail(format!("output `{}` is not single precision", output.name())));
            };
        }
        let outputs = output_names(&session);
        Ok(Self { role: role.into(), session, outputs, kept: Vec::new() })
    }
}

fn output_names(session: &Session) -> Vec<String> {
    session.outputs().iter().map(|o| o.name().to_owned()).collect()
}

fn to_ort(tensor: &Tensor) -> ort::Result<DynValue> {
    Ok(match tensor {
        Tensor::F32 { shape, data } => ort::value::Tensor::from_array((shape.clone(), data.clone()))?.into_dyn(),
        Tensor::I64 { shape, data } => ort::value::Tensor::from_array((shape.clone(), data.clone()))?.into_dyn(),
    })
}

fn zero(shape: &[usize]) -> ort::Result<DynValue> {
    Ok(ort::value::Tensor::from_array((shape.to_vec(), vec![0.0_f32; shape.iter().product()]))?.into_dyn())
}

impl OrtGraph {
    fn answer(&mut self, inputs: &[(&str, &Tensor)]) -> ort::Result<Vec<Tensor>> {
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len() + self.kept.len());
        for (name, tensor) in inputs {
            values.push((name, to_ort(tensor)?.into()));
        }
        for (state, value) in &mut self.kept {
            let value = value.take().map_or_else(|| zero(&state.shape), Ok)?;
            values.push((&state.input, value.into()));
        }
        let mut outputs = self.session.run(values)?;
        for (state, value) in &mut self.kept {
            *value = outputs.remove(&state.output);
        }
        self.outputs
            .iter()
            .map(|name| {
                let (shape, data) = outputs[name.as_str()].try_extract_tensor::<f32>()?;
                Ok(Tensor::F32 { shape: shape.iter().map(|&d| d as usize).collect(), data: data.to_vec() })
            })
            .collect()
    }
}

impl Graph for OrtGraph {
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ModelError> {
        self.answer(inputs).map_err(|e| {
            self.reset();
            let graph = self.role.clone();
            ModelError::Graph { backend: Backend::Ort, action: "run", graph, message: e.to_string() }
        })
    }

    fn output_names(&self) -> &[String] {
        &self.outputs
    }

    fn keep(&mut self, states: Vec<State>) -> Result<(), ModelError> {
        let inputs: Vec<String> = self.session.inputs().iter().map(|i| i.name().to_owned()).collect();
        self.outputs = output_names(&self.session);
        for state in &states {
            place(&inputs, &state.input, &self.role, "input")?;
            let at = place(&self.outputs, &state.output, &self.role, "output")?;
            self.outputs.remove(at);
        }
        self.kept = states.into_iter().map(|state| (state, None)).collect();
        Ok(())
    }

    fn reset(&mut self) {
        for (_, value) in &mut self.kept {
            *value = None;
        }
    }
}
