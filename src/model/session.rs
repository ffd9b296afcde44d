//! One run at a time through a model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{EvalContext, OpState};

use super::StepTime;
use super::guard::catch;
use super::load::{Loaded, Plan};
use super::ops::{ProgramOp, ProgramState};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::preprocess::{Normaliser, Preprocess, Preprocessor};
use oltr_int8::Threads;
use oltr_int8::float::first_nan;

/// The outputs of one run of a bundle's graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// `logits`, K of them, divided by the bundle's temperature: their softmax is the probability.
    pub logits: Vec<f32>,
    /// `distances` to the K centroids; empty if the graph has none.
    pub distances: Vec<f32>,
    /// `features`, the direct feature v; empty if the graph has none.
    pub features: Vec<f32>,
}

/// The optional output that [`Session::attention`] gives.
const ATTENTION: &str = "attention";

/// A map of the modulated attention over the model's input, row-major (height, width).
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// One weight for each position; those of the published attention sum to 1.
    pub weights: Vec<f32>,
}

/// Where the time of the last [`Session::run`] went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTimes {
    /// Frame to model input.
    pub preprocess: Duration,
    /// Model input to outputs.
    pub inference: Duration,
}

type PlanState = TypedSimpleState;

/// An input of a plan.
#[derive(Clone, Copy, Debug)]
struct Source {
    outlet: OutletId,
    /// Nothing but programs reads it: these take the caller's numbers, so that nothing is copied for tract.
    only_programs: bool,
}

/// One run at a time through a [`Model`](super::Model): its buffers.
#[derive(Debug)]
pub struct Session {
    model: Arc<Loaded>,
    /// Runs on numbers; made when first needed.
    f32_state: Option<PlanState>,
    /// Runs on bytes.
    picture: Option<PlanState>,
    preprocessor: Option<Preprocessor>,
    /// Shared by all programs of both plans.
    threads: Threads,
    pixels: Arc<Tensor>,
    floats: Vec<Arc<Tensor>>,
    /// Where the plan for numbers has its inputs.
    sources: Vec<Source>,
    outputs: Outputs,
    attention: Vec<f32>,
    times: RunTimes,
}

impl Session {
    pub(super) fn new(model: Arc<Loaded>) -> Result<Session> {
        let needed = model.summary.needed_bytes();
        if let Some(limit) = model.limits.memory_bytes.filter(|limit| needed > *limit) {
            return Err(Error::Limit { subject: model.name.to_string(), what: "memory_bytes", value: needed, limit });
        }
        let side = match (&model.picture_plan, &model.bundle) {
            (Some(_), Some(bundle)) => bundle.preprocess.size as usize,
            _ => 0,
        };
        let pixels = Tensor::zero::<u8>(&[1, side, side, 3]).map_err(internal)?.into_arc_tensor();
        let threads = Threads::new(model.threads);
        let (f32_state, picture) = (None, model.picture_plan.as_ref().map(|plan| spawn(plan, &threads)).transpose()?);
        let (outputs, times) = (Outputs::default(), RunTimes::default());
        let attention = Vec::new();
        Ok(Session {
            model,
            f32_state,
            picture,
            preprocessor: None,
            threads,
            pixels,
            floats: Vec::new(),
            sources: Vec::new(),
            outputs,
            attention,
            times,
        })
    }

    /// Runs a picture through a bundle: preprocessing and network.
    ///
    /// # Errors
    /// [`Error::Metadata`] if the graph has no `oltr.preprocess`, [`Error::BadModel`] if what tract runs of it fails.
    pub fn run(&mut self, frame: &Frame) -> Result<&Outputs> {
        let model = self.model.clone();
        let settings = self.room_for_pixels(&model)?;
        let start = Instant::now();
        let preprocessor = match &mut self.preprocessor {
            Some(p) => p,
            empty => empty.insert(Preprocessor::new(settings, frame.geometry())?),
        };
        preprocessor.run(frame, bytes_mut(&mut self.pixels)?)?;
        self.infer(&model, settings, start)
    }

    /// As [`Session::run`] for a picture that is preprocessed already: `size` × `size` pixels of RGB, as a
    /// [`Preprocessor`] or a [`InputReader`](crate::source::photo::InputReader) writes them.
    ///
    /// # Errors
    /// As [`Session::run`]; [`Error::BadInput`] for another number of bytes.
    pub fn run_pixels(&mut self, pixels: &[u8]) -> Result<&Outputs> {
        let model = self.model.clone();
        let settings = self.room_for_pixels(&model)?;
        let start = Instant::now();
        let into = bytes_mut(&mut self.pixels)?;
        if pixels.len() != into.len() {
            let reason = format!("a picture of {} bytes, must have {}", pixels.len(), into.len());
            return Err(Error::BadInput { subject: "pixels".into(), reason });
        }
        into.copy_from_slice(pixels);
        self.infer(&model, settings, start)
    }

