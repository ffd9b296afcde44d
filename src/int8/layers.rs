//! What the layers of a program do with the arena: hands slices to kernels, moves bytes, small arithmetic.

mod broadcast;
mod elementwise;
mod float;
mod matmul;
mod moves;

use std::ops::Range;

use super::kernels::pool::Pool;
use super::kernels::{AveragePool, Map, MaxPool, PackedConv};
use super::plan::ALIGN;
use super::program::{Input, Program, State, Step};
use super::quant::{AddQuant, Quant};
use super::tensor::{Element, Tensor, TensorId};

pub(super) use broadcast::Broadcast;
pub use elementwise::Binary;
pub(super) use elementwise::{Elementwise, Softmax};
pub(super) use float::{Dense, Float, MatMul as FloatMatMul};
pub(super) use matmul::MatMul;
pub(super) use moves::{Move, reshape_view};

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
            Layer::Conv(conv, map) if by_slices(&**conv, map) => conv.scratch_bytes() + map.volume() + ALIGN,
            Layer::Conv(conv, _) => conv.scratch_bytes(),
            Layer::MatMul(m) => m.scratch_bytes(),
            Layer::Float(f) => f.scratch_bytes(),
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

impl State {
    /// Arena, and scratch of all threads.
    fn parts(&mut self, program: &Program) -> (&mut [u8], &mut [u8]) {
        self.memory[self.skip..].split_at_mut(program.arena_bytes())
    }
}

impl Program {
    fn range(&self, id: TensorId) -> Range<usize> {
        let tensor = &self.tensors[id.0];
        let bytes = tensor.map.volume() * if tensor.element == Element::Floats { 4 } else { 1 };
        self.offsets[id.0]..self.offsets[id.0] + bytes
    }

    fn constant(&self, id: TensorId) -> Option<&[u8]> {
        match &self.steps[self.writers[id.0]].layer {
            Layer::Constant(bytes) => Some(bytes),
            Layer::Numbers(numbers) => Some(bytemuck::cast_slice(numbers)),
            _ => None,
        }
    }
}

const OVERLAP: &str = "the plan keeps tensors that live together apart";

/// The tensor that a step writes, and those of its operands `which`; a missing operand is empty.
fn views<'a>(
    program: &'a Program,
    arena: &'a mut [u8],
    step: &Step,
    which: [usize; 2],
) -> (&'a mut [u8], [&'a [u8]; 2]) {
    let write = program.range(step.writes.expect("this layer writes a tensor"));
    let operands = which.map(|i| step.reads.get(i).copied());
    let constants = operands.map(|id| id.and_then(|id| program.constant(id)));
    let range = |i: usize| match (operands[i], constants[i]) {
        (Some(id), None) => program.range(id),
        _ => 0..0,
    };
    // Both operands may be the same tensor, which is then borrowed once.
    let twice = range(0) == range(1);
    let [w, a, b] = arena.get_disjoint_mut([write, range(0), if twice { 0..0 } else { range(1) }]).expect(OVERLAP);
    let (a, b) = (&*a, &*b);
    let b = if twice { a } else { b };
    (w, [constants[0].unwrap_or(a), constants[1].unwrap_or(b)])
}

/// Channels of a fully connected layer whose weights are read together.
const CHANNELS: usize = 4;

/// Into how many parts a layer of products may be cut: handing one over costs about a microsecond.
fn parts(step: &Step) -> usize {
    const MACS_OF_A_PART: u64 = 50_000;
    (step.info.macs / MACS_OF_A_PART) as usize
}

/// Into how many parts a layer that touches so many bytes once may be cut.
fn light(bytes: usize) -> usize {
    const BYTES_OF_A_PART: usize = 16_384;
    bytes / BYTES_OF_A_PART
}

/// How the channels of a fully connected layer are cut, as [`by_pixels`] says.
fn by_channels(step: &Step, map: &Map, input: usize, threads: usize) -> (usize, usize, usize) {
    // Each part copies the input once more.
    const INPUT: usize = 4096;
    let parts = if input > INPUT { threads } else { parts(step) };
    (map.channels, CHANNELS, parts)
}

/// Whether threads share a convolution by its channels: where pixels are few, their number divides badly, and each part
/// of them would read all weights.
fn by_slices(conv: &dyn PackedConv, map: &Map) -> bool {
    const PIXELS: usize = 63;
    const SLICES: usize = 8;
    map.pixels() <= PIXELS && conv.slices() >= SLICES
}

/// Into how many parts the slices of a convolution are cut: each copies the input once more.
fn slice_parts(step: &Step, threads: usize) -> usize {
    const MACS_OF_MORE: u64 = 8_000_000;
    if step.info.macs < MACS_OF_MORE { threads } else { 2 * threads }
}

/// How the pixels of a convolution are cut: their number, that of those which stay together, and of parts.
fn by_pixels(step: &Step, conv: &dyn PackedConv, map: &Map, threads: usize) -> (usize, usize, usize) {
    // Each part reads all weights once more: more parts than threads have to be this large to be worth it.
    const PIXELS: usize = 128;
    // Rows are cut only where there are few.
    const ROWS: usize = 16;
    let grain = if map.height < ROWS { 1 } else { map.width };
    let parts = parts(step).min((map.pixels() / PIXELS).max(threads));
    // Rows that are best computed together are torn apart only where threads would have none.
    let rows = if map.height * map.width < threads * conv.grain() { map.height / threads } else { map.height };
    (map.pixels(), conv.grain().min(rows.max(1) * map.width).max(grain), parts)
}

