//! Moving elements: reshapes, transpositions, concatenations.

use crate::kernels::transpose;

/// A copy along strides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Move {
    /// Extent and the steps of input and output along each dimension.
    dims: Vec<(usize, usize, usize)>,
    /// Where the copy begins in the output.
    offset: usize,
}

impl Move {
    /// Over `shape`, with the strides of the input and of the output.
    pub fn new(shape: &[usize], from: &[usize], to: &[usize], offset: usize) -> Move {
        let mut dims: Vec<(usize, usize, usize)> = Vec::new();
        // In the order of the output, so that what it has in one piece is found to be one.
        let mut order: Vec<usize> = (0..shape.len()).filter(|i| shape[*i] != 1).collect();
        order.sort_by_key(|i| std::cmp::Reverse(to[*i]));
        for i in order {
            match dims.last_mut() {
                // Dimensions that follow each other on both sides are one.
                Some(last) if last.1 == shape[i] * from[i] && last.2 == shape[i] * to[i] => {
                    *last = (last.0 * shape[i], from[i], to[i]);
                }
                _ => dims.push((shape[i], from[i], to[i])),
            }
        }
        Move { dims, offset }
    }

    /// Copies numbers.
    pub fn run<T: Copy>(&self, from: &[T], to: &mut [T]) {
        outer(&self.dims, from, &mut to[self.offset..], &|dims, from, to| each(dims, from, to, |x| x));
    }

    /// Copies bytes, through a table if there is one.
    pub fn run_bytes(&self, table: Option<&[u8; 256]>, from: &[u8], to: &mut [u8]) {
        let to = &mut to[self.offset..];
        match table {
            Some(table) => {
                outer(&self.dims, from, to, &|dims, from, to| each(dims, from, to, |x| table[usize::from(x)]));
            }
            None => outer(&self.dims, from, to, &|dims, from, to| match *dims {
                [(rows, from_step, 1), (columns, 1, to_step)] => {
                    transpose(from, from_step, to, to_step, [rows, columns])
                }
                [(columns, 1, to_step), (rows, from_step, 1)] => {
                    transpose(from, from_step, to, to_step, [rows, columns])
                }
                _ => each(dims, from, to, |x| x),
            }),
        }
    }
}

/// Where the elements of a tensor of shape `shape` that lie at `strides` are found under the shape `to`, in the same order
/// (ONNX Reshape); `None` where no strides say that.
pub(crate) fn reshape_view(shape: &[usize], strides: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    // Runs of dimensions that follow each other in memory as in the shape, the last first.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (n, stride) in shape.iter().copied().zip(strides.iter().copied()).rev().filter(|(n, _)| *n != 1) {
        match runs.last_mut() {
            Some((length, step)) if stride == *length * *step => *length *= n,
            _ => runs.push((n, stride)),
        }
    }
    let mut runs = runs.into_iter();
    let mut run = (1, 1);
    let mut found = vec![0; to.len()];
    for (found, n) in found.iter_mut().zip(to).rev().filter(|(_, n)| **n != 1) {
        if run.0 == 1 {
            run = runs.next()?;
        }
        if !run.0.is_multiple_of(*n) {
            return None;
        }
        *found = run.1;
        run = (run.0 / n, run.1 * n);
    }
    (run.0 == 1 && runs.next().is_none()).then_some(found)
}

/// Calls `f` with the last two dimensions (or fewer), and where input and output begin for each index of the others.
fn outer<T>(
    dims: &[(usize, usize, usize)],
    from: &[T],
    to: &mut [T],
    f: &impl Fn(&[(usize, usize, usize)], &[T], &mut [T]),
) {
    match dims {
        [(n, from_step, to_step), rest @ ..] if rest.len() > 1 => {
            for i in 0..*n {
                outer(rest, &from[i * from_step..], &mut to[i * to_step..], f);
            }
        }
        _ => f(dims, from, to),
    }
}

