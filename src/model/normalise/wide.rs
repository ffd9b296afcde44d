//! Quantisation that no int8 layer computes with: of 16 bits (Qualcomm's tools), and in blocks along a dimension (weights
//! of 4 bits). It is honoured in float: activations are kept within their range, constants are dequantised at load. What
//! reads them is told why it runs in float.

use super::super::graph::{Const, Node, Why};
use super::super::operators::QUANTISE;
use super::super::shapes::wrap;
use super::Pass;
use std::borrow::Cow;

/// Why products of activations of 16 bits run in float.
const WIDE: Why = ("its input is quantised to 16 bits", "quantise activations to 8 bits");

/// Why products with weights in blocks do.
const BLOCKS: Why =
    ("its weights are quantised in blocks, so they were dequantised", "quantise weights to int8, per channel");

/// Why products with weights of 16 bits do.
const WIDE_WEIGHTS: Why = ("its weights are quantised to 16 bits, so they were dequantised", "quantise them to int8");

/// ONNX's numbers of uint16 and int16.
const WIDE_TYPES: [i64; 2] = [4, 5];

/// Operators that move or choose numbers of one tensor.
const WIDE_MOVES: [&str; 11] = [
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "MaxPool",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Why anything else that reads them is refused.
const READS_WIDE: &str = "reads integers of 16 bits; dequantise them before";

/// An activation of 16 bits: the numbers that it stands for, its scale and zero point.
#[derive(Clone, Debug)]
pub(super) struct Range {
    f32_values: String,
    scale: f32,
    zero: i32,
}

impl Pass<'_> {
    /// Whether a Q or DQ node is of 16 bits or of blocks; it is then brought into float, or refused.
    pub(super) fn wide(&mut self, node: &Node, is_output: bool) -> bool {
        let dtype = |i: usize| node.input(i).and_then(|name| self.consts.get(name)).and_then(|c| c.wide());
        let wide = dtype(2).is_some() || dtype(0).is_some() || WIDE_TYPES.contains(&node.int("output_dtype", 0));
        let reads_wide = node.input(0).is_some_and(|x| self.ranges.contains_key(x));
        let blocks = node.int("block_size", 0) != 0;
        if !wide && !reads_wide && !blocks {
            return false;
        }
        let done = match node.op.as_str() {
            QUANTISE if reads_wide => Err(READS_WIDE.into()),
            QUANTISE if blocks => Err("quantises in blocks at run time; quantise activations per tensor".into()),
            QUANTISE => self.keep_in_range(node, is_output),
            _ if node.input(0).is_some_and(|x| self.consts.contains_key(x)) => {
                self.dequantise_constant(node, is_output)
            }
            _ if blocks => Err("dequantises activations in blocks; quantise them per tensor".into()),
            _ => self.back_from_range(node, is_output),
        };
        if let Err(reason) = done {
            self.refuse(node, reason);
        }
        true
    }

    /// Scale and zero point of 16 bits of an activation.
    fn range(&self, node: &Node) -> Result<(f32, i32), String> {
        let scales = node.input(1).and_then(|s| self.consts.get(s)).and_then(|s| s.as_f32());
        let Some([scale]) = scales.as_deref() else { return Err("is of 16 bits and has not one float32 scale".into()) };
        if !(scale.is_finite() && *scale > 0.0) {
            return Err(format!("has a scale of {scale}; scales are positive numbers"));
        }
        let zero = match node.input(2) {
            None => 0,
            Some(zero) => match self.consts.get(zero).and_then(|z| z.wide()).map(|(zeros, _)| zeros).as_deref() {
                Some([zero]) => *zero,
                _ => return Err("is of 16 bits and has not one zero point of 16 bits".into()),
            },
        };
        Ok((*scale, zero))
    }

    /// A Q node of 16 bits: 65,536 steps are as good as numbers, but what lies outside them is cut off.
    fn keep_in_range(&mut self, node: &Node, is_output: bool) -> Result<(), String> {
        if is_output {
            return Err("gives integers of 16 bits as an output; dequantise them".into());
        }
        if self.opset < 11 {
            return Err("is of 16 bits before operator set 11 of ONNX; export it again".into());
        }
        let (scale, zero) = self.range(node)?;
        let signed = match node.input(2).and_then(|z| self.consts.get(z)).and_then(|z| z.wide()) {
            Some((_, signed)) => signed,
            None => node.int("output_dtype", 0) == WIDE_TYPES[1],
        };
        let (least, most) = if signed { (-32_768, 32_767) } else { (0, 65_535) };
        let mut bound = |value: i32| {
            let name = self.fresh(node.output());
            self.consts.insert(name.clone(), Const::floats(&[], vec![(value - zero) as f32 * scale]));
            name
        };
        let [low, high] = [bound(least), bound(most)];
        let f32_values = self.fresh(node.output());
        self.out.push(Node::new("Clip", &node.name, &[&node.inputs[0], &low, &high], &f32_values));
        self.why.insert(f32_values.clone(), WIDE);
        self.ranges.insert(node.output().to_string(), Range { f32_values, scale, zero });
        Ok(())
    }

    /// Whether a node that is no quantiser reads an activation of 16 bits: what moves it moves its numbers, all else is
    /// refused.
    pub(super) fn moves_wide(&mut self, node: &Node, is_output: bool) -> bool {
        let read: Vec<usize> = (0..node.inputs.len()).filter(|i| self.ranges.contains_key(&node.inputs[*i])).collect();
        if read.is_empty() {
            return false;
        }
        if read != [0] || !WIDE_MOVES.contains(&node.op.as_str()) || is_output || node.outputs.len() != 1 {
            self.refuse(node, READS_WIDE);
            return true;
        }
        let range = self.ranges[&node.inputs[0]].clone();
        let f32_values = self.fresh(node.output());
        let mut moved = node.clone();
        (moved.inputs[0], moved.outputs[0]) = (range.f32_values.clone(), f32_values.clone());
        self.out.push(moved);
        self.why.insert(f32_values.clone(), WIDE);
        self.ranges.insert(node.output().to_string(), Range { f32_values, ..range });
        true
    }

    /// A DQ node of 16 bits: its operand are numbers already.
    fn back_from_range(&mut self, node: &Node, is_output: bool) -> Result<(), String> {
        let own = self.range(node)?;
        let x = &node.inputs[0];
        let f32_values = match self.ranges.get(x) {
            Some(range) if (range.scale, range.zero) == own => range.f32_values.clone(),
            Some(_) => return Err(format!("reads '{x}' with another scale or zero point than it was quantised with")),
            None => return Err(format!("reads '{x}', which nothing before it quantises")),
        };
        if is_output {
            self.out.push(Node::new("Identity", &node.name, &[&f32_values], node.output()));
        } else {
            self.renamed.insert(node.output().to_string(), f32_values);
        }
        Ok(())
    }

    /// A constant of 16 bits or of blocks, as numbers.
    fn dequantise_constant(&mut self, node: &Node, is_output: bool) -> Result<(), String> {
        let constant = |i: usize| node.input(i).and_then(|name| self.consts.get(name)).cloned();
        let integers = |c: &Const| c.wide().map(|(values, _)| values).or_else(|| c.as_integers());
        let (Some(x), Some(scale)) = (constant(0), constant(1)) else {
            return Err("its scale is computed at run time; quantise the model statically".into());
        };
        let Some(values) = integers(&x) else { return Err("reads what are no integers".into()) };
        let halves = scale.halves();
        let Some(scales) = scale.as_f32().or(halves.map(Cow::Owned)) else {
            return Err("its scale is not float32".into());
        };
        if let Some(s) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(format!("has a scale of {s}; scales are positive numbers"));
        }
        let zeros = match node.input(2) {
            None => vec![0; scales.len()],
            Some(_) => match constant(2).and_then(|z| integers(&z)) {
                Some(zeros) if zeros.len() == scales.len() => zeros,
                _ => return Err("has not as many zero points as scales".into()),
            },
        };
        let Some(place) = places(&x.shape, &scale.shape, node) else {
            return Err(format!("has scales of shape {:?} for a tensor of shape {:?}", scale.shape, x.shape));
        };
        if is_output {
            return Err("gives a constant as an output".into());
        }
        if !self.budget.spend(values.len()) {
            return Err("is one of very many; oltr dequantises no more than the file has".into());
        }
        let number = |(i, v): (usize, &i32)| (i64::from(*v) - i64::from(zeros[place(i)])) as f32 * scales[place(i)];
        let numbers = values.iter().enumerate().map(number).collect();
        let why = if node.int("block_size", 0) != 0 { BLOCKS } else { WIDE_WEIGHTS };
        self.why.insert(node.output().to_string(), why);
        self.consts.insert(node.output().to_string(), Const::floats(&x.shape, numbers));
        Ok(())
    }
}

