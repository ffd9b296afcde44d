//! Layers of numbers, for the parts of a network that stay in float.
//!
//! Shapes are given with each layer: a row-major tensor can be read in any shape of as many elements.

use crate::error::{Error, Result};
use crate::float::{self, Function, Panels, Reduction};
use crate::layers::broadcast::Broadcast;
use crate::layers::concat::Concat;
use crate::layers::constant::Constant;
use crate::layers::copy::Copy;
use crate::layers::dequantise::Dequantise;
use crate::layers::f32::binary::Binary;
use crate::layers::f32::dense::Dense;
use crate::layers::f32::distances::Distances;
use crate::layers::f32::function::Elements;
use crate::layers::f32::layer::{F32, F32Layer};
use crate::layers::f32::matmul::MatMul;
use crate::layers::f32::normalise::Normalise;
use crate::layers::f32::panels::PackPanels;
use crate::layers::f32::reduce::Reduce;
use crate::layers::f32::softmax::Softmax;
use crate::layers::f32::transpose::Transpose;
use crate::layers::input::CopyInput;
use crate::layers::moves::Move;
use crate::layers::quantise::Quantise;
use crate::program::build::{Builder, Piece};
use crate::program::steps::Work;
use crate::quant::Quant;
use crate::tensor::{Element, Tensor, TensorId, broadcast, row_major};

/// A constant matrix of floats, `[k, n]`, whose elements are given one by one: quantised weights are not all there as
/// floats twice.
pub struct Matrix<'a> {
    /// The element at a place among `count`.
    pub at: &'a dyn Fn(usize) -> f32,
    /// How many elements there are.
    pub count: usize,
    /// Steps in places from a row to the next, and from a column to the next.
    pub strides: [usize; 2],
}

impl Builder {
    /// A new input of numbers that is read as numbers.
    pub fn input(&mut self, shape: &[usize]) -> TensorId {
        self.inputs.push(shape.to_vec());
        self.input_again(self.inputs.len() - 1)
    }

    /// An input that is there already, read as numbers too.
    pub fn input_again(&mut self, input: usize) -> TensorId {
        let tensor = Tensor::f32_values(&self.inputs[input]);
        self.push("input".into(), 0, Work::layer(CopyInput(input)), &[], tensor)
    }

    /// Constant numbers in ONNX order.
    pub fn f32_values(&mut self, shape: &[usize], values: Vec<f32>) -> TensorId {
        self.push("constant".into(), 0, Work::Constant(Constant::F32(values)), &[], Tensor::f32_values(shape))
    }

    /// Bytes as numbers (ONNX DequantizeLinear), or a map of numbers in ONNX order.
    pub fn to_f32(&mut self, x: TensorId) -> TensorId {
        let tensor = &self.tensors[x.0];
        let f32_values = Tensor::f32_values(&tensor.shape);
        match tensor.element {
            Element::Bytes(quant) => {
                let work = Work::layer(Dequantise { quant, map: tensor.map });
                self.push("dequantise".into(), 0, work, &[x], f32_values)
            }
            Element::F32 if tensor.is_row_major() => x,
            Element::F32 => {
                let moves = Move::new(&tensor.shape, &tensor.strides(), &row_major(&tensor.shape), 0);
                self.push("copy".into(), 0, Work::layer(F32(Transpose(moves, 0))), &[x], f32_values)
            }
        }
    }

    /// Numbers of this shape as bytes (ONNX QuantizeLinear).
    ///
    /// # Errors
    /// [`Error::Internal`] unless `x` holds as many numbers.
    pub fn to_bytes(&mut self, x: TensorId, shape: &[usize], quant: Quant) -> Result<TensorId> {
        self.expect(x, shape.iter().product())?;
        let tensor = Tensor::new(shape, Element::Bytes(quant));
        let work = Work::layer(Quantise { quant, map: tensor.map });
        Ok(self.push("quantise".into(), 0, work, &[x], tensor))
    }

    /// A function of each number.
    ///
    /// # Errors
    /// [`Error::Internal`] unless `x` holds as many numbers as `shape` says.
    pub fn function(&mut self, op: &str, x: TensorId, function: Function, shape: &[usize]) -> Result<TensorId> {
        self.expect(x, shape.iter().product())?;
        Ok(self.float(op, 0, Elements(function), &[x], shape))
    }

