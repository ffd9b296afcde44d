//! Broadcasting (ONNX, numpy): walking two operands and a result row by row.

use std::ops::Range;

/// Two operands and a result of one shape, broadcast by strides of 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Broadcast {
    /// Extent and strides (first operand, second, result) of each dimension, the result's contiguous one last.
    dims: Vec<(usize, [usize; 3])>,
}

impl Broadcast {
    /// Over `shape`, with the strides of both operands and of the result.
    pub fn new(shape: &[usize], strides: [Vec<usize>; 3]) -> Broadcast {
        let mut dims: Vec<(usize, [usize; 3])> =
            (0..shape.len()).map(|i| (shape[i], [0, 1, 2].map(|k| strides[k][i]))).filter(|(n, _)| *n > 1).collect();
        // Largest steps outside: the innermost loop then runs over neighbours.
        dims.sort_by_key(|(_, s)| std::cmp::Reverse(s[2]));
        // Dimensions that follow each other everywhere are one.
        let mut merged: Vec<(usize, [usize; 3])> = Vec::new();
        for (n, s) in dims {
            match merged.last_mut() {
                Some((outer, steps)) if (0..3).all(|k| steps[k] == n * s[k]) => (*outer, *steps) = (*outer * n, s),
                _ => merged.push((n, s)),
            }
        }
        if merged.is_empty() {
            merged.push((1, [0, 0, 1]));
        }
        Broadcast { dims: merged }
    }

    /// How many items there are along the outermost dimension, and the elements of the result from one to the next.
    pub fn items(&self) -> [usize; 2] {
        let (n, [_, _, step]) = self.dims[0];
        [n, step]
    }

    /// Calls `f` with the rows of both operands and of the result, of the items `range`, at the first of which `y` begins;
    /// an operand of a single element stands for a whole row of it.
    pub fn rows<T>(&self, range: Range<usize>, a: &[T], b: &[T], y: &mut [T], f: &impl Fn(&[T], &[T], &mut [T])) {
        let (_, [sa, sb, sy]) = self.dims[0];
        let first = (range.len(), [sa, sb, sy]);
        if !range.is_empty() {
            rows(first, &self.dims[1..], &a[range.start * sa..], &b[range.start * sb..], y, f);
        }
    }
}

fn rows<T>(
    (n, [sa, sb, sy]): (usize, [usize; 3]),
    rest: &[(usize, [usize; 3])],
    a: &[T],
    b: &[T],
    y: &mut [T],
    f: &impl Fn(&[T], &[T], &mut [T]),
) {
    if rest.is_empty() && sy == 1 && sa <= 1 && sb <= 1 {
        return f(operand(a, sa, n), operand(b, sb, n), &mut y[..n]);
    }
    for i in 0..n {
        let (a, b, y) = (&a[i * sa..], &b[i * sb..], &mut y[i * sy..]);
        match rest {
            [] => f(&a[..1], &b[..1], &mut y[..1]),
            [next, rest @ ..] => rows(*next, rest, a, b, y, f),
        }
    }
}

/// The elements that a row of an operand has: one if it is broadcast.
fn operand<T>(x: &[T], stride: usize, n: usize) -> &[T] {
    &x[..if stride == 0 { 1 } else { n }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_element_is_an_item() {
        let broadcast = Broadcast::new(&[1, 1], [vec![1, 1], vec![0, 0], vec![1, 1]]);
        assert_eq!(broadcast.items(), [1, 1]);
        let mut y = [0];
        broadcast.rows(0..1, &[5], &[7], &mut y, &|a, b, y| y[0] = a[0] * b[0]);
        assert_eq!(y, [35]);
    }
}