    /// Makes room for a picture; what a bundle says of it.
    fn room_for_pixels<'m>(&mut self, model: &'m Loaded) -> Result<&'m Preprocess> {
        let Some(bundle) = &model.bundle else {
            return Err(Error::Metadata {
                model: model.name.to_string(),
                key: "oltr.preprocess",
                reason: "is missing; the graph says nothing about pictures and classes, export it as a bundle".into(),
            });
        };
        let side = bundle.preprocess.size as usize;
        if Arc::get_mut(&mut self.pixels).is_none() || self.pixels.len() != side * side * 3 {
            self.pixels = Tensor::zero::<u8>(&[1, side, side, 3]).map_err(internal)?.into_arc_tensor();
        }
        Ok(&bundle.preprocess)
    }

    /// Runs the network on the picture that lies in `pixels`, whose preprocessing began at `start`.
    fn infer(&mut self, model: &Arc<Loaded>, settings: &Preprocess, start: Instant) -> Result<&Outputs> {
        let results = if self.picture.is_some() {
            let preprocessed = Instant::now();
            self.times.preprocess = preprocessed - start;
            let input = tvec![TValue::from_const(self.pixels.clone())];
            let state = self.picture.as_mut().ok_or_else(|| internal("no plan"))?;
            let results = guard(model, || state.run(input));
            if let (Err(_), Some(plan)) = (&results, &model.picture_plan) {
                // What a failed run leaves behind is nobody's business.
                self.picture = Some(spawn(plan, &self.threads)?);
            }
            self.times.inference = preprocessed.elapsed();
            results?
        } else {
            self.ready()?;
            Normaliser::new(settings).run(bytes_of(&self.pixels)?, floats_mut(&mut self.floats[0])?)?;
            let preprocessed = Instant::now();
            self.times.preprocess = preprocessed - start;
            let results = self.run_numbers(&[])?;
            self.times.inference = preprocessed.elapsed();
            results
        };
        for (port, value) in model.outputs.iter().zip(&results) {
            let into = match port.name.as_str() {
                "logits" => &mut self.outputs.logits,
                "distances" => &mut self.outputs.distances,
                "features" => &mut self.outputs.features,
                ATTENTION => &mut self.attention,
                _ => continue,
            };
            into.clear();
            into.extend_from_slice(f32_of(value)?);
        }
        if let Some(temperature) = model.bundle.as_ref().and_then(|bundle| bundle.open.temperature) {
            self.outputs.logits.iter_mut().for_each(|logit| *logit /= temperature);
        }
        Ok(&self.outputs)
    }

    /// The outputs of the last [`Session::run`]; empty before the first.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// The outputs of the last run, to be changed before they are judged.
    pub(crate) fn outputs_mut(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// What the network saw in the last [`Session::run`]: `size` × `size` pixels of RGB; empty before the first.
    pub fn pixels(&self) -> &[u8] {
        bytes_of(&self.pixels).unwrap_or_default()
    }

    /// The modulated attention of the last [`Session::run`], if the graph has the output `attention`: where in the
    /// picture the network looked.
    ///
    /// The output is `[1, h, w]` or `[1, C, h, w]`; of C maps the mean is given.
    pub fn attention(&self) -> Option<Attention> {
        let port = self.model.outputs.iter().find(|port| port.name == ATTENTION)?;
        let (maps, height, width) = match port.shape[..] {
            [1, height, width] => (1, height, width),
            [1, maps, height, width] => (maps, height, width),
            _ => return None,
        };
        let area = height * width;
        if area == 0 || maps == 0 || self.attention.len() != maps * area {
            return None;
        }
        let mean = |i: usize| (0..maps).map(|m| self.attention[m * area + i]).sum::<f32>() / maps as f32;
        Some(Attention { height, width, weights: (0..area).map(mean).collect() })
    }

    /// Where the time of the last [`Session::run`] went.
    pub fn times(&self) -> RunTimes {
        self.times
    }

    /// Runs the graph on raw inputs, row-major, in the order of [`Model::inputs`](super::Model::inputs); the outputs
    /// come in the order of [`Model::outputs`](super::Model::outputs).
    ///
    /// # Errors
    /// [`Error::BadInput`] where a length differs from the input's shape or a value is NaN, [`Error::BadModel`] if
    /// what tract runs of the graph fails.
    pub fn run_raw(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let mut outputs = Vec::new();
        self.run_raw_into(inputs, &mut outputs)?;
        Ok(outputs)
    }

    /// As [`Session::run_raw`], into `outputs`, whose memory is kept.
    ///
    /// # Errors
    /// As [`Session::run_raw`].
    pub fn run_raw_into(&mut self, inputs: &[&[f32]], outputs: &mut Vec<Vec<f32>>) -> Result<()> {
        self.fill(inputs)?;
        let results = self.run_numbers(inputs)?;
        outputs.resize_with(results.len(), Vec::new);
        for (into, value) in outputs.iter_mut().zip(&results) {
            into.clear();
            into.extend_from_slice(f32_of(value)?);
        }
        Ok(())
    }

    /// Runs the graph `runs` times on raw inputs as [`Session::run_raw`] takes them, or on the frame of the last
    /// [`Session::run`] if there are none, and gives the median time of each step of
    /// [`Summary::steps`](super::Summary::steps).
    ///
    /// # Errors
    /// As [`Session::run_raw`].
    pub fn profile(&mut self, inputs: &[&[f32]], runs: usize) -> Result<Vec<StepTime>> {
        if !inputs.is_empty() {
            self.fill(inputs)?;
        }
        let mut times: Vec<Vec<u64>> = Vec::new();
        for _ in 0..runs.max(1) {
            self.ready()?;
            let (state, values) = match &mut self.picture {
                Some(state) if inputs.is_empty() => (Some(state), tvec![TValue::from_const(self.pixels.clone())]),
                _ => (self.f32_state.as_mut(), self.floats.iter().map(|f| TValue::from_const(f.clone())).collect()),
            };
            let state = state.ok_or_else(|| internal("no plan"))?;
            let run =
                guard(&self.model, || timed_run(state, values, |outlet| borrowed(&self.sources, inputs, outlet)))?;
            times.resize(run.len(), Vec::new());
            times.iter_mut().zip(run).for_each(|(all, t)| all.push(t));
        }
        let median = |mut all: Vec<u64>| {
            all.sort_unstable();
            all[all.len() / 2] as f64 / 1e3
        };
        Ok(times.into_iter().enumerate().map(|(step, all)| StepTime { step, micros: median(all) }).collect())
    }

    /// Looks at raw inputs, and copies those in that tract reads.
    fn fill(&mut self, inputs: &[&[f32]]) -> Result<()> {
        self.ready()?;
        let model = &self.model;
        if inputs.len() != model.inputs.len() {
            let reason = format!("{} inputs were given, the graph has {}", inputs.len(), model.inputs.len());
            return Err(Error::BadInput { subject: model.name.to_string(), reason });
        }
        for ((port, input), (source, tensor)) in
            model.inputs.iter().zip(inputs).zip(self.sources.iter().zip(&mut self.floats))
        {
            if input.len() != port.volume() {
                let reason = format!("has {} values, its shape is {:?}", input.len(), port.shape);
                return Err(Error::BadInput { subject: format!("input '{}'", port.name), reason });
            }
            if let Some(place) = first_nan(input) {
                let reason = format!("holds NaN at element {place}; inputs are numbers");
                return Err(Error::BadInput { subject: format!("input '{}'", port.name), reason });
            }
            if !source.only_programs {
                floats_mut(tensor)?.copy_from_slice(input);
            }
        }
        Ok(())
    }

    /// The plan for numbers and its input tensors, made when first needed and whole again after a run.
    fn ready(&mut self) -> Result<()> {
        if self.f32_state.is_none() {
            let plan = self.model.f32_plan()?;
            self.sources = sources(plan.model());
            self.f32_state = Some(spawn(&plan, &self.threads)?);
        }
        self.floats.resize(self.model.inputs.len(), Arc::new(Tensor::default()));
        for (port, tensor) in self.model.inputs.iter().zip(&mut self.floats) {
            if tensor.shape() != port.shape || Arc::get_mut(tensor).is_none() {
                *tensor = Tensor::zero::<f32>(&port.shape).map_err(internal)?.into_arc_tensor();
            }
        }
        Ok(())
    }

    /// Runs the plan for numbers on its input tensors, or where only programs read them on `given`, unless that is empty.
    fn run_numbers(&mut self, given: &[&[f32]]) -> Result<TVec<TValue>> {
        let inputs: TVec<TValue> = self.floats.iter().map(|f| TValue::from_const(f.clone())).collect();
        let state = self.f32_state.as_mut().ok_or_else(|| internal("no plan"))?;
        let results = guard(&self.model, || {
            state.run_plan_with_eval(inputs, |context, op_state, node, values| {
                eval(context, op_state, node, values, |outlet| borrowed(&self.sources, given, outlet))
            })
        });
        if results.is_err() {
            self.f32_state = None;
        }
        results
    }
}

