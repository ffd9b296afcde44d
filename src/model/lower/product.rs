//! Convolutions and products with constant weights, before they become layers: reading and checking what the file says.

use super::super::quantised::{View, constant_shape, entry, f32_values};
use super::super::shapes::{Shapes, Sliding};
use super::units::{Kind, Operand, Unit};
use super::weights::{Weights, int_bias};
use oltr_int8::kernels::{Conv, Map, Output, Window};
use oltr_int8::quant::Quant;
use oltr_int8::{Element, Tensor};

pub(super) fn operand_shape(view: &View, shapes: &Shapes, operand: &Operand) -> Option<Vec<usize>> {
    match operand {
        Operand::Activation(q) => shapes.get(&entry(view, q).1).cloned(),
        Operand::Constant(name) => Some(view.constant(name)?.value.shape.clone()),
        Operand::F32(name) => shapes.get(name).cloned(),
        Operand::ConstantF32(name) => Some(constant_shape(view, name)?.to_vec()),
    }
}

pub(super) fn activation_quant(view: &View, q: &str) -> Option<Quant> {
    view.params(*view.producers.get(q)?)?.activation()
}

/// Where a convolution works.
pub(super) struct Place {
    pub input: Map,
    pub output: Map,
    pub window: Window,
    pub groups: usize,
    /// The map that is read instead of its flattened form.
    pub map: Option<String>,
}

/// A convolution or matrix product before it knows what becomes of its sums.
pub(super) struct Dense<'a> {
    /// Without its weights.
    pub conv: Conv,
    pub weights: Weights<'a>,
    /// What the weights lack, where they do not fit signed bytes.
    pub rests: Vec<Weights<'a>>,
    /// A bias in floating point; the one of `conv` is 0 then.
    pub float_bias: Option<Vec<f32>>,
    /// `scale_x * scale_w` of each output channel.
    pub scales: Vec<f32>,
    /// As in [`Place`].
    pub map: Option<String>,
}

/// Reads weights, bias and geometry; `None` for what the layers cannot do exactly.
pub(super) fn dense<'a>(view: &View<'a>, shapes: &Shapes, unit: &Unit) -> Option<Dense<'a>> {
    let Operand::Activation(q) = &unit.operands[0] else { return None };
    let x = operand_shape(view, shapes, &unit.operands[0])?;
    let quant = activation_quant(view, q)?;
    let (constant, bias) = match &unit.kind {
        Kind::Conv { weights, bias, .. } | Kind::Dense { weights, bias, .. } => (view.constant(weights)?, bias),
        _ => return None,
    };
    let w = &constant.value.shape;
    let (input, output, window, groups, scales);
    // Of the weights: their counts, and where the file has them.
    let (counts, strides);
    let mut map = None;
    match &unit.kind {
        Kind::Conv { window: sliding, groups: g, .. } => {
            let (x, w, shape) = (lifted(&x), lifted(w), lifted(&unit.shape));
            let ([1, c, h, wd], [oc, per_group, kh, kw], [1, ..]) = (&x[..], &w[..], &shape[..]) else {
                return None;
            };
            if *g == 0 || c % g != 0 || oc % g != 0 || c / g != *per_group || *oc == 0 || *per_group == 0 {
                return None;
            }
            input = Tensor::new(&x, Element::Bytes(quant)).map;
            output = Tensor::new(&shape, Element::Bytes(quant)).map;
            window = sliding_window(sliding, [*h, *wd])?;
            groups = *g;
            scales = constant.scales(*oc, 0)?;
            let taps = kh * kw;
            (counts, strides) = ([*oc, taps, *per_group], [per_group * taps, 1, taps]);
        }
        Kind::Dense { transposed, .. } => {
            let [rows, columns] = w[..] else { return None };
            let (n, k) = if *transposed { (rows, columns) } else { (columns, rows) };
            let m = x.iter().product::<usize>().checked_div(k)?;
            if x.last() != Some(&k) || n == 0 || m == 0 {
                return None;
            }
            scales = constant.scales(n, if *transposed { 0 } else { 1 })?;
            output = Map { height: 1, width: m, channels: n, stride: n };
            groups = 1;
            // Steps from one row of the product to the next, and from one input to the next.
            let (of_n, of_k) = if *transposed { (k, 1) } else { (1, n) };
            match flattened_map(view, shapes, q).filter(|_| m == 1) {
                // The flattened map itself: a convolution whose window is the whole map, columns put in its order.
                Some((name, shape)) => {
                    map = Some(name);
                    let [_, c, h, wd] = shape[..] else { return None };
                    input = Tensor::new(&shape, Element::Bytes(quant)).map;
                    window = Window { kernel: [h, wd], ..Window::POINT };
                    (counts, strides) = ([n, h * wd, c], [of_n, of_k, h * wd * of_k]);
                }
                None => {
                    input = Map { height: 1, width: m, channels: k, stride: k };
                    window = Window::POINT;
                    (counts, strides) = ([n, 1, k], [of_n, 0, of_k]);
                }
            }
        }
        _ => return None,
    }
    let weights = match Weights::new(&constant, counts, strides) {
        Some(weights) => (weights, Vec::new()),
        None => {
            let mut parts = Weights::split(&constant, counts, strides)?.into_iter();
            (parts.next()?, parts.collect())
        }
    };
    assembled(view, bias.as_deref(), quant, scales, weights, Place { input, output, window, groups, map })
}

