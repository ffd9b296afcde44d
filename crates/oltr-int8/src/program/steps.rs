//! A program: a straight list of layers over one arena.

use std::ops::Range;

use crate::kernels::{KernelSet, Storage};
use crate::layers::Layer;
use crate::layers::concat::Concat;
use crate::layers::constant::Constant;
use crate::layers::output::Output;
use crate::quant::Quant;
use crate::tensor::{Tensor, TensorId};

/// What a program is made of, layer by layer; see [`Program::layers`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInfo {
    /// Name, as given to the builder.
    pub name: String,
    /// What it does: `conv 3x3 s2`, `add`, …
    pub op: String,
    /// Kernel that was picked.
    pub kernel: String,
    /// ONNX shape of its result.
    pub shape: Vec<usize>,
    /// Element type of its result: `u8` or `f32`.
    pub dtype: &'static str,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of packed weights.
    pub weights_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub work: Work,
    pub reads: Vec<TensorId>,
    pub writes: Option<TensorId>,
    pub info: LayerInfo,
}

impl Step {
    pub fn scratch_bytes(&self) -> usize {
        if let Work::Layer(layer) = &self.work { layer.scratch_bytes() } else { 0 }
    }
}

/// What a step of a program is.
#[derive(Debug)]
pub(crate) enum Work {
    /// Elements that lie in the program.
    Constant(Constant),
    /// Computed by all threads.
    Layer(Box<dyn Layer>),
    /// Computed by the caller, from any number of tensors.
    Concat(Concat),
    /// Handed out by the caller.
    Output(Output),
}

impl Work {
    pub fn layer(layer: impl Layer + 'static) -> Work {
        Work::Layer(Box::new(layer))
    }

    /// The input that it reads, and whether it does so as f32 values.
    pub fn input(&self) -> Option<(usize, bool)> {
        if let Work::Layer(layer) = self { layer.input() } else { None }
    }
}

/// Packed layers and the plan of their arena; shared by any number of [`State`](crate::State)s.
#[derive(Debug)]
pub struct Program {
    pub(crate) kernels: &'static dyn KernelSet,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) steps: Vec<Step>,
    /// The step that writes each tensor.
    pub(crate) writers: Vec<usize>,
    pub(crate) inputs: Vec<Vec<usize>>,
    pub(crate) outputs: Vec<Vec<usize>>,
    pub(crate) offsets: Vec<usize>,
    pub(crate) arena: usize,
    pub(crate) live: usize,
    pub(crate) scratch: usize,
}

impl Program {
    /// ONNX shapes of the inputs.
    pub fn inputs(&self) -> &[Vec<usize>] {
        &self.inputs
    }

    /// ONNX shapes of the outputs.
    pub fn outputs(&self) -> &[Vec<usize>] {
        &self.outputs
    }

    /// The layers in order.
    pub fn layers(&self) -> impl Iterator<Item = &LayerInfo> {
        self.steps.iter().map(|s| &s.info)
    }

    /// Bytes of the packed weights.
    pub fn weights_bytes(&self) -> usize {
        self.steps.iter().map(|s| s.info.weights_bytes).sum()
    }

    /// Bytes of the arena, without scratch.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// The largest sum of buffers that are needed at the same time: no plan can do with less.
    pub fn live_bytes(&self) -> usize {
        self.live
    }

    /// How bytes lie in memory for the kernels of this program.
    pub fn storage(&self) -> Storage {
        self.kernels.storage()
    }

    /// The quantisation of input `input`, if one layer alone reads it.
    pub fn input_quant(&self, input: usize) -> Option<Quant> {
        let reads = |step: &&Step| step.work.input().is_some_and(|(number, _)| number == input);
        let mut readers = self.steps.iter().filter(reads);
        let (first, second) = (readers.next()?, readers.next());
        match (first.writes, second) {
            (Some(id), None) => self.tensors[id.0].quant().ok(),
            _ => None,
        }
    }

    /// Where a tensor lies in the arena.
    pub(crate) fn range(&self, id: TensorId) -> Range<usize> {
        let tensor = &self.tensors[id.0];
        self.offsets[id.0]..self.offsets[id.0] + tensor.map.volume() * tensor.element.size()
    }

    /// The bytes of a tensor that is constant.
    pub(crate) fn constant(&self, id: TensorId) -> Option<&[u8]> {
        match &self.steps[self.writers[id.0]].work {
            Work::Constant(constant) => Some(constant.bytes()),
            _ => None,
        }
    }
}