/// The inputs of a plan.
fn sources(model: &TypedModel) -> Vec<Source> {
    let source = |outlet: &OutletId| {
        let readers = &model.node(outlet.node).outputs[outlet.slot].successors;
        let programs = readers.iter().all(|reader| model.node(reader.node).op_as::<ProgramOp>().is_some());
        Source { outlet: *outlet, only_programs: programs && !model.outputs.contains(outlet) }
    };
    model.inputs.iter().map(source).collect()
}

/// Which of the numbers `given` for `sources` are read from `outlet` without tract.
fn borrowed<'a>(sources: &[Source], given: &[&'a [f32]], outlet: OutletId) -> Option<&'a [f32]> {
    let input = sources.iter().position(|source| source.outlet == outlet && source.only_programs)?;
    given.get(input).copied()
}

/// Evaluates a node; what programs read is `borrowed` where there is something for the outlet, else among `values`.
fn eval<'a>(
    context: &EvalContext,
    op_state: Option<&mut dyn OpState>,
    node: &TypedNode,
    values: TVec<TValue>,
    borrowed: impl Fn(OutletId) -> Option<&'a [f32]>,
) -> TractResult<TVec<TValue>> {
    match op_state {
        Some(state) => match state.downcast_mut::<ProgramState>() {
            Some(program) => program.run(node.op.as_op(), &values, |i| borrowed(node.inputs[i])),
            None => state.eval(context, node.op.as_op(), values),
        },
        None => node.op.eval(context, values),
    }
}

