//! Layers whose work lies in the arena and can be cut: segments of them are handed to the threads at once.

use std::ops::Range;
use std::sync::Arc;

use super::super::kernels::{Cuts, Destination, Job, Map, PackedConv};
use super::super::plan::ALIGN;
use super::super::program::{Input, Program, Step};
use super::super::tensor::Element;
use super::super::threads::{Cut, Part, Schedule, Work};
use super::{Layer, bytes_of, matmul, numbers_mut, quantise_pixels};

/// Channels of a fully connected layer whose weights are read together.
const CHANNELS: usize = 4;

/// Pixels whose numbers are quantised together.
const QUANTISED: usize = 16;

/// How the layers of a program are run: some by the caller, one after the other, and segments of others by all threads.
#[derive(Debug)]
pub(in super::super) struct Agenda {
    /// Whether each step is a segment of its own.
    pub apart: bool,
    /// Steps in order, those of a segment together.
    pub entries: Vec<Entry>,
    pub schedule: Arc<Schedule>,
    /// The step that each of its works is.
    pub steps: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Entry {
    /// A step that the caller runs by itself.
    Step(usize),
    /// A segment of the schedule, and its first step.
    Segment { segment: usize, first: usize },
}

impl Agenda {
    /// That of a program for so many threads; with `apart`, each step is a segment of its own.
    pub fn new(program: &Program, threads: usize, apart: bool) -> Agenda {
        let (mut entries, mut works, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let mut segments: Vec<Range<usize>> = Vec::new();
        for (index, step) in program.steps.iter().enumerate() {
            // Constants lie where they are, and what is empty takes no part.
            let empty = step.writes.is_some_and(|id| program.range(id).is_empty());
            if empty || matches!(step.layer, Layer::Constant(_) | Layer::Numbers(_)) {
                continue;
            }
            let Some(work) = work(program, step, threads) else {
                entries.push(Entry::Step(index));
                continue;
            };
            works.push(work);
            steps.push(index);
            match (entries.last(), segments.last_mut()) {
                (Some(Entry::Segment { .. }), Some(segment)) if !apart => segment.end += 1,
                _ => {
                    entries.push(Entry::Segment { segment: segments.len(), first: index });
                    segments.push(works.len() - 1..works.len());
                }
            }
        }
        entries.shrink_to_fit();
        steps.shrink_to_fit();
        Agenda { apart, entries, schedule: Arc::new(Schedule::new(threads, works, segments)), steps }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + size_of_val(&*self.steps) + self.schedule.footprint()
    }
}

/// What a step reads and writes, and how it is cut; `None` for steps that are not handed over in segments.
fn work(program: &Program, step: &Step, threads: usize) -> Option<Work> {
    let written = step.writes?;
    let tensor = &program.tensors[written.0];
    let write = program.range(written);
    let read = |i: usize| match step.reads.get(i) {
        Some(id) if program.constant(*id).is_none() => program.range(*id),
        _ => 0..0,
    };
    let (bytes, pixels, stride) = (write.len(), tensor.map.pixels(), tensor.map.stride);
    let cut = match &step.layer {
        Layer::Quantise { .. } => Cut::items((pixels, ALIGN, light(pixels * tensor.map.channels)), stride, threads),
        Layer::Conv(conv, map) => conv_cut(step, &**conv, map, tensor.element, read(0).len(), threads),
        Layer::Add(_) => Cut::items((bytes, ALIGN, arithmetic(bytes)), 1, threads),
        Layer::Table(_) => Cut::items((bytes, ALIGN, light(bytes)), 1, threads),
        Layer::MaxPool(_) | Layer::AveragePool(_) => Cut::items((pixels, 1, light(read(0).len())), stride, threads),
        Layer::Panels(panels) => Cut::items((bytes / panels.bytes(), 1, light(read(0).len())), panels.bytes(), threads),
        Layer::MatMul(m) => Cut::items((bytes / m.size[2], matmul::ROWS, parts(step)), m.size[2], threads),
        Layer::Float(float) => float.cut(bytes / 4, parts(step), threads),
        Layer::Copies(copies) if copies.len() > 1 => return None,
        Layer::Elementwise(e) => e.cut(arithmetic(bytes), threads),
        Layer::Softmax(s) => s.cut(bytes, arithmetic(bytes), threads),
        Layer::ToBytes => Cut::items((pixels, QUANTISED, arithmetic(bytes)), stride, threads),
        Layer::Copies(_) | Layer::ToNumbers => Cut::whole(bytes),
        Layer::Input { .. }
        | Layer::Constant(_)
        | Layer::Numbers(_)
        | Layer::Dequantise { .. }
        | Layer::Floats { .. } => return None,
    };
    Some(Work { write, reads: [read(0), read(1)], cut })
}

/// Into how many parts a layer of products may be cut. To wait for the other threads at its end takes some 0.2 µs.
fn parts(step: &Step) -> usize {
    let macs_of_a_part = match step.layer {
        Layer::Float(_) => 8_000,
        Layer::MatMul(_) => 20_000,
        _ => 50_000,
    };
    (step.info.macs / macs_of_a_part) as usize
}

/// Into how many parts a layer that touches so many bytes once may be cut.
fn light(bytes: usize) -> usize {
    const BYTES_OF_A_PART: usize = 16_384;
    bytes / BYTES_OF_A_PART
}

/// The same where there is some arithmetic for each of so many elements.
pub(super) fn arithmetic(elements: usize) -> usize {
    const ELEMENTS_OF_A_PART: usize = 2048;
    elements / ELEMENTS_OF_A_PART
}

/// How a convolution is cut.
fn conv_cut(step: &Step, conv: &dyn PackedConv, map: &Map, element: Element, input: usize, threads: usize) -> Cut {
    let residual = step.reads.len() > 1;
    if element != Element::Floats && threads > 1 && parts(step) > 1 && by_slices(conv, map) {
        let rows = [map.pixels(), map.stride];
        return Cut::columns((slices(conv), slice_parts(step, threads)), rows, |of| channels(conv, of), threads);
    }
    match map.pixels() {
        1 if !residual && conv.cuts() == Cuts::Anywhere => {
            Cut::items(by_channels(step, map, input, threads), element.size(), threads)
        }
        _ => Cut::items(by_pixels(step, conv, map, threads), map.stride * element.size(), threads),
    }
}

/// How the channels of a fully connected layer are cut, as [`by_pixels`] says.
fn by_channels(step: &Step, map: &Map, input: usize, threads: usize) -> (usize, usize, usize) {
    // Each part copies the input once more.
    const INPUT: usize = 4096;
    let parts = if input > INPUT { threads } else { parts(step) };
    (map.channels, CHANNELS, parts)
}

/// Whether threads share a convolution by its channels.
pub(super) fn by_slices(conv: &dyn PackedConv, map: &Map) -> bool {
    const SLICES: usize = 8;
    let few = conv.few_pixels();
    map.pixels() <= few && slices(conv) >= SLICES
}

/// Parts between the cuts of a convolution.
fn slices(conv: &dyn PackedConv) -> usize {
    if let Cuts::At(cuts) = conv.cuts() { cuts.len() - 1 } else { 1 }
}

/// The channels of such parts.
fn channels(conv: &dyn PackedConv, slices: Range<usize>) -> Range<usize> {
    if let Cuts::At(cuts) = conv.cuts() { cuts[slices.start]..cuts[slices.end] } else { 0..0 }
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

/// Computes a part of a step for which [`work`] gave a cut; `out` is what it writes.
pub(in super::super) fn compute(
    program: &Program,
    step: &Step,
    inputs: &[Input],
    part: Part,
    out: &mut [u8],
    reads: [&[u8]; 2],
    scratch: &mut [u8],
) {
    let kernels = program.kernels;
    let mask = kernels.storage().mask();
    let operand = |i: usize| step.reads.get(i).and_then(|id| program.constant(*id)).unwrap_or(reads[i]);
    let (a, b) = (operand(0), operand(1));
    let y = &program.tensors[step.writes.expect("only steps that write are cut").0];
    let range = match (part, &step.layer) {
        (Part::Items(range), _) => range,
        (Part::Slices(slices), Layer::Conv(conv, map)) => {
            let residual = (step.reads.len() > 1).then_some(b);
            let channels = Some(channels(&**conv, slices));
            let output = Destination::Bytes(out);
            return conv.run(Job { input: a, residual, pixels: 0..map.pixels(), channels, output, scratch });
        }
        (Part::Slices(_), _) => unreachable!("only convolutions are cut by slices"),
    };
    match &step.layer {
        Layer::Quantise { input } => match inputs[*input] {
            Input::Numbers(numbers) => kernels.quantise(bytes_of(y), numbers, &y.map, out, range),
            Input::Pixels(pixels, tables) => quantise_pixels(&pixels[3 * range.start..3 * range.end], tables, out),
        },
        Layer::Conv(conv, map) => {
            let residual = (step.reads.len() > 1).then_some(b);
            let by_channels = map.pixels() == 1 && residual.is_none() && conv.cuts() == Cuts::Anywhere;
            let (pixels, channels) = if by_channels { (0..1, Some(range)) } else { (range, None) };
            let output = match y.element {
                Element::Floats => Destination::Floats(numbers_mut(out)),
                Element::Bytes(_) => Destination::Bytes(out),
            };
            conv.run(Job { input: a, residual, pixels, channels, output, scratch });
        }
        Layer::Add(quant) => kernels.add(quant, &a[range.clone()], &b[range], out),
        Layer::Table(table) => kernels.table(table, &a[range], out),
        Layer::MaxPool(window) => kernels.max_pool(window, a, out, range),
        Layer::AveragePool(window) => kernels.average_pool(window, a, out, range),
        Layer::Panels(panels) => panels.run(mask, a, range, out),
        Layer::MatMul(m) => m.run(kernels, [a, b], range, out, scratch),
        Layer::Float(f) => f.run(bytemuck::cast_slice(a), bytemuck::cast_slice(b), range, numbers_mut(out)),
        Layer::Elementwise(e) => e.run(mask, a, b, range, out),
        Layer::Softmax(s) => s.run(mask, a, range, out),
        Layer::Copies(copies) => copies[0].moves.run_bytes(copies[0].table.as_deref(), a, out),
        Layer::ToNumbers => {
            let x = &program.tensors[step.reads[0].0];
            kernels.dequantise(bytes_of(x), &x.map, a, numbers_mut(out));
        }
        Layer::ToBytes => kernels.quantise(bytes_of(y), bytemuck::cast_slice(a), &y.map, out, range),
        Layer::Input { .. }
        | Layer::Constant(_)
        | Layer::Numbers(_)
        | Layer::Dequantise { .. }
        | Layer::Floats { .. } => unreachable!("no such layer is a round"),
    }
}