/// A shape over rows and columns: one dimension is a row.
pub(super) fn lifted(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [n, c, w] => vec![n, c, 1, w],
        _ => shape.to_vec(),
    }
}

/// Puts a layer together, of weights with these scales and what of them does not fit signed bytes; `None` where no bias
/// does, or where sums could leave 32 bits.
pub(super) fn assembled<'a>(
    view: &View<'a>,
    bias: Option<&str>,
    quant: Quant,
    scales: Vec<f32>,
    (weights, rests): (Weights<'a>, Vec<Weights<'a>>),
    Place { input, output, window, groups, map }: Place,
) -> Option<Dense<'a>> {
    let scales: Vec<f32> = scales.iter().map(|s| quant.scale * s).collect();
    let zeros = vec![0; output.channels];
    let (bias, float_bias) = match bias {
        None => (zeros, None),
        Some(name) => match int_bias(view, name, &scales) {
            Some(bias) => (bias, None),
            None => (zeros, Some(float_bias(view, name, output.channels)?)),
        },
    };
    let zero = quant.zero_point;
    let bias = match rests.is_empty() {
        true => weights.safe_bias(&bias, zero)?,
        false => {
            let parts = || rests.iter().chain([&weights]);
            // Depthwise and grouped layers are computed part by part as f32 values, which hold sums below 2²⁴ exactly.
            let most = if groups > 1 { 1 << 24 } else { i32::MAX as u64 };
            let mut sums: Vec<u64> = bias.iter().map(|b| u64::from(b.unsigned_abs())).collect();
            for part in parts() {
                sums.iter_mut().zip(part.largest_sums(zero)).for_each(|(sum, more)| *sum += more);
            }
            sums.iter().all(|sum| *sum <= most).then_some(bias)?
        }
    };
    let result = Output::F32(Vec::new());
    let conv = Conv { input, output, window, groups, input_zero: zero, weights: Vec::new(), bias, result };
    Some(Dense { conv, weights, rests, float_bias, scales, map })
}

/// A bias that is added as numbers: one for each channel, or one for all.
fn float_bias(view: &View, name: &str, channels: usize) -> Option<Vec<f32>> {
    let (values, shape) = f32_values(view, name)?;
    match values.len() {
        n if n == channels && shape.last().is_none_or(|last| *last == n) => Some(values.into_owned()),
        1 => Some(vec![values[0]; channels]),
        _ => None,
    }
}

pub(super) fn sliding_window(s: &Sliding, input: [usize; 2]) -> Option<Window> {
    Some(Window { kernel: s.kernel, stride: s.stride, dilation: s.dilation, pad: s.lead(input)? })
}

/// If `q` is a rank-4 map flattened to `[1, c·h·w]`, that map's name and shape.
fn flattened_map(view: &View, shapes: &Shapes, q: &str) -> Option<(String, Vec<usize>)> {
    let (_, float) = entry(view, q);
    let node = &view.graph.nodes[*view.producers.get(float.as_str())?];
    let moves = node.is("Flatten") || node.is("Reshape") || node.is("Squeeze");
    let (source, quant) = view.activation(node.input(0).filter(|_| moves)?)?;
    let shape = shapes.get(node.input(0)?)?;
    let flat = shapes.get(&float)?;
    let same = activation_quant(view, q) == Some(quant);
    (same && shape.len() == 4 && shape[0] == 1 && flat[..] == [1, shape[1..].iter().product()])
        .then(|| (source.to_string(), shape.clone()))
}