/// One run with the nanoseconds of each step, the layers of programs one by one.
fn timed_run<'a>(
    state: &mut PlanState,
    inputs: TVec<TValue>,
    borrowed: impl Fn(OutletId) -> Option<&'a [f32]>,
) -> TractResult<Vec<u64>> {
    let mut times = Vec::new();
    state.run_plan_with_eval(inputs, |context, mut op_state, node, values| -> TractResult<TVec<TValue>> {
        if let Some(program) = op_state.as_mut().and_then(|s| s.downcast_mut::<ProgramState>()) {
            program.time_layers(node.op.as_op());
        }
        let start = Instant::now();
        let result = eval(context, op_state.as_deref_mut(), node, values, &borrowed);
        let elapsed = start.elapsed().as_nanos() as u64;
        match op_state.and_then(|s| s.downcast_mut::<ProgramState>()) {
            Some(program) => times.append(&mut program.state.times),
            None => times.push(elapsed),
        }
        result
    })?;
    Ok(times)
}

fn spawn(plan: &Plan, threads: &Threads) -> Result<PlanState> {
    let mut state = plan.spawn().map_err(internal)?;
    for program in state.op_states.iter_mut().flatten().filter_map(|s| s.downcast_mut::<ProgramState>()) {
        program.state.set_threads(threads.clone());
    }
    Ok(state)
}

/// Runs `f`, in which tract computes what a file says: an error or a panic there is the file's fault, unless it is
/// one of ours.
fn guard<T>(model: &Loaded, f: impl FnOnce() -> TractResult<T>) -> Result<T> {
    let panicked = "the graph loads but does not run, computing it failed; export it again";
    catch(&model.name, panicked, f)?.map_err(|e| {
        e.downcast::<Error>().unwrap_or_else(|e| Error::BadModel {
            model: model.name.to_string(),
            reason: format!("the graph loads but does not run: {e:#}; export it again, with fixed shapes"),
        })
    })
}

fn internal(cause: impl std::fmt::Display) -> Error {
    Error::Internal(format!("{cause:#}"))
}

fn bytes_mut(tensor: &mut Arc<Tensor>) -> Result<&mut [u8]> {
    let tensor = Arc::get_mut(tensor).ok_or_else(|| internal("an input is still in use"))?;
    let view = tensor.to_plain_array_view_mut::<u8>().map_err(internal)?;
    view.into_slice().ok_or_else(|| internal("an input is not row-major"))
}

fn floats_mut(tensor: &mut Arc<Tensor>) -> Result<&mut [f32]> {
    let tensor = Arc::get_mut(tensor).ok_or_else(|| internal("an input is still in use"))?;
    let view = tensor.to_plain_array_view_mut::<f32>().map_err(internal)?;
    view.into_slice().ok_or_else(|| internal("an input is not row-major"))
}

fn bytes_of(tensor: &Tensor) -> Result<&[u8]> {
    tensor.try_as_plain_ram().and_then(|p| p.as_slice::<u8>()).map_err(internal)
}

fn f32_of(tensor: &Tensor) -> Result<&[f32]> {
    tensor.try_as_plain_ram().and_then(|p| p.as_slice::<f32>()).map_err(internal)
}
