//! The door to the network: [`Model::load`], [`Session::run`].

use std::collections::BTreeMap;
use std::path::Path;

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::Limits;

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
}

impl Default for Options {
    fn default() -> Self {
        Options { limits: Limits::default(), engine: Engine::Int8, threads: 1 }
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
pub struct Model {}

impl Model {
    /// Loads the ONNX file at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; as [`Model::from_bytes`] for what is in the file.
    pub fn load(path: impl AsRef<Path>, options: &Options) -> Result<Model> {
        let _ = (path, options);
        Err(Error::Internal("not yet".into()))
    }

    /// Loads an ONNX file from memory; `name` stands in messages.
    ///
    /// # Errors
    /// [`Error::BadModel`], [`Error::UnsupportedNodes`], [`Error::Metadata`], [`Error::Limit`].
    pub fn from_bytes(name: &str, bytes: &[u8], options: &Options) -> Result<Model> {
        let _ = (name, bytes, options);
        Err(Error::Internal("not yet".into()))
    }

    /// Loads the bundle that is built into the library.
    ///
    /// # Errors
    /// [`Error::Config`] without the feature `demo-model`.
    pub fn builtin(options: &Options) -> Result<Model> {
        let _ = options;
        Err(Error::Internal("not yet".into()))
    }

    /// File name (or `builtin`), for messages.
    pub fn name(&self) -> &str {
        ""
    }

    /// SHA-256 of the file, 64 hexadecimal digits.
    pub fn sha256(&self) -> &str {
        ""
    }

    /// Classes, preprocessing and rule; `None` for a graph without that metadata.
    pub fn bundle(&self) -> Option<&Bundle> {
        None
    }

    /// All ONNX metadata of the file, also what oltr does not interpret.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        unimplemented!()
    }

    /// Inputs of the graph, in order.
    pub fn inputs(&self) -> &[Port] {
        &[]
    }

    /// Outputs of the graph, in order.
    pub fn outputs(&self) -> &[Port] {
        &[]
    }

    /// What the loaded graph consists of, for people.
    pub fn summary(&self) -> &Summary {
        unimplemented!()
    }

    /// A session: the buffers of one run at a time. Sessions of one model share its weights.
    ///
    /// # Errors
    /// [`Error::Limit`] where `Limits::memory_bytes` does not hold it.
    pub fn session(&self) -> Result<Session> {
        Err(Error::Internal("not yet".into()))
    }
}

/// What a loaded graph consists of, and what it takes.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Summary {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Instruction set of the kernels: `scalar`, `avx2`, `avxvnni`, `avx512vnni`, `neon`, `neondot`, …
    pub isa: String,
    /// Bytes of the weights as they lie in memory.
    pub weights_bytes: u64,
    /// Bytes of the buffers of one session.
    pub arena_bytes: u64,
    /// Operators of the ONNX graph and how many of each.
    pub operators: BTreeMap<String, usize>,
    /// How the file is quantised, for people: `QDQ uint8 per channel`, `float`, …
    pub quantisation: String,
    /// The steps that run, in order.
    pub steps: Vec<Step>,
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

/// The outputs of one run of a bundle's graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// `logits`, K of them.
    pub logits: Vec<f32>,
    /// `distances` to the K centroids; empty if the graph has none.
    pub distances: Vec<f32>,
    /// `features`, the direct feature v; empty if the graph has none.
    pub features: Vec<f32>,
}

/// One run at a time through a [`Model`].
#[derive(Debug)]
pub struct Session {}

/// Where the time of the last [`Session::run`] went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunTimes {
    /// Frame to model input.
    pub preprocess: std::time::Duration,
    /// Model input to outputs.
    pub inference: std::time::Duration,
}

impl Session {
    /// Runs a picture through a bundle: preprocessing and network.
    ///
    /// # Errors
    /// [`Error::Metadata`] if the graph has no `oltr.preprocess`.
    pub fn run(&mut self, frame: &Frame) -> Result<&Outputs> {
        let _ = frame;
        Err(Error::Internal("not yet".into()))
    }

    /// Where the time of the last [`Session::run`] went.
    pub fn times(&self) -> RunTimes {
        RunTimes::default()
    }

    /// Runs the graph on raw inputs, row-major, in the order of [`Model::inputs`]; the outputs come in the order of
    /// [`Model::outputs`].
    ///
    /// # Errors
    /// [`Error::BadInput`] where a length differs from the input's shape or a value is not finite.
    pub fn run_raw(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let _ = inputs;
        Err(Error::Internal("not yet".into()))
    }
}
