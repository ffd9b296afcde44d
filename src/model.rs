//! The door to the network: [`Model::load`], [`Session::run`].
//!
//! A file, which `origin` reads, passes through eight steps, each a file of this folder: `skim` takes all but the weights,
//! `wire` bounds what their protobuf can ask for, `graph` decodes it, `check` looks whether its nodes can be (and with
//! `attributes` whether all that they say is computed), `normalise` brings every way of quantising into one form,
//! `rewrite` says in other nodes what tract would pass over, `lower` compiles what is quantised into int8 programs, and
//! tract, with the operators of `ops`, types and schedules what is left. `session` runs it.
//!
//! This folder is the only place that names tract.

mod attributes;
mod builtin;
mod channels;
mod check;
mod coverage;
mod distances;
pub mod edit;
mod fold;
mod graph;
mod guard;
mod load;
mod lower;
mod metadata;
mod narrow;
mod normalise;
mod operators;
mod ops;
mod origin;
mod quantised;
mod remainder;
mod rewrite;
mod session;
mod shapes;
mod skim;
mod softmax;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::limits::Limits;
use oltr_int8::kernels;
use origin::Origin;

pub use builtin::builtin_bytes;
pub use coverage::{Coverage, Fallback};
pub use guard::error_of_panic;
pub use metadata::{graph_sha256, with_metadata, with_open};
pub use session::{Attention, Outputs, RunTimes, Session};

/// The environment variable that names the kernels to use, for tests and comparisons.
pub const ISA_VARIABLE: &str = kernels::ISA_VARIABLE;

/// Names of the kernel sets that this machine can run, the fastest first: `avx2`, `neoni8mm`, `scalar`, …
pub fn available_kernels() -> Vec<&'static str> {
    kernels::available().iter().map(|set| set.isa()).collect()
}

/// Name of the kernel set that models loaded now will use: the fastest, or the one that [`ISA_VARIABLE`] names.
///
/// # Errors
/// [`Error::Config`] if it names kernels that this machine cannot run.
pub fn selected_kernels() -> Result<&'static str> {
    kernels::select().map(|set| set.isa()).map_err(Error::Config)
}

/// Who runs the quantised parts of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Our int8 programs, and tract for the float remainder.
    #[default]
    Int8,
    /// tract alone, operator by operator: slow, for comparison and as a reference.
    Tract,
}

/// How to load a model.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds that the file must keep.
    pub limits: Limits,
    /// Who runs the quantised parts.
    pub engine: Engine,
    /// Threads of one session, at least 1.
    pub threads: usize,
    /// Hash the graph too, for [`Model::graph_sha256`]: a second hash over the file.
    pub hash_graph: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { limits: Limits::default(), engine: Engine::Int8, threads: 1, hash_graph: false }
    }
}

/// One input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// Its shape, the batch of 1 included.
    pub shape: Vec<usize>,
}

impl Port {
    /// Number of elements.
    pub fn volume(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A loaded graph, shared by its sessions.
#[derive(Clone, Debug)]
pub struct Model {
    inner: Arc<load::Loaded>,
}

impl Model {
    /// Loads the ONNX file at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; as [`Model::from_bytes`] for
    /// what is in the file.
    pub fn load(path: impl AsRef<Path>, options: &Options) -> Result<Model> {
        let path = path.as_ref();
        let origin = Origin::open(path, &options.limits)?;
        Model::from_origin(&path.display().to_string(), &origin, options)
    }

    /// Loads an ONNX file from memory; `name` stands in messages.
    ///
    /// # Errors
    /// [`Error::BadModel`] for a damaged or inconsistent file,
    /// [`Error::UnsupportedNodes`] listing all nodes that cannot run,
    /// [`Error::Metadata`] for `oltr.` keys that do not fit the format or the graph,
    /// [`Error::Limit`] for what is larger than allowed.
    pub fn from_bytes(name: &str, bytes: &[u8], options: &Options) -> Result<Model> {
        Model::from_origin(name, &Origin::memory(bytes), options)
    }

    /// As [`Model::from_bytes`], but with the logits as the graph computes them: the bundle's temperature is left out. What
    /// is fitted to logits is fitted to these; divided twice they would be rounded otherwise than once.
    ///
    /// # Errors
    /// As [`Model::from_bytes`].
    pub fn undivided(name: &str, bytes: &[u8], options: &Options) -> Result<Model> {
        let model = Model::from_bytes(name, bytes, options)?;
        match model.bundle().map(|bundle| &bundle.open).filter(|open| open.temperature.is_some()) {
            None => Ok(model),
            Some(open) => {
                let open = crate::bundle::Open { temperature: None, ..open.clone() };
                Model::from_bytes(name, &with_open(name, bytes, &open, &options.limits)?, options)
            }
        }
    }

    fn from_origin(name: &str, origin: &Origin, options: &Options) -> Result<Model> {
        Ok(Model { inner: Arc::new(load::load(name, origin, options)?) })
    }

    /// Loads the bundle that is built into the library.
    ///
    /// # Errors
    /// [`Error::Config`] without the feature `demo-model`.
    pub fn builtin(options: &Options) -> Result<Model> {
        Model::from_origin("builtin", &builtin::origin()?, options)
    }

    /// File name (or `builtin`), for messages.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// SHA-256 of the file, 64 hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// SHA-256 of the file without its metadata, as [`graph_sha256`] computes it; `None` unless
    /// [`Options::hash_graph`] asked for it.
    pub fn graph_sha256(&self) -> Option<&str> {
        self.inner.graph_sha256.as_deref()
    }

    /// As [`Model::bundle`], for whoever cannot do without.
    ///
    /// # Errors
    /// [`Error::Metadata`] for a graph without classes.
    pub fn try_bundle(&self) -> Result<&Bundle> {
        self.bundle().ok_or_else(|| Error::Metadata {
            model: self.name().into(),
            key: "oltr.classes",
            reason:
                "is missing: this is a graph without classes; make a bundle of it with 'oltr adopt', or export it as \
                     one. 'oltr inspect', 'oltr bench' and 'oltr verify' work without"
                    .into(),
        })
    }

    /// Classes, preprocessing and rule; `None` for a graph without that metadata.
    pub fn bundle(&self) -> Option<&Bundle> {
        self.inner.bundle.as_ref()
    }

    /// All ONNX metadata of the file, also what oltr does not interpret.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.metadata
    }

    /// Inputs of the graph, in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inner.inputs
    }

