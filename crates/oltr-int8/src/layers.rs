//! What the layers of a program do with the arena: hands slices to kernels, moves bytes, small arithmetic.

mod broadcast;
mod elementwise;
mod float;
mod matmul;
mod moves;
mod rounds;

use std::ops::Range;

use super::kernels::{AveragePool, Map, MaxPool, PackedConv};
use super::plan::ALIGN;
use super::program::{Input, Program, State, Step};
use super::quant::{AddQuant, Quant};
use super::tensor::{Element, Tensor, TensorId};

pub(super) use broadcast::Broadcast;
pub use elementwise::Binary;
pub(super) use elementwise::{Elementwise, Softmax};
pub(super) use float::{Dense, Float};
pub(super) use matmul::{MatMul, Panels};
pub(super) use moves::{Move, reshape_view};
pub(super) use rounds::{Agenda, Entry, compute};

/// A copy of bytes, through a table if they change their scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Copy {
    pub moves: Move,
    pub table: Option<Box<[u8; 256]>>,
}

#[derive(Debug)]
pub(super) enum Layer {
    Quantise {
        input: usize,
    },
    /// Numbers handed in, copied.
    Input {
        input: usize,
    },
    Constant(Vec<u8>),
    /// Constant numbers.
    Numbers(Vec<f32>),
    /// Layers of numbers.
    Float(Float),
    /// Bytes to numbers in ONNX order.
    ToNumbers,
    /// Numbers in ONNX order to bytes.
    ToBytes,
    /// With the map that it writes, which for a product of matrices is a row of pixels.
    Conv(Box<dyn PackedConv>, Map),
    Add(AddQuant),
    Elementwise(Elementwise),
    Table(Box<[u8; 256]>),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    Copies(Vec<Copy>),
    /// A matrix laid out for a product.
    Panels(Panels),
    /// A product with a [`Layer::Panels`].
    MatMul(MatMul),
    Softmax(Softmax),
    Dequantise {
        output: usize,
    },
    Floats {
        output: usize,
    },
}

impl Layer {
    pub fn scratch_bytes(&self) -> usize {
        match self {
            Layer::Conv(conv, map) if rounds::by_slices(&**conv, map) => conv.scratch_bytes() + map.volume() + ALIGN,
            Layer::Conv(conv, _) => conv.scratch_bytes(),
            Layer::MatMul(m) => m.scratch_bytes(),
            _ => 0,
        }
    }
}

/// Elements from one index to the next along each dimension of a row-major tensor.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// The copy that ONNX Reshape is: the same order of elements in another layout. One side is always row-major, or
/// both are maps of the same pixels.
pub(super) fn reshape_copy(x: &Tensor, y: &Tensor) -> Copy {
    // Walk whichever side is a map; the other side is row-major over the same dimensions.
    let (shape, map_is_input) = if x.shape.len() == 4 { (x.shape.clone(), true) } else { (y.shape.clone(), false) };
    let rows = row_major(&shape);
    let (from, to) = if map_is_input { (x.strides(), rows) } else { (rows, y.strides()) };
    Copy { moves: Move::new(&shape, &from, &to, 0), table: None }
}

impl Program {
    pub(super) fn range(&self, id: TensorId) -> Range<usize> {
        let tensor = &self.tensors[id.0];
        let bytes = tensor.map.volume() * if tensor.element == Element::Floats { 4 } else { 1 };
        self.offsets[id.0]..self.offsets[id.0] + bytes
    }

    pub(super) fn constant(&self, id: TensorId) -> Option<&[u8]> {
        match &self.steps[self.writers[id.0]].layer {
            Layer::Constant(bytes) => Some(bytes),
            Layer::Numbers(numbers) => Some(bytemuck::cast_slice(numbers)),
            _ => None,
        }
    }
}

/// Runs one step that is not a round of a segment.
pub(super) fn run(program: &Program, step: &Step, state: &mut State, inputs: &[Input], outputs: &mut [&mut [f32]]) {
    let (arena, _) = state.parts(program);
    let Some(written) = step.writes else { return output(program, step, arena, outputs) };
    let write = program.range(written);
    match &step.layer {
        Layer::Input { input } => match inputs[*input] {
            Input::Numbers(numbers) => numbers_mut(&mut arena[write]).copy_from_slice(numbers),
            Input::Pixels(..) => unreachable!("a picture is given only where its quantised bytes are all that is read"),
        },
        Layer::Copies(copies) => {
            for (copy, part) in copies.iter().zip(&step.reads) {
                match program.constant(*part) {
                    Some(part) => copy.moves.run_bytes(copy.table.as_deref(), part, &mut arena[write.clone()]),
                    None => {
                        let [out, part] = arena
                            .get_disjoint_mut([write.clone(), program.range(*part)])
                            .expect("the plan keeps tensors that live together apart");
                        copy.moves.run_bytes(copy.table.as_deref(), part, out);
                    }
                }
            }
        }
        _ => unreachable!("all other layers are rounds"),
    }
}

/// Hands a tensor out of the program, as numbers in ONNX order.
fn output(program: &Program, step: &Step, arena: &[u8], outputs: &mut [&mut [f32]]) {
    let x = &program.tensors[step.reads[0].0];
    let bytes = program.constant(step.reads[0]).unwrap_or(&arena[program.range(step.reads[0])]);
    match step.layer {
        Layer::Dequantise { output } => program.kernels.dequantise(bytes_of(x), &x.map, bytes, outputs[output]),
        Layer::Floats { output } => {
            let numbers: &[f32] = bytemuck::cast_slice(bytes);
            if x.is_row_major() {
                return outputs[output].copy_from_slice(&numbers[..outputs[output].len()]);
            }
            Move::new(&x.shape, &x.strides(), &row_major(&x.shape), 0).run(numbers, outputs[output]);
        }
        _ => unreachable!("every other layer writes a tensor"),
    }
}

fn bytes_of(tensor: &Tensor) -> Quant {
    match tensor.element {
        Element::Bytes(q) => q,
        Element::Floats => unreachable!("the builder made this layer for bytes"),
    }
}

fn numbers_mut(bytes: &mut [u8]) -> &mut [f32] {
    bytemuck::cast_slice_mut(bytes)
}

fn quantise_pixels(pixels: &[u8], tables: &[[u8; 256]; 3], out: &mut [u8]) {
    for (pixel, out) in pixels.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
        for c in 0..3 {
            out[c] = tables[c][usize::from(pixel[c])];
        }
    }
}
