//! The places of a map under the windows of a pool.

use std::ops::Range;

use crate::kernels::contract::{Map, Window};

/// The part of a window that lies in the map: the number of its first place, and how many rows and columns of taps. The next
/// tap is the window's dilation away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    pub first: usize,
    pub rows: usize,
    pub columns: usize,
}

/// The position of the first tap along an axis that lies in the map, and how many do.
fn inside(window: &Window, axis: usize, at: usize, size: usize) -> (usize, usize) {
    let start = (at * window.stride[axis]) as isize - window.pad[axis] as isize;
    // Most windows lie in the map whole, and cost no more than it takes to see that.
    let last = start + ((window.kernel[axis] - 1) * window.dilation[axis]) as isize;
    if start >= 0 && last < size as isize {
        return (start as usize, window.kernel[axis]);
    }
    let before = start.min(0).unsigned_abs();
    // A division takes as long as the maximum of a window.
    let (skipped, first, end) = match window.dilation[axis] {
        1 => (before, start.max(0) as usize, size.saturating_sub(start.max(0) as usize) + before),
        dilation => {
            let skipped = before.div_ceil(dilation);
            let first = (start + (skipped * dilation) as isize) as usize;
            (skipped, first, size.saturating_sub(first).div_ceil(dilation) + skipped)
        }
    };
    (first, end.min(window.kernel[axis]).saturating_sub(skipped))
}

/// The windows of output pixels `pixels`, one after the other.
pub(crate) fn positions(
    window: &Window,
    input: &Map,
    output: &Map,
    pixels: Range<usize>,
) -> impl Iterator<Item = Positions> {
    let (mut y, mut x) = (pixels.start / output.width, pixels.start % output.width);
    let mut down = inside(window, 0, y, input.height);
    pixels.map(move |_| {
        if x == output.width {
            (y, x) = (y + 1, 0);
            down = inside(window, 0, y, input.height);
        }
        let (column, columns) = inside(window, 1, x, input.width);
        x += 1;
        Positions { first: down.0 * input.width + column, rows: down.1, columns }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_that_a_walk_through_the_taps_finds_in_the_map() {
        let mut outside = 0;
        for (size, [kernel, stride, dilation, pad]) in [
            ([5, 7], [3, 2, 1, 1]),
            ([6, 5], [2, 2, 1, 0]),
            ([4, 4], [3, 1, 2, 2]),
            ([3, 2], [5, 1, 1, 4]),
            ([2, 3], [2, 3, 3, 3]),
            ([1, 1], [1, 1, 1, 0]),
            // Beside the map, and with the map between two taps.
            ([2, 3], [2, 2, 1, 3]),
            ([2, 2], [2, 1, 3, 1]),
        ] {
            let of = |size: usize| (size + 2 * pad).saturating_sub((kernel - 1) * dilation + 1) / stride + 1;
            let map = |[height, width]: [usize; 2]| Map { height, width, channels: 1, stride: 1 };
            let (input, output) = (map(size), map(size.map(of)));
            let window = Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [dilation; 2], pad: [pad; 2] };
            let part = 1.min(output.pixels() - 1)..output.pixels();
            let found: Vec<Positions> = positions(&window, &input, &output, part.clone()).collect();
            assert_eq!(found.len(), part.len());
            for (pixel, found) in part.zip(found) {
                let at = [pixel / output.width, pixel % output.width];
                let inside = |axis: usize| -> Vec<usize> {
                    let taps = (0..kernel).map(|tap| at[axis] * stride + tap * dilation);
                    taps.filter_map(|place| place.checked_sub(pad).filter(|place| *place < size[axis])).collect()
                };
                let (rows, columns) = (inside(0), inside(1));
                assert_eq!((found.rows, found.columns), (rows.len(), columns.len()), "{window:?} at {at:?}");
                match (rows.first(), columns.first()) {
                    (Some(row), Some(column)) => {
                        assert_eq!(found.first, row * input.width + column, "{window:?} at {at:?}")
                    }
                    _ => outside += 1,
                }
            }
        }
        assert!(outside > 0, "no window lies outside its map");
    }
}