/// Which scale an element has, by its index; `None` where scales do not fit the tensor.
fn places(shape: &[usize], scales: &[usize], node: &Node) -> Option<impl Fn(usize) -> usize> {
    let count: usize = scales.iter().product();
    let block = usize::try_from(node.int("block_size", 0)).ok()?;
    let axis = wrap(node.int("axis", 1), shape.len()).filter(|axis| *axis < shape.len());
    let (extent, inner) = match axis {
        Some(axis) => (shape[axis], shape[axis + 1..].iter().product::<usize>()),
        None => (1, 1),
    };
    let (extent, inner) = (extent.max(1), inner.max(1));
    let blocks = if block == 0 { 1 } else { extent.div_ceil(block) };
    match block {
        0 => (count == 1 || scales.len() == 1 && axis.is_some() && count == extent).then_some(())?,
        _ => {
            let mut expected = shape.to_vec();
            *expected.get_mut(axis?)? = blocks;
            (expected == scales).then_some(())?;
        }
    }
    Some(move |i: usize| match block {
        0 if count == 1 => 0,
        0 => i / inner % extent,
        _ => (i / (inner * extent) * blocks + i / inner % extent / block) * inner + i % inner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_has_the_scale_of_its_block() {
        let node = Node::new("DequantizeLinear", "", &["x", "s"], "y").with_int("axis", 1).with_int("block_size", 2);
        // Rows of five columns in blocks of two: three scales a row.
        let place = places(&[2, 5], &[2, 3], &node).unwrap();
        assert_eq!((0..10).map(place).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]);
        assert!(places(&[2, 5], &[2, 2], &node).is_none() && places(&[2, 5], &[6], &node).is_none());
        let node = Node::new("DequantizeLinear", "", &["x", "s"], "y").with_int("axis", 0).with_int("block_size", 2);
        let place = places(&[4, 2], &[2, 2], &node).unwrap();
        assert_eq!((0..8).map(place).collect::<Vec<_>>(), [0, 1, 0, 1, 2, 3, 2, 3]);
    }
}
