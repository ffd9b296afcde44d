//! Tensors inside a program: ONNX shape, layout in memory, kind of element.

use crate::error::{Error, Result};
use crate::kernels::Map;
use crate::quant::Quant;

/// A tensor inside a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TensorId(pub(crate) usize);

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    /// Bytes with this scale and zero point.
    Bytes(Quant),
    /// Single-precision numbers.
    F32,
}

impl Element {
    pub(crate) fn size(self) -> usize {
        match self {
            Element::Bytes(_) => 1,
            Element::F32 => 4,
        }
    }
}

/// A tensor: its ONNX shape and how it lies in memory.
///
/// Rank 4 with a batch of 1 is a channels-last map. Every other rank is row-major, seen as one pixel; so is what
/// [`Tensor::f32_values`] and [`Tensor::rows`] make, of any rank.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The shape as ONNX has it.
    pub shape: Vec<usize>,
    /// How it lies in memory.
    pub map: Map,
    /// What its elements are.
    pub element: Element,
}

impl Tensor {
    /// A tensor of ONNX shape `shape`, laid out for this engine.
    pub fn new(shape: &[usize], element: Element) -> Tensor {
        let map = match *shape {
            // Whole vectors for whole loads, but a camera's three channels stay packed.
            [1, c, h, w] => {
                Map { height: h, width: w, channels: c, stride: if c < 8 { c } else { c.next_multiple_of(16) } }
            }
            _ => {
                let volume = shape.iter().product();
                Map { height: 1, width: 1, channels: volume, stride: volume }
            }
        };
        Tensor { shape: shape.to_vec(), map, element }
    }

    /// A row-major tensor of numbers, whatever its rank.
    pub fn f32_values(shape: &[usize]) -> Tensor {
        Tensor::rows(shape, Element::F32)
    }

    /// A row-major tensor, whatever its rank: matrices of an attention have four dimensions too.
    pub fn rows(shape: &[usize], element: Element) -> Tensor {
        let volume = shape.iter().product();
        let map = Map { height: 1, width: 1, channels: volume, stride: volume };
        Tensor { shape: shape.to_vec(), map, element }
    }

    /// Whether it lies as [`Tensor::new`] has its shape.
    pub(crate) fn is_as_new(&self) -> bool {
        Tensor::new(&self.shape, self.element).map == self.map
    }

    /// Whether the elements lie in ONNX order, without gaps between them.
    pub(crate) fn is_row_major(&self) -> bool {
        !self.is_map() || self.map.pixels() == 1
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(*self.shape, [1, c, h, w] if (h, w, c) == (self.map.height, self.map.width, self.map.channels))
    }

    /// Scale and zero point.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn quant(&self) -> Result<Quant> {
        match self.element {
            Element::Bytes(q) => Ok(q),
            Element::F32 => Err(Error::Internal("a tensor of numbers stands where bytes belong".into())),
        }
    }

    /// Elements from one index to the next along each dimension of the shape.
    pub(crate) fn strides(&self) -> Vec<usize> {
        match *self.shape {
            [_, _, _, w] if self.is_map() => vec![0, 1, w * self.map.stride, self.map.stride],
            _ => row_major(&self.shape),
        }
    }
}

/// Strides of `tensor` along the dimensions of `shape`, 0 where it is broadcast; `None` where it does not fit.
pub(crate) fn broadcast(tensor: &Tensor, shape: &[usize]) -> Option<Vec<usize>> {
    let missing = shape.len().checked_sub(tensor.shape.len())?;
    let strides = tensor.strides();
    (0..shape.len())
        .map(|i| {
            let Some(own) = i.checked_sub(missing) else { return Some(0) };
            match tensor.shape[own] {
                1 => Some(0),
                n if n == shape[i] => Some(strides[own]),
                _ => None,
            }
        })
        .collect()
}

/// Elements from one index to the next along each dimension of a row-major tensor.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}
