//! Layers of bytes that other networks have beside convolutions: rows that are normalised, maps of another size, maps that
//! lie between each other.

use crate::error::{Error, Result};
use crate::layers::concat::Concat;
use crate::layers::copy::Copy;
use crate::layers::interpolate::{Between, Interpolate};
use crate::layers::moves::Move;
use crate::layers::normalise::{Norm, Normalise};
use crate::program::build::Builder;
use crate::program::steps::Work;
use crate::quant::Quant;
use crate::tensor::{Element, Tensor, TensorId};

impl Builder {
    /// Rows brought to mean 0 and variance 1, each as long as the lists of `norm` (ONNX LayerNormalization).
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers, or where rows do not fill it.
    pub fn normalise(&mut self, x: TensorId, norm: Norm) -> Result<TensorId> {
        let x = self.rows(x)?;
        let (tensor, quant) = self.bytes(x)?;
        let volume: usize = tensor.shape.iter().product();
        let width = norm.scale.len();
        if width == 0 || norm.bias.len() != width || !volume.is_multiple_of(width) {
            return Err(Error::Internal(format!("{}: rows of {width} do not fill it", self.name)));
        }
        let output = Tensor::rows(&tensor.shape.clone(), Element::Bytes(norm.y));
        Ok(self.push("normalise".into(), 0, Work::layer(Normalise { norm, x: quant }), &[x], output))
    }

    /// A map of as many rows and columns as the lists say, each between two of `x`. With `cut` the bytes themselves are
    /// weighted, as distances from that one, and what lies between two bytes is cut off towards it.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers or of another rank, or places that there are not.
    pub fn interpolate(
        &mut self,
        x: TensorId,
        [rows, columns]: [Vec<Between>; 2],
        (y, bounds): (Quant, (u8, u8)),
        cut: Option<u8>,
    ) -> Result<TensorId> {
        let x = self.map(x)?;
        let (tensor, quant) = self.bytes(x)?;
        let input = tensor.map;
        let inside = |list: &[Between], n: usize| list.iter().all(|b| b.positions.iter().all(|p| *p < n));
        let [1, channels, _, _] = tensor.shape[..] else {
            return Err(Error::Internal(format!("{}: resizes what is no map", self.name)));
        };
        if !inside(&rows, input.height) || !inside(&columns, input.width) {
            return Err(Error::Internal(format!("{}: pixels that are not there", self.name)));
        }
        let output = Tensor::new(&[1, channels, rows.len(), columns.len()], Element::Bytes(y));
        let one = |zero_point| Quant { scale: 1.0, zero_point };
        let (from, to) = cut.map_or((quant, y), |zero| (one(zero), one(zero)));
        let layer =
            Interpolate { input, output: output.map, rows, columns, x: from, y: to, bounds, cut: cut.is_some() };
        Ok(self.push("interpolate".into(), 0, Work::layer(layer), &[x], output))
    }