    /// A function of two tensors of these shapes, broadcast to `shape`.
    ///
    /// # Errors
    /// [`Error::Internal`] where shapes and tensors do not fit.
    pub fn float_binary(
        &mut self,
        op: &str,
        binary: float::Binary,
        [a, b]: [(TensorId, &[usize]); 2],
        shape: &[usize],
    ) -> Result<TensorId> {
        for (id, shape) in [a, b] {
            self.expect(id, shape.iter().product())?;
        }
        let strides = |own: &[usize]| broadcast(&Tensor::f32_values(own), shape);
        let (Some(sa), Some(sb)) = (strides(a.1), strides(b.1)) else {
            return Err(Error::Internal(format!("{}: shapes do not broadcast", self.name)));
        };
        let layer = Binary(binary, Broadcast::new(shape, [sa, sb, row_major(shape)]));
        Ok(self.float(op, 0, layer, &[a.0, b.0], shape))
    }

    /// Rows of `width` numbers become one each.
    ///
    /// # Errors
    /// [`Error::Internal`] unless `x` holds `width` numbers for each of the result's.
    pub fn reduce(
        &mut self,
        op: &str,
        x: TensorId,
        reduction: Reduction,
        width: usize,
        shape: &[usize],
    ) -> Result<TensorId> {
        self.expect(x, width * shape.iter().product::<usize>())?;
        Ok(self.float(op, 0, Reduce(reduction, width), &[x], shape))
    }

    /// Softmax over the last dimension of numbers of this shape.
    ///
    /// # Errors
    /// [`Error::Internal`] unless `x` holds as many numbers.
    pub fn float_softmax(&mut self, x: TensorId, shape: &[usize]) -> Result<TensorId> {
        self.expect(x, shape.iter().product())?;
        let width = shape.last().copied().unwrap_or(1);
        Ok(self.float("softmax", 0, Softmax(width), &[x], shape))
    }

    /// Euclidean distances from `v` to each of the rows of `centroids`, as many as `shape` has elements.
    ///
    /// # Errors
    /// [`Error::Internal`] unless every row is as long as `v`.
    pub fn distances(&mut self, v: TensorId, centroids: TensorId, shape: &[usize]) -> Result<TensorId> {
        let d = self.tensors[v.0].map.channels;
        let rows: usize = shape.iter().product();
        self.expect(centroids, rows * d)?;
        Ok(self.float("distances", (rows * d) as u64, Distances, &[v, centroids], shape))
    }

    /// `x × weights + bias` with the `[m, k, n]` of `size`.
    ///
    /// # Errors
    /// [`Error::Internal`] where sizes and tensors do not fit.
    pub fn dense(
        &mut self,
        x: TensorId,
        size: [usize; 3],
        weights: &Matrix<'_>,
        bias: Option<Vec<f32>>,
        shape: &[usize],
    ) -> Result<TensorId> {
        let [m, k, n] = size;
        self.expect(x, m * k)?;
        if weights.count != k * n
            || bias.as_ref().is_some_and(|b| b.len() != n)
            || shape.iter().product::<usize>() != m * n
        {
            return Err(Error::Internal(format!("{}: weights do not fit", self.name)));
        }
        let layer = Dense::new(size, weights.at, weights.strides, bias);
        Ok(self.float("matmul", (m * k * n) as u64, layer, &[x], shape))
    }

    /// Product of two tensors of numbers, `[.., m, k] × [.., k, n]`.
    ///
    /// # Errors
    /// [`Error::Internal`] where sizes and tensors do not fit.
    pub fn float_matmul(&mut self, [a, b]: [TensorId; 2], size: [usize; 3], shape: &[usize]) -> Result<TensorId> {
        let [m, k, n] = size;
        let batch = shape.iter().product::<usize>() / (m * n).max(1);
        self.expect(a, batch * m * k)?;
        self.expect(b, batch * k * n)?;
        let panels = self.float("panels", 0, PackPanels([k, n]), &[b], &[batch * Panels::volume(k, n)]);
        Ok(self.float("matmul", (batch * m * k * n) as u64, MatMul(size), &[a, panels], shape))
    }