    /// Outputs of the graph, in order.
    pub fn outputs(&self) -> &[Port] {
        &self.inner.outputs
    }

    /// What the loaded graph consists of, for people.
    pub fn summary(&self) -> &Summary {
        &self.inner.summary
    }

    /// A session: the buffers of one run at a time. Sessions of one model share its weights.
    ///
    /// # Errors
    /// [`Error::Limit`] where `Limits::memory_bytes` does not hold weights and buffers.
    pub fn session(&self) -> Result<Session> {
        Session::new(self.inner.clone())
    }
}

/// The bytes of the model file at `path`, within `Limits::model_bytes`: for what concerns the file rather than the
/// graph in it, such as its metadata.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Io`], [`Error::Limit`].
pub fn read_file(path: impl AsRef<Path>, limits: &Limits) -> Result<Vec<u8>> {
    let origin = Origin::open(path.as_ref(), limits)?;
    let bytes = origin.bytes(&(0..origin.length())).into_owned();
    origin.check()?;
    Ok(bytes)
}

/// What a loaded graph consists of, and what it takes.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Summary {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Instruction set of the kernels: `scalar`, `avx2`, `avxvnni`, `avx512vnni`, `neon`, `neondot`, `neoni8mm`, …
    pub isa: String,
    /// Bytes of the weights as they lie in memory.
    pub weights_bytes: u64,
    /// Bytes of the buffers of one session that hold what passes between layers.
    pub arena_bytes: u64,
    /// Bytes that the kernels of one session work in beside, for each of its threads.
    pub scratch_bytes: u64,
    /// Operators of the ONNX graph and how many of each.
    pub operators: BTreeMap<String, usize>,
    /// How the file is quantised, for people: `QDQ uint8 per channel`, `float`, …
    pub quantisation: String,
    /// How much of it runs in int8, and what keeps the rest from it.
    pub coverage: Coverage,
    /// The steps that run, in order.
    pub steps: Vec<Step>,
}

impl Summary {
    /// Bytes that a model and one session of it take: weights, arena and scratch.
    pub fn needed_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.arena_bytes).saturating_add(self.scratch_bytes)
    }
}

/// One step of a loaded graph.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Step {
    /// Name, from the ONNX file.
    pub name: String,
    /// What it does: `conv 3x3 s2`, `tract Softmax`, …
    pub op: String,
    /// Element type of its result: `u8`, `i8`, `f32`.
    pub dtype: String,
    /// Logical (ONNX) shape of its result.
    pub shape: Vec<usize>,
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// Kernel that was picked, empty for tract's own.
    pub kernel: String,
    /// Which int8 program it belongs to; `None` where tract runs it.
    pub program: Option<usize>,
}

/// Time of one step, from `bench --profile`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct StepTime {
    /// Index into [`Summary::steps`].
    pub step: usize,
    /// Median over the runs, in microseconds.
    pub micros: f64,
}