/// Up to two dimensions.
#[inline(always)]
fn each<T: Copy>(dims: &[(usize, usize, usize)], from: &[T], to: &mut [T], f: impl Fn(T) -> T) {
    let row = |(n, from_step, to_step): (usize, usize, usize), from: &[T], to: &mut [T]| match (from_step, to_step) {
        (1, 1) => to[..n].iter_mut().zip(&from[..n]).for_each(|(y, x)| *y = f(*x)),
        _ => (0..n).for_each(|i| to[i * to_step] = f(from[i * from_step])),
    };
    match *dims {
        [(n, from_step, to_step), inner] => {
            for i in 0..n {
                row(inner, &from[i * from_step..], &mut to[i * to_step..]);
            }
        }
        [inner] => row(inner, from, to),
        _ => to[0] = f(from[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn views_are_found_where_strides_say_them() {
        // Channels last, 7 × 7 pixels of 5 channels that take 16: rows and columns are one dimension.
        assert_eq!(reshape_view(&[1, 5, 7, 7], &[0, 1, 112, 16], &[1, 5, 49]), Some(vec![0, 1, 16]));
        assert_eq!(reshape_view(&[5, 49], &[1, 16], &[1, 5, 7, 7]), Some(vec![0, 1, 112, 16]));
        // Channels and columns are none, and a number of elements that differs is no view of anything.
        assert_eq!(reshape_view(&[1, 5, 7, 7], &[0, 1, 112, 16], &[35, 7]), None);
        assert_eq!(reshape_view(&[4], &[1], &[2]), None);
        assert_eq!(reshape_view(&[2], &[1], &[2, 2]), None);
        assert_eq!(reshape_view(&[1, 1], &[9, 9], &[]), Some(vec![]));
    }

    /// Places of the elements in the order of the shape.
    fn positions(shape: &[usize], strides: &[usize]) -> Vec<usize> {
        let rows = crate::tensor::row_major(shape);
        let volume: usize = shape.iter().product();
        let place = |i: usize| (0..shape.len()).map(|d| i / rows[d] % shape[d] * strides[d]).sum();
        (0..volume).map(place).collect()
    }

    proptest! {
        #[test]
        fn a_view_has_the_same_elements_in_the_same_order(
            factors in prop::collection::vec(1usize..5, 1..6),
            seed in any::<u64>(),
        ) {
            // Neighbouring factors are joined in two ways; gaps in memory are where the seed has them.
            let join = |bits: u64| {
                let mut shape: Vec<usize> = Vec::new();
                for (i, factor) in factors.iter().enumerate() {
                    match shape.last_mut() {
                        Some(last) if bits >> i & 1 == 1 => *last *= factor,
                        _ => shape.push(*factor),
                    }
                }
                shape
            };
            let (shape, to) = (join(seed), join(seed >> 8));
            let mut strides = vec![1; shape.len()];
            for i in (1..shape.len()).rev() {
                strides[i - 1] = strides[i] * shape[i] + (seed >> (16 + i) & 1) as usize;
            }
            if let Some(view) = reshape_view(&shape, &strides, &to) {
                prop_assert_eq!(positions(&shape, &strides), positions(&to, &view));
            } else {
                prop_assert!(strides != crate::tensor::row_major(&shape), "what has no gaps has every view");
            }
        }

        #[test]
        fn every_order_of_dimensions_is_copied(
            shape in prop::collection::vec(1usize..12, 0..5),
            seed in any::<u64>(),
            offset in 0usize..3,
        ) {
            // The input is row-major, the output row-major over a permutation with a gap after each row.
            let rank = shape.len();
            let mut order: Vec<usize> = (0..rank).collect();
            order.sort_by_key(|i| (seed >> (8 * i)) & 0xff);
            let mut from = vec![1; rank];
            for i in (1..rank).rev() {
                from[i - 1] = from[i] * shape[i];
            }
            let mut to = vec![1; rank];
            let mut step = 1;
            for (place, i) in order.iter().rev().enumerate() {
                to[*i] = step;
                step = step * shape[*i] + usize::from(place == 0) * 3;
            }
            let volume: usize = shape.iter().product();
            let x: Vec<u8> = (0..volume).map(|i| (i * 31 + i / 256) as u8).collect();
            let table: [u8; 256] = std::array::from_fn(|i| (i as u8).wrapping_mul(7));
            let copy = Move::new(&shape, &from, &to, offset);
            let place = |i: usize| offset + (0..rank).map(|d| i / from[d] % shape[d] * to[d]).sum::<usize>();
            let mut expected = vec![0xee; offset + step + 1];
            let mut looked_up = expected.clone();
            for (i, x) in x.iter().enumerate() {
                (expected[place(i)], looked_up[place(i)]) = (*x, table[usize::from(*x)]);
            }
            let mut y = vec![0xee; expected.len()];
            copy.run(&x, &mut y);
            prop_assert_eq!(&y, &expected);
            let mut y = vec![0xee; expected.len()];
            copy.run_bytes(None, &x, &mut y);
            prop_assert_eq!(&y, &expected);
            copy.run_bytes(Some(&table), &x, &mut y);
            prop_assert_eq!(&y, &looked_up);
        }
    }
}