    /// Transposition of numbers of shape `from` to `shape`.
    ///
    /// # Errors
    /// [`Error::Internal`] unless `x` holds as many numbers.
    pub fn float_transpose(
        &mut self,
        x: TensorId,
        from: &[usize],
        permutation: &[usize],
        shape: &[usize],
    ) -> Result<TensorId> {
        self.expect(x, from.iter().product())?;
        let strides = row_major(from);
        let from: Vec<usize> = permutation.iter().map(|p| strides[*p]).collect();
        let moves = Move::new(shape, &from, &row_major(shape), 0);
        Ok(self.float("copy", 0, Transpose(moves, 0), &[x], shape))
    }

    /// Rows of numbers brought to mean 0 and variance 1, then multiplied with `scale` and moved by `bias` place by place.
    ///
    /// # Errors
    /// [`Error::Internal`] unless rows as long as the lists fill `x`.
    pub fn float_normalise(
        &mut self,
        x: TensorId,
        epsilon: f32,
        [scale, bias]: [Vec<f32>; 2],
        shape: &[usize],
    ) -> Result<TensorId> {
        let volume: usize = shape.iter().product();
        self.expect(x, volume)?;
        if scale.is_empty() || scale.len() != bias.len() || !volume.is_multiple_of(scale.len()) {
            return Err(Error::Internal(format!("{}: rows of {} do not fill it", self.name, scale.len())));
        }
        Ok(self.float("normalise", 0, Normalise { epsilon, scale, bias }, &[x], shape))
    }

    /// Numbers of shape `from` in other places, as [`Builder::moved`] has them for bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] unless `x` holds as many numbers, or for places that there are not.
    pub fn float_moved(
        &mut self,
        x: TensorId,
        from: &[usize],
        (pieces, start): (&[Piece], &[usize]),
        shape: &[usize],
    ) -> Result<TensorId> {
        self.expect(x, from.iter().product())?;
        let tensors = [&Tensor::f32_values(from), &Tensor::f32_values(shape)];
        let (first, moves) = self.steps_of(tensors, pieces, start)?;
        Ok(self.float("copy", 0, Transpose(moves, first), &[x], shape))
    }

    /// Tensors of numbers of these shapes, one behind the other along `axis`.
    ///
    /// # Errors
    /// [`Error::Internal`] where shapes and tensors do not fit.
    pub fn float_concat(&mut self, parts: &[(TensorId, &[usize])], axis: usize, shape: &[usize]) -> Result<TensorId> {
        // In bytes, of which each number is four.
        let bytes = |strides: Vec<usize>| -> Vec<usize> { strides.iter().map(|s| 4 * s).chain([1]).collect() };
        let strides = bytes(row_major(shape));
        let (mut copies, mut at) = (Vec::new(), 0);
        for (id, own) in parts {
            self.expect(*id, own.iter().product())?;
            let others =
                |dims: &[usize]| dims.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, n)| *n).collect();
            let (others, expected): (Vec<usize>, Vec<usize>) = (others(own), others(shape));
            if own.len() != shape.len() || axis >= shape.len() || others != expected {
                return Err(Error::Internal(format!("{}: parts that do not fit", self.name)));
            }
            let extents: Vec<usize> = own.iter().copied().chain([4]).collect();
            let moves = Move::new(&extents, &bytes(row_major(own)), &strides, at * strides[axis]);
            copies.push(Copy { first: 0, moves, table: None });
            at += own[axis];
        }
        if shape.get(axis) != Some(&at) {
            return Err(Error::Internal(format!("{}: parts that do not fill it", self.name)));
        }
        let reads: Vec<TensorId> = parts.iter().map(|(id, _)| *id).collect();
        Ok(self.push("concat".into(), 0, Work::Concat(Concat(copies)), &reads, Tensor::f32_values(shape)))
    }

    fn float(
        &mut self,
        op: &str,
        macs: u64,
        layer: impl F32Layer + 'static,
        reads: &[TensorId],
        shape: &[usize],
    ) -> TensorId {
        self.push(op.into(), macs, Work::layer(F32(layer)), reads, Tensor::f32_values(shape))
    }

    fn expect(&self, x: TensorId, volume: usize) -> Result<()> {
        let tensor = &self.tensors[x.0];
        let holds = tensor.element == Element::F32 && tensor.is_row_major();
        match holds && tensor.map.channels == volume {
            true => Ok(()),
            false => {
                Err(Error::Internal(format!("{}: {volume} numbers expected, {:?} given", self.name, tensor.shape)))
            }
        }
    }
}