    /// Maps put between each other: row `i` of a part that begins at row `r` becomes row `r + i · steps[0]`, and so
    /// columns. All have the quantisation `y`.
    ///
    /// # Errors
    /// [`Error::Internal`] for tensors of numbers, or parts that do not fit into `shape`.
    pub fn interleave(
        &mut self,
        parts: &[(TensorId, [usize; 2])],
        steps: [usize; 2],
        shape: &[usize],
        y: Quant,
    ) -> Result<TensorId> {
        let output = Tensor::new(shape, Element::Bytes(y));
        let to = output.strides();
        let &[1, channels, height, width] = shape else {
            return Err(Error::Internal(format!("{}: what is put together is no map", self.name)));
        };
        let mut copies = Vec::new();
        for (id, [row, column]) in parts {
            let (tensor, quant) = self.bytes(*id)?;
            let fits = |n: usize, first: usize, step: usize, size: usize| n == 0 || first + (n - 1) * step < size;
            let inside = match tensor.shape[..] {
                [1, c, h, w] => c == channels && fits(h, *row, steps[0], height) && fits(w, *column, steps[1], width),
                _ => false,
            };
            if !inside || quant != y {
                return Err(Error::Internal(format!("{}: a part does not fit", self.name)));
            }
            let strides = [0, to[1], to[2] * steps[0], to[3] * steps[1]];
            let moves = Move::new(&tensor.shape, &tensor.strides(), &strides, row * to[2] + column * to[3]);
            copies.push(Copy { first: 0, moves, table: None });
        }
        let ids: Vec<TensorId> = parts.iter().map(|(id, _)| *id).collect();
        Ok(self.push("interleave".into(), 0, Work::Concat(Concat(copies)), &ids, output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::available;
    use crate::layers::Input;
    use crate::program::Threads;

    const ONE: Quant = Quant { scale: 1.0, zero_point: 7 };

    /// What every set computes of numbers in a shape, on one thread and on three.
    fn run(shape: &[usize], f32_values: &[f32], build: impl Fn(&mut Builder, TensorId) -> TensorId) -> Vec<f32> {
        let mut results: Vec<Vec<f32>> = Vec::new();
        for set in available() {
            let mut builder = Builder::new(set);
            let x = builder.quantise(shape, ONE);
            let y = build(&mut builder, x);
            builder.output(y);
            let program = builder.finish();
            for threads in [1, 3] {
                let mut state = program.state(threads);
                state.set_threads(Threads::new(threads));
                let mut out = vec![-1.0; program.outputs()[0].iter().product()];
                program.run(&mut state, &[Input::F32(f32_values)], &mut [&mut out]).unwrap();
                results.push(out);
            }
        }
        assert!(results.iter().all(|r| *r == results[0]), "every set gives the same");
        results.remove(0)
    }

    #[test]
    fn pixels_lie_between_their_neighbours() {
        // 20 channels of 2 × 3 pixels to 2 × 5; channel c adds c.
        let f32_values: Vec<f32> =
            (0..20 * 6).map(|i| (i / 6) as f32 + [0.0, 8.0, 16.0, 40.0, 80.0, 120.0][i % 6]).collect();
        let whole = |i: usize| Between { positions: [i, i], shares: [0.5, 0.5] };
        let half = |i: usize| Between { positions: [i, i + 1], shares: [0.25, 0.75] };
        let columns = vec![whole(0), half(0), whole(1), half(1), whole(2)];
        let found = run(&[1, 20, 2, 3], &f32_values, |builder, x| {
            let rows = vec![half(0), whole(1)];
            builder
                .interpolate(x, [rows, columns.clone()], (Quant { scale: 0.5, zero_point: 0 }, (0, 255)), None)
                .unwrap()
        });
        let expected: Vec<f32> = (0..20 * 10)
            .map(|i| {
                let (c, row, column) = ((i / 10) as f32, i % 10 / 5, [0.0, 0.75, 1.0, 1.75, 2.0][i % 5]);
                let (above, below) = (8.0 * column, 40.0 + 40.0 * column);
                let v: f32 = c + if row == 0 { 0.25 * above + 0.75 * below } else { below };
                (v * 2.0).round_ties_even().min(255.0) / 2.0
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn bytes_between_bytes_are_cut_off_towards_the_zero_of_their_type() {
        // Bytes 4, 5 and 6 of one pixel each; half-way between the first two, and between the last two.
        let half = |i: usize| Between { positions: [i, i + 1], shares: [0.5, 0.5] };
        let rows = vec![Between { positions: [0, 0], shares: [1.0, 0.0] }];
        let between = |zero| {
            run(&[1, 1, 1, 3], &[-3.0, -2.0, -1.0], |builder, x| {
                builder.interpolate(x, [rows.clone(), vec![half(0), half(1)]], (ONE, (0, 255)), Some(zero)).unwrap()
            })
        };
        // Unsigned bytes go down; signed ones, which are negative here, go up.
        assert_eq!((between(0), between(128)), (vec![-3.0, -2.0], vec![-2.0, -1.0]));
    }

    #[test]
    fn maps_are_put_between_each_other() {
        let f32_values: Vec<f32> = (0..2 * 6).map(|i| i as f32).collect();
        let found = run(&[1, 2, 2, 3], &f32_values, |builder, x| {
            let parts: Vec<_> = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|at| (x, at)).into();
            builder.interleave(&parts, [2, 2], &[1, 2, 4, 6], ONE).unwrap()
        });
        let expected: Vec<f32> = (0..2 * 24).map(|i| (i / 24 * 6 + i % 24 / 12 * 3 + i % 6 / 2) as f32).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rows_of_a_map_are_normalised_along_its_last_dimension() {
        let f32_values: Vec<f32> = (0..3 * 20).map(|i| (i % 20 + i / 20) as f32).collect();
        let y = Quant { scale: 0.02, zero_point: 128 };
        let norm = Norm { epsilon: 1e-5, scale: vec![1.0; 20], bias: vec![0.5; 20], y, bounds: (0, 255) };
        let found = run(&[1, 3, 1, 20], &f32_values, |builder, x| builder.normalise(x, norm.clone()).unwrap());
        for (i, y) in found.iter().enumerate() {
            let exact = ((i % 20) as f32 - 9.5) / 33.25f32.sqrt() + 0.5;
            assert!((y - exact).abs() <= 0.0101, "{i}: {y} for {exact}");
        }
    }
}
