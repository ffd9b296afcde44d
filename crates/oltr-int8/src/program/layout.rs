//! Tensors of bytes in other shapes and layouts.

use crate::error::Result;
use crate::layers::copy::{Copy, reshape_copy};
use crate::layers::moves::{Move, reshape_view};
use crate::program::build::Builder;
use crate::program::steps::Work;
use crate::tensor::{Element, Tensor, TensorId};

impl Builder {
    /// A tensor's bytes in another shape: ONNX Reshape (`permutation` none) or Transpose. A copy of a copy is taken from
    /// where the first took it, so that reshapes and transpositions that undo each other are one plain copy, or none.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) for a tensor of numbers.
    pub fn reshape(&mut self, x: TensorId, shape: &[usize], permutation: Option<&[usize]>) -> Result<TensorId> {
        let (tensor, quant) = self.bytes(x)?;
        let (map, rows) = (Tensor::new(shape, Element::Bytes(quant)), Tensor::rows(shape, Element::Bytes(quant)));
        let (_, strides) = self.source(x, tensor);
        let view = viewed(tensor, &strides, shape, permutation);
        // As it lies, where that is ONNX's order and not the map's.
        let lies = |to: &Tensor| view.as_ref().is_some_and(|view| same_strides(shape, view, &to.strides()));
        let rows_as_they_lie = !map.is_row_major() && lies(&rows) && !lies(&map);
        self.laid(x, if rows_as_they_lie { rows } else { map }, permutation)
    }

    /// Where a tensor was copied from, and its strides there; itself, if it is no copy.
    fn source(&self, x: TensorId, tensor: &Tensor) -> (TensorId, Vec<usize>) {
        self.views.get(&x.0).cloned().unwrap_or_else(|| (x, tensor.strides()))
    }

    /// A tensor's bytes as layers want them that look at pixels: of rank 4 a map.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) for a tensor of numbers.
    pub fn map(&mut self, x: TensorId) -> Result<TensorId> {
        let (tensor, _) = self.bytes(x)?;
        if tensor.is_as_new() { Ok(x) } else { self.laid(x, Tensor::new(&tensor.shape.clone(), tensor.element), None) }
    }

    /// A tensor's bytes as layers want them that look at rows: in ONNX order, of whatever rank.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) for a tensor of numbers.
    pub fn rows(&mut self, x: TensorId) -> Result<TensorId> {
        let (tensor, _) = self.bytes(x)?;
        if tensor.is_row_major() {
            return Ok(x);
        }
        self.laid(x, Tensor::rows(&tensor.shape.clone(), tensor.element), None)
    }

    fn laid(&mut self, x: TensorId, output: Tensor, permutation: Option<&[usize]>) -> Result<TensorId> {
        let tensor = self.tensors[x.0].clone();
        let (source, strides) = self.source(x, &tensor);
        let Some(from) = viewed(&tensor, &strides, &output.shape, permutation) else {
            // Between two maps of different shapes there is ONNX's order.
            let between = !tensor.is_row_major() && !output.is_row_major();
            let x = if between { self.rows(x)? } else { x };
            let copy = reshape_copy(&self.tensors[x.0], &output);
            return Ok(self.push("copy".into(), 0, Work::layer(copy), &[x], output));
        };
        let to = output.strides();
        let same = same_strides(&output.shape, &from, &to);
        let of = &self.tensors[source.0];
        if same && of.shape == output.shape && of.map == output.map {
            return Ok(source);
        }
        let copy = Copy { first: 0, moves: Move::new(&output.shape, &from, &to, 0), table: None };
        let id = self.push("copy".into(), 0, Work::layer(copy), &[source], output);
        self.views.insert(id.0, (source, from));
        Ok(id)
    }
}

/// Strides of `tensor` along the dimensions of another shape or order; `None` where none say it.
fn viewed(tensor: &Tensor, strides: &[usize], shape: &[usize], permutation: Option<&[usize]>) -> Option<Vec<usize>> {
    match permutation {
        Some(permutation) => Some(permutation.iter().map(|p| strides[*p]).collect()),
        None => reshape_view(&tensor.shape, strides, shape),
    }
}