/// Runs one step.
pub(super) fn run(
    program: &Program,
    step: &Step,
    state: &mut State,
    pool: &mut Pool,
    inputs: &[Input],
    outputs: &mut [&mut [f32]],
) {
    let kernels = program.kernels;
    let mask = kernels.storage().mask();
    let (arena, scratch) = state.parts(program);
    let Some(written) = step.writes else { return output(program, step, arena, outputs) };
    let y = &program.tensors[written.0];
    if matches!(step.layer, Layer::Constant(_) | Layer::Numbers(_)) {
        return;
    }
    if let Layer::Quantise { input } = step.layer {
        let out = &mut arena[program.range(written)];
        match inputs[input] {
            Input::Numbers(numbers) => {
                let (shape, stride) = ((y.map.pixels(), ALIGN, light(numbers.len())), y.map.stride);
                pool.split(shape, stride, out, &mut [], |range, out, _| {
                    kernels.quantise(bytes_of(y), numbers, &y.map, out, range)
                });
            }
            Input::Pixels(pixels, tables) => {
                let (count, parts) = (pixels.len() / 3, light(pixels.len()));
                pool.split((count, 1, parts), 3, out, &mut [], |range, out, _| {
                    quantise_pixels(&pixels[3 * range.start..3 * range.end], tables, out)
                });
            }
        }
        return;
    }
    if let Layer::Input { input } = step.layer {
        match inputs[input] {
            Input::Numbers(numbers) => numbers_mut(&mut arena[program.range(written)]).copy_from_slice(numbers),
            Input::Pixels(..) => unreachable!("a picture is given only where its quantised bytes are all that is read"),
        }
        return;
    }
    if let Layer::Copies(copies) = &step.layer {
        for (i, copy) in copies.iter().enumerate() {
            let (out, [part, _]) = views(program, arena, step, [i, usize::MAX]);
            copy.moves.run_bytes(copy.table.as_deref(), part, out);
        }
        return;
    }
    let (out, [a, b]) = views(program, arena, step, [0, 1]);
    let (pixels, stride) = (y.map.pixels(), y.map.stride);
    match &step.layer {
        Layer::Conv(conv, map) if y.element == Element::Floats => {
            let out = numbers_mut(out);
            match map.pixels() {
                1 => pool.split(
                    by_channels(step, map, a.len(), pool.threads()),
                    1,
                    out,
                    scratch,
                    |channels, out, scratch| conv.run_channels_f32(a, out, channels, scratch),
                ),
                _ => pool.split(
                    by_pixels(step, &**conv, map, pool.threads()),
                    map.stride,
                    out,
                    scratch,
                    |pixels, out, scratch| conv.run_f32(a, out, pixels, scratch),
                ),
            }
        }
        Layer::Conv(conv, map) => {
            let b = (step.reads.len() > 1).then_some(b);
            if pool.threads() > 1 && parts(step) > 1 && by_slices(&**conv, map) {
                let (shape, columns) =
                    ((conv.slices(), slice_parts(step, pool.threads())), |slices| conv.slice(slices));
                let out = &mut out[..map.volume()];
                return pool.split_columns(shape, map.stride, columns, out, scratch, |slices, out, scratch| {
                    conv.run_slices(a, b, out, 0..map.pixels(), slices, scratch)
                });
            }
            match (b, map.pixels()) {
                (None, 1) => pool.split(
                    by_channels(step, map, a.len(), pool.threads()),
                    1,
                    out,
                    scratch,
                    |channels, out, scratch| conv.run_channels(a, out, channels, scratch),
                ),
                _ => pool.split(
                    by_pixels(step, &**conv, map, pool.threads()),
                    map.stride,
                    out,
                    scratch,
                    |pixels, out, scratch| conv.run(a, b, out, pixels, scratch),
                ),
            }
        }
        Layer::Add(quant) => pool.split((out.len(), ALIGN, light(out.len())), 1, out, &mut [], |r, out, _| {
            kernels.add(quant, &a[r.clone()], &b[r], out)
        }),
        Layer::Table(table) => pool
            .split((out.len(), ALIGN, light(out.len())), 1, out, &mut [], |r, out, _| kernels.table(table, &a[r], out)),
        Layer::MaxPool(window) => pool.split((pixels, 1, light(a.len())), stride, out, &mut [], |pixels, out, _| {
            kernels.max_pool(window, a, out, pixels)
        }),
        Layer::AveragePool(window) => {
            pool.split((pixels, 1, light(a.len())), stride, out, &mut [], |pixels, out, _| {
                kernels.average_pool(window, a, out, pixels)
            })
        }
        Layer::Elementwise(e) => e.run(mask, a, b, out),
        Layer::MatMul(m) => m.run(kernels, [a, b], out, parts(step), pool, scratch),
        Layer::Softmax(s) => s.run(mask, a, out),
        Layer::Float(f) => {
            f.run(bytemuck::cast_slice(a), bytemuck::cast_slice(b), numbers_mut(out), parts(step), pool, scratch)
        }
        Layer::ToNumbers => {
            let x = &program.tensors[step.reads[0].0];
            kernels.dequantise(bytes_of(x), &x.map, a, numbers_mut(out));
        }
        Layer::ToBytes => kernels.quantise(bytes_of(y), bytemuck::cast_slice(a), &y.map, out, 0..pixels),
        Layer::Constant(_)
        | Layer::Numbers(_)
        | Layer::Quantise { .. }
        | Layer::Input { .. }
        | Layer::Copies(_)
        | Layer::Dequantise { .. }
        | Layer::Floats { .. } => unreachable!("handled above"),
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
