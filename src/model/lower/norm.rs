//! LayerNormalization over the last dimensions.

use super::super::graph::Node;
use super::super::quantised::{View, f32_values};
use super::super::shapes::{Shapes, volume, wrap};

/// Elements of a row: exact sums of squares then fit 64 bits.
const MOST: usize = 1 << 20;

/// What a LayerNormalization multiplies and adds, for each place of a row; `None` for what layers do not compute.
pub(super) fn of(view: &View, shapes: &Shapes, node: &Node) -> Option<(Vec<f32>, Vec<f32>)> {
    let x = shapes.get(node.input(0)?)?;
    let axis = wrap(node.int("axis", -1), x.len()).filter(|axis| *axis < x.len())?;
    let width = volume(&x[axis..]).filter(|width| (1..=MOST).contains(width))?;
    let list = |i: usize| {
        let (values, shape) = f32_values(view, node.input(i)?)?;
        // As long as a row, or one for all.
        let real = shape.iter().skip_while(|n| **n == 1).eq(x[axis..].iter().skip_while(|n| **n == 1));
        match values.len() {
            n if n == width && real => Some(values.into_owned()),
            1 => Some(vec![values[0]; width]),
            _ => None,
        }
    };
    let bias = if node.input(2).is_some() { list(2)? } else { vec![0.0; width] };
    Some((list(1)?, bias))
}