/// Whether strides are the same wherever there is a step.
fn same_strides(shape: &[usize], from: &[usize], to: &[usize]) -> bool {
    (0..shape.len()).filter(|i| shape[*i] != 1).all(|i| from[i] == to[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::scalar::SCALAR;
    use crate::layers::Input;
    use crate::layers::elementwise::Binary;
    use crate::quant::Quant;

    /// Runs `build` on a map of 5 channels, 3 × 2 pixels, that holds its elements' numbers in ONNX order.
    fn run(build: impl Fn(&mut Builder, TensorId)) -> (Vec<String>, Vec<Vec<f32>>) {
        let mut builder = Builder::new(&SCALAR);
        let x = builder.quantise(&[1, 5, 3, 2], Quant { scale: 1.0, zero_point: 0 });
        build(&mut builder, x);
        let program = builder.finish();
        let f32_values: Vec<f32> = (0..30u8).map(f32::from).collect();
        let mut outputs: Vec<Vec<f32>> = program.outputs().iter().map(|s| vec![-1.0; s.iter().product()]).collect();
        let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        program.run(&mut program.state(1), &[Input::F32(&f32_values)], &mut views).unwrap();
        (program.layers().map(|layer| layer.op.clone()).collect(), outputs)
    }

    /// Channel by channel for each pixel.
    fn pixel_by_pixel() -> Vec<f32> {
        (0..6u8).flat_map(|pixel| (0..5u8).map(move |channel| f32::from(channel * 6 + pixel))).collect()
    }

    #[test]
    fn a_copy_of_a_copy_is_one_copy() {
        let (ops, outputs) = run(|builder, x| {
            let flat = builder.reshape(x, &[1, 5, 6], None).unwrap();
            let rows = builder.reshape(flat, &[1, 6, 5], Some(&[0, 2, 1])).unwrap();
            builder.output(rows);
        });
        assert_eq!(ops, ["quantise", "copy", "dequantise"]);
        assert_eq!(outputs, [pixel_by_pixel()]);
    }

    #[test]
    fn copies_there_and_back_are_none() {
        let (ops, outputs) = run(|builder, x| {
            let flat = builder.reshape(x, &[1, 5, 6], None).unwrap();
            let rows = builder.reshape(flat, &[1, 6, 5], Some(&[0, 2, 1])).unwrap();
            let back = builder.reshape(rows, &[1, 5, 6], Some(&[0, 2, 1])).unwrap();
            let map = builder.reshape(back, &[1, 5, 3, 2], None).unwrap();
            builder.output(map);
        });
        assert_eq!(ops, ["quantise", "dequantise"]);
        assert_eq!(outputs, [(0..30u8).map(f32::from).collect::<Vec<_>>()]);
    }

    #[test]
    fn a_copy_that_is_read_stays_and_what_is_no_view_is_copied_twice() {
        let (ops, outputs) = run(|builder, x| {
            let flat = builder.reshape(x, &[1, 5, 6], None).unwrap();
            let rows = builder.reshape(flat, &[1, 6, 5], Some(&[0, 2, 1])).unwrap();
            // As it lies.
            let as_it_lies = builder.reshape(rows, &[1, 3, 10], None).unwrap();
            // Across pixels and channels: no strides say that of the map.
            let across = builder.reshape(flat, &[1, 3, 10], None).unwrap();
            builder.output(as_it_lies);
            builder.output(across);
        });
        assert_eq!(ops, ["quantise", "copy", "copy", "copy", "dequantise", "dequantise"]);
        assert_eq!(outputs, [pixel_by_pixel(), (0..30u8).map(f32::from).collect::<Vec<_>>()]);
    }

    #[test]
    fn rows_and_maps_hold_the_same() {
        let f32_values: Vec<f32> = (0..30u8).map(f32::from).collect();
        let (ops, outputs) = run(|builder, x| {
            let rows = builder.rows(x).unwrap();
            // Rows of another shape, in rank 4 too.
            let wide = builder.reshape(rows, &[1, 3, 5, 2], None).unwrap();
            let again = builder.rows(wide).unwrap();
            let map = builder.map(again).unwrap();
            let same = builder.map(rows).unwrap();
            assert_eq!((same, builder.rows(again).unwrap()), (x, again));
            builder.output(rows);
            builder.output(again);
            builder.output(map);
        });
        assert_eq!(ops.iter().filter(|op| *op == "copy").count(), 3, "{ops:?}");
        assert_eq!(outputs, [&f32_values[..]; 3]);
    }

    #[test]
    fn what_lies_in_order_stays_in_order() {
        let f32_values: Vec<f32> = (0..30u8).map(f32::from).collect();
        let (ops, outputs) = run(|builder, x| {
            let rows = builder.reshape(x, &[5, 6], None).unwrap();
            let copied = builder.table("same", rows, Quant { scale: 1.0, zero_point: 0 }, |q| q).unwrap();
            // Of rank 4, but no map: its rows are those of the matrix.
            let wide = builder.reshape(copied, &[1, 5, 2, 3], None).unwrap();
            assert!(builder.tensor(wide).is_row_major() && builder.tensor(wide).map.pixels() == 1);
            // Added to a map it is added as rows.
            let y = Quant { scale: 1.0, zero_point: 0 };
            let map = builder.reshape(x, &[1, 5, 2, 3], None).unwrap();
            let sum = builder.binary(Binary::Add, map, wide, &[1, 5, 2, 3], y, (0, 255)).unwrap();
            assert!(!builder.tensor(sum).is_as_new());
            builder.output(sum);
        });
        assert!(ops.iter().any(|op| op == "add"), "{ops:?}");
        assert_eq!(outputs, [f32_values.iter().map(|v| 2.0 * v).collect::<Vec<_>>()]);
    }

    #[test]
    fn what_nobody_reads_is_left_out() {
        let (ops, outputs) = run(|builder, x| {
            let one = Quant { scale: 1.0, zero_point: 0 };
            let unread = builder.table("unread", x, one, |q| q).unwrap();
            let more = builder.constant(&[1, 5, 3, 2], one, &[1; 30]);
            builder.binary(Binary::Add, unread, more, &[1, 5, 3, 2], one, (0, 255)).unwrap();
            builder.output(x);
        });
        assert_eq!(ops, ["quantise", "dequantise"]);
        assert_eq!(outputs, [(0..30u8).map(f32::from).collect::<Vec<_>>()]);
    }

    #[test]
    fn a_map_becomes_a_map_of_another_shape() {
        let (_, outputs) = run(|builder, x| {
            let other = builder.reshape(x, &[1, 2, 5, 3], None).unwrap();
            builder.output(other);
        });
        assert_eq!(outputs, [(0..30u8).map(f32::from).collect::<Vec<_>>()]);
    }
}
