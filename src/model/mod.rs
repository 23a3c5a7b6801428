//! ONNX models: backends, the bundle that holds a model's files, and the graphs by their roles.

mod bundle;
mod embedded;
mod encoder;
mod heads;
mod manifest;
#[cfg(feature = "ort")]
mod ort;
mod tower;
#[cfg(feature = "tract")]
mod tract;

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub use bundle::{Bundle, FILES, LEVEL_FILE, sha256};
pub(crate) use encoder::log_softmax;
pub use encoder::{Encoder, EncoderOutput, EncoderSpec, StreamEncoder};
pub use heads::{LevelNet, TextEncoder, WindowHead};
pub use manifest::{EmbeddingSection, EncoderSection, FileEntry, Manifest, TextSection, TowersSection};
pub use tower::AudioTower;

/// What can go wrong with a model or a backend. Its text tells it all, the system's reason included.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file of the bundle that cannot be read.
    #[error("cannot read {path}: {reason}; a bundle is a folder with manifest.toml and the files it names")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A manifest that is not one.
    #[error("{path}: {message}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Line, key and reason.
        message: String,
    },
    /// A field of the manifest that does not fit this program or the files.
    #[error("model manifest: `{field}` is {got}, expected {expected}; use a bundle made for this version")]
    Mismatch {
        /// Dotted name of the field.
        field: String,
        /// What it says.
        got: String,
        /// What it should say.
        expected: String,
    },
    /// A file that is not what its manifest describes.
    #[error("{file} is damaged: its SHA-256 is not the one in manifest.toml; copy the bundle again")]
    Damaged {
        /// The file's name.
        file: String,
    },
    /// A backend that this build does not hold.
    #[error("this build has no `{0}` backend; rebuild with `--features {0}`")]
    NoBackend(Backend),
    /// A library or provider that the backend needs and that is not there.
    #[error("ONNX Runtime cannot be used: {0}; set ORT_DYLIB_PATH to libonnxruntime.so, or use --backend tract")]
    Runtime(String),
    /// A graph that the backend refuses to load or run.
    #[error("{backend} cannot {action} `{graph}`: {message}; the file may be damaged or made for another version")]
    Graph {
        /// The backend.
        backend: Backend,
        /// `load` or `run`.
        action: &'static str,
        /// The graph's role.
        graph: String,
        /// What the backend said.
        message: String,
    },
    /// Tensors of a shape that the caller's side of the contract forbids.
    #[error("{what} has {got} values, expected {expected}")]
    Shape {
        /// The tensor.
        what: &'static str,
        /// Its length.
        got: usize,
        /// What it should be.
        expected: String,
    },
}

/// Inference engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// tract: pure Rust, nothing to install.
    Tract,
    /// ONNX Runtime, loaded at run time.
    Ort,
}

impl Default for Backend {
    fn default() -> Self {
        if cfg!(feature = "tract") { Self::Tract } else { Self::Ort }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tract => "tract",
            Self::Ort => "ort",
        })
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "tract" => Ok(Self::Tract),
            "ort" => Ok(Self::Ort),
            other => Err(format!("no backend `{other}`; use tract or ort")),
        }
    }
}

/// Where ONNX Runtime computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU; needs a CUDA build of the library.
    Cuda,
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => Err(format!("no provider `{other}`; use cpu or cuda")),
        }
    }
}

/// A backend and where it computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendChoice {
    /// Engine.
    pub backend: Backend,
    /// Provider, for ONNX Runtime.
    pub provider: Provider,
}

/// An owned dense tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// Single precision.
    F32 {
        /// Dimensions.
        shape: Vec<usize>,
        /// Values.
        data: Vec<f32>,
    },
    /// Indices.
    I64 {
        /// Dimensions.
        shape: Vec<usize>,
        /// Values.
        data: Vec<i64>,
    },
}

impl Tensor {
    /// A single-precision tensor.
    ///
    /// # Panics
    /// If `data` does not fill `shape`.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "data fills the shape");
        Self::F32 { shape: shape.to_vec(), data }
    }

    /// A tensor of indices.
    ///
    /// # Panics
    /// If `data` does not fill `shape`.
    pub fn i64(shape: &[usize], data: Vec<i64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "data fills the shape");
        Self::I64 { shape: shape.to_vec(), data }
    }

    /// Dimensions.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32 { shape, .. } | Self::I64 { shape, .. } => shape,
        }
    }

    /// The values, if single precision.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match self {
            Self::F32 { data, .. } => Some(data),
            Self::I64 { .. } => None,
        }
    }
}

/// A file's bytes, inside the program or shared: clones cost nothing.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// Inside the program.
    Static(&'static [u8]),
    /// Read.
    Shared(Arc<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Shared(bytes.into())
    }
}

/// An input that an output of the run before feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Name of the input.
    pub input: String,
    /// Name of the output.
    pub output: String,
    /// Their dimensions.
    pub shape: Vec<usize>,
}

/// A loaded ONNX graph, private to one stream.
pub trait Graph: Send {
    /// Runs the graph; inputs by name, outputs in graph order, without those that are kept.
    ///
    /// # Errors
    /// [`ModelError::Graph`] with what the backend said; the kept states are then zero again.
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ModelError>;

    /// Names of the outputs, in graph order, without those that are kept.
    fn output_names(&self) -> &[String];

    /// Keeps these states from run to run where the backend has them, in place of earlier ones; they start at zero.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] names an input or output that the graph lacks.
    fn keep(&mut self, states: Vec<State>) -> Result<(), ModelError>;

    /// Sets the kept states to zero.
    fn reset(&mut self);
}

/// Place of `wanted` among the names of a graph's inputs or outputs; `role` names the graph, `kind` which of them.
fn place(names: &[String], wanted: &str, role: &str, kind: &str) -> Result<usize, ModelError> {
    names.iter().position(|n| n == wanted).ok_or_else(|| ModelError::Mismatch {
        field: role.into(),
        got: format!("a graph with {kind}s {names:?}"),
        expected: format!("an {kind} `{wanted}`"),
    })
}

/// Loads an ONNX file; `role` names it in errors.
///
/// # Errors
/// [`ModelError::NoBackend`], [`ModelError::Runtime`] or [`ModelError::Graph`].
#[cfg_attr(
    not(any(feature = "tract", feature = "ort")),
    allow(unused_variables, reason = "a library without a backend can load nothing")
)]
pub fn load_graph(onnx: Bytes, role: &str, choice: BackendChoice) -> Result<Box<dyn Graph>, ModelError> {
    match choice.backend {
        #[cfg(feature = "tract")]
        Backend::Tract => Ok(Box::new(tract::TractGraph::load(onnx, role)?)),
        #[cfg(feature = "ort")]
        Backend::Ort => Ok(Box::new(ort::OrtGraph::load(&onnx, role, choice.provider)?)),
        #[allow(unreachable_patterns, reason = "reachable in builds that lack a backend")]
        missing => Err(ModelError::NoBackend(missing)),
    }
}
