//! Layers that other networks have beside convolutions of three and five rows: each as a program of its own, with the
//! quantisation of its input and the dequantisation of its result.

use oltr_int8::kernels::{Conv, Output, Window};
use oltr_int8::quant::Quant;
use oltr_int8::{Between, Binary, Builder, Element, Finish, Norm, Piece, Result, TensorId};

use crate::networks::{Class, Layer, QUANT, Shape};

/// A layer built over an input of this shape.
#[derive(Debug)]
pub struct Built {
    pub shape: [usize; 4],
    pub build: fn(&mut Builder, TensorId) -> Result<TensorId>,
}

const MAP: [usize; 4] = [1, 96, 14, 14];
const HEADS: [usize; 4] = [1, 4, 49, 24];
const FULL: (u8, u8) = (0, 255);

/// The layers, with their classes.
pub fn layers() -> Vec<(Class, Layer)> {
    let built = |shape, build| Layer::Built(Built { shape, build });
    vec![
        ("depthwise 7x7", Shape { groups: 96, ..Shape::new(14, 96, 96, 7, 1) }.layer()),
        ("interpolate", built(MAP, |b, x| b.interpolate(x, [twice(14), twice(14)], (QUANT, FULL), None))),
        (
            "normalise",
            built([1, 1, 196, 96], |b, x| {
                let norm = Norm { epsilon: 1e-5, scale: vec![1.0; 96], bias: vec![0.1; 96], y: QUANT, bounds: FULL };
                b.normalise(x, norm)
            }),
        ),
        ("table", built(MAP, |b, x| b.table("not", x, QUANT, |q| !q))),
        ("tables", built(MAP, |b, x| b.tables("channels", x, QUANT, |channel, q| q ^ channel as u8))),
        (
            "product of heads",
            built(HEADS, |b, x| {
                let across = b.reshape(x, &[1, 4, 24, 49], Some(&[0, 1, 3, 2]))?;
                b.matmul(x, across, [49, 24, 49], &[1, 4, 49, 49], Quant { scale: 0.5, ..QUANT }, FULL)
            }),
        ),
        ("softmax", built([1, 4, 49, 49], |b, x| b.softmax(x, QUANT))),
        (
            "gate",
            built(MAP, |b, x| {
                let gate = b.constant(&[1, 96, 1, 1], QUANT, &[130; 96]);
                b.binary(Binary::Mul, x, gate, &MAP, QUANT, FULL)
            }),
        ),
        ("concat", built(MAP, |b, x| b.concat(&[x, x], 1, &[1, 192, 14, 14], Quant { scale: 0.03, ..QUANT }))),
        (
            "halves",
            built(MAP, |b, x| {
                let straight = |axis: usize, extent: usize| Piece { extent, from: Some((axis, 1)), to: (axis, 1) };
                b.moved(x, &[1, 48, 14, 14], &[straight(1, 48), straight(2, 14), straight(3, 14)], &[0, 48, 0, 0])
            }),
        ),
        (
            "float bias",
            built(MAP, |b, x| {
                let map = b.tensor(x).map;
                let conv = Conv {
                    input: map,
                    output: map,
                    window: Window::POINT,
                    groups: 1,
                    input_zero: 128,
                    weights: vec![3; 96 * 96],
                    bias: vec![0; 96],
                    result: Output::F32(vec![1e-3; 96]),
                };
                let sums = b.conv(x, conv, Element::F32, &MAP, None)?;
                let bytes = Some((QUANT.scale, QUANT, 0, 255));
                b.finishing(sums, None, map, Finish { scale: None, bias: Some(vec![0.1; 96]), bytes })
            }),
        ),
    ]
}

/// Rows or columns twice as many as `n`, linear between pixels.
fn twice(n: usize) -> Vec<Between> {
    let between = |i: usize| {
        let (near, far) = (i / 2, if i.is_multiple_of(2) { (i / 2).saturating_sub(1) } else { (i / 2 + 1).min(n - 1) });
        Between { positions: [near.min(far), near.max(far)], shares: [0.25, 0.75] }
    };
    (0..2 * n).map(between).collect()
}
