//! The part of an input that a block of outputs needs, copied so that its edges need no care.

use std::arch::x86_64::*;

use crate::kernels::x86_64::dot::product::Dot;

/// Bytes that copies and broadcasts may touch beyond the end of a row.
pub(crate) const OVERRUN: usize = 64;

/// How to copy from an input.
///
/// Positions are counted from the first place of the padding on, and where only every `every`-th is copied, in those.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Bytes from one of its pixels to the next.
    pub stride: usize,
    /// First channel, and number of channels.
    pub first: usize,
    pub depth: usize,
    /// What places outside the input hold.
    pub zero: u8,
    /// From one copied place to the next.
    pub every: [usize; 2],
    /// Positions above and to the left of the input.
    pub pad: [usize; 2],
}

impl Patch {
    /// Copies `[rows, columns]` places from place `first` on, contiguous in a row, rows `pitch` bytes apart. After the
    /// end of a row lies another step of valid activations.
    pub fn copy<S: Dot>(
        &self,
        input: &[u8],
        first: [usize; 2],
        [rows, columns]: [usize; 2],
        pitch: usize,
        to: &mut [u8],
    ) {
        let start = |axis: usize| (first[axis] * self.every[axis]) as isize - self.pad[axis] as isize;
        let (y, x) = (start(0), start(1));
        // Positions of a row that lie in the input.
        let left = x.min(0).unsigned_abs().div_ceil(self.every[1]).min(columns);
        let inside = (self.input[1] as isize - x).max(0) as usize;
        let right = inside.div_ceil(self.every[1]).clamp(left, columns);
        let element = S::ELEMENT * self.depth;
        let end = columns * element + S::STEP * S::ELEMENT;
        for row in 0..rows {
            let to = &mut to[row * pitch..][..pitch];
            let y = y + (row * self.every[0]) as isize;
            if y < 0 || y >= self.input[0] as isize || left == right {
                S::fill(&mut to[..end], self.zero);
                continue;
            }
            S::fill(&mut to[..left * element], self.zero);
            let place = y as usize * self.input[1] + (x + (left * self.every[1]) as isize) as usize;
            let from = &input[place * self.stride + self.first..];
            let stride = self.stride * self.every[1];
            // SAFETY: a value of `S` exists, for layers are made of one. The slices are checked there.
            unsafe { S::widen(from, stride, self.depth, right - left, &mut to[left * element..]) };
            // Last, as the copy may have written behind its end.
            S::fill(&mut to[right * element..end], self.zero);
        }
    }
}

/// Copies `count` pixels of `depth` bytes, `stride` bytes apart, to a contiguous run. May write up to [`OVERRUN`] bytes
/// behind the run.
///
/// # Safety
/// AVX2 is there.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn copy_bytes(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
    assert!(from.len() >= (count - 1) * stride + depth && to.len() >= count * depth + OVERRUN);
    if stride == depth {
        to[..count * depth].copy_from_slice(&from[..count * depth]);
        return;
    }
    for pixel in 0..count {
        let from = &from[pixel * stride..];
        let to = to[pixel * depth..].as_mut_ptr();
        let mut at = 0;
        // What is read behind the pixel lies in the map; what is written there the next overwrites, or it is the
        // overrun.
        while at < depth && at + 16 <= from.len() {
            // SAFETY: both lie in their slices, the destination with its overrun.
            unsafe { _mm_storeu_si128(to.add(at).cast(), _mm_loadu_si128(from.as_ptr().add(at).cast())) };
            at += 16;
        }
        while at < depth {
            // SAFETY: `at` is below `depth`, whose bytes both slices have.
            unsafe { to.add(at).write(from[at]) };
            at += 1;
        }
    }
}
