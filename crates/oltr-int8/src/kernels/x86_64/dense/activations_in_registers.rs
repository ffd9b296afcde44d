//! Strips of layers with few steps, a pixel at a time: its activations are held in registers for all channels of the
//! strip, and weights come with the product, as operands in memory.
//!
//! Such layers requantise nearly as much as they multiply. Of tiles with many pixels all sums are done at once, and the
//! processor does not look far enough ahead to multiply meanwhile; here the channels are done one vector after the other.
//! There are also fewer instructions: nothing loads weights. What it costs is a load for each product, so that in
//! deeper layers tiles are as fast.

use crate::kernels::x86_64::dense::strip::{Pixel, Strip};
use crate::kernels::x86_64::dense::tiles::{finish, vector_bytes};
use crate::kernels::x86_64::dot::product::{Dot, Sums};
use crate::kernels::x86_64::vector::Vectors;

/// Most steps of a window.
const MOST_STEPS: usize = 16;

/// Fewest vectors of a strip: with two, loading the activations takes as much as is saved.
const FEWEST_VECTORS: usize = 3;

/// Steps whose activations are held at once, so that a run's are a multiple of them; 0 where a layer has too many steps, or
/// a number that is a multiple of none. The registers hold 12 where nothing comes after them, else 8 beside four sums.
const fn chunk(runs: usize, steps: usize) -> usize {
    match (runs * steps <= MOST_STEPS, steps) {
        (true, 12) if runs == 1 => 12,
        (true, 8 | 16) => 8,
        (true, 7 | 14) => 7,
        (true, 6 | 12) => 6,
        (true, 5 | 10 | 15) => 5,
        (true, 4) => 4,
        _ => 0,
    }
}

/// Whether a strip of `vectors` vectors in a layer with `runs` runs of `steps` steps is computed here.
pub(crate) const fn takes(vectors: usize, runs: usize, steps: usize) -> bool {
    vectors >= FEWEST_VECTORS && chunk(runs, steps) > 0
}

/// All pixels of a strip, if [`takes`] says so; `false` if it computed nothing.
///
/// # Safety
/// ENABLED and STRIP. As for [`super::tiles::strip`].
#[inline(always)]
pub(crate) unsafe fn strip<S: Dot>(strip: &Strip) -> bool {
    // SAFETY: ENABLED and STRIP.
    unsafe {
        match strip.vectors {
            3 => pixels::<S, 3>(strip),
            4 => pixels::<S, 4>(strip),
            _ => false,
        }
    }
}

/// All pixels of a strip of `N` vectors.
///
/// # Safety
/// ENABLED and STRIP. As for [`strip`].
#[inline(always)]
unsafe fn pixels<S: Dot, const N: usize>(strip: &Strip) -> bool {
    // SAFETY: ENABLED and STRIP.
    unsafe {
        match chunk(strip.runs.len(), strip.steps) {
            4 => chunks::<S, N, 4>(strip),
            5 => chunks::<S, N, 5>(strip),
            6 => chunks::<S, N, 6>(strip),
            7 => chunks::<S, N, 7>(strip),
            8 => chunks::<S, N, 8>(strip),
            12 => chunks::<S, N, 12>(strip),
            _ => return false,
        }
    }
    true
}

/// All pixels of a strip of `N` vectors whose runs have a multiple of `C` steps.
///
/// # Safety
/// ENABLED and STRIP. As for [`strip`].
#[inline(always)]
unsafe fn chunks<S: Dot, const N: usize, const C: usize>(strip: &Strip) {
    // Known before the loop, which then has all sums one after the other.
    let single = strip.runs.len() == 1 && strip.steps == C;
    for (at, Pixel { offset, .. }) in strip.pixels.iter().enumerate() {
        // SAFETY: ENABLED and STRIP.
        unsafe {
            let pixel = strip.input.add(*offset as usize);
            let mut sums = [S::V::load(strip.bias); N];
            for (n, sums) in sums.iter_mut().enumerate() {
                *sums = S::V::load(strip.bias.add(n * S::V::LANES));
            }
            if single {
                add::<S, N, C>(&mut sums, pixel, strip.weights);
            } else {
                let mut weights = strip.weights;
                for run in strip.runs {
                    let mut x = pixel.add(*run);
                    for _ in 0..strip.steps / C {
                        add::<S, N, C>(&mut sums, x, weights);
                        x = x.add(C * S::STEP * S::ELEMENT);
                        weights = weights.add(C * N * vector_bytes::<S>());
                    }
                }
            }
            finish::<S, 1, N>(&[sums], strip, at);
        }
    }
}

/// Adds the products of `C` steps of a pixel.
///
/// # Safety
/// ENABLED, STEP_IN and WEIGHTS_IN, for each step. The instructions of `S` are enabled in the caller; there are so many activations, and weights for `N` vectors.
#[inline(always)]
unsafe fn add<S: Dot, const N: usize, const C: usize>(sums: &mut [Sums<S>; N], pixel: *const u8, weights: *const u8) {
    // SAFETY: ENABLED, STEP_IN and WEIGHTS_IN, for each step.
    unsafe {
        let mut x = [S::broadcast(pixel); C];
        for (step, x) in x.iter_mut().enumerate().skip(1) {
            *x = S::broadcast(pixel.add(S::STEP * S::ELEMENT * step));
        }
        for (n, sums) in sums.iter_mut().enumerate() {
            for (step, x) in x.iter().enumerate() {
                let w = S::load_weights(weights.add((step * N + n) * vector_bytes::<S>()));
                *sums = S::dot(*sums, *x, w);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_with_few_steps_are_taken() {
        for (runs, steps, takes_it) in
            [(1, 8, true), (1, 12, true), (1, 16, true), (3, 5, true), (2, 6, true), (2, 8, true)].into_iter().chain([
                (1, 3, false),
                (1, 9, false),
                (1, 13, false),
                (1, 20, false),
                (3, 6, false),
                (7, 11, false),
            ])
        {
            assert_eq!(takes(4, runs, steps), takes_it, "{runs} runs of {steps} steps");
            assert!(!takes(2, runs, steps));
            // No activations are left over, and all that are held fit the registers.
            let chunk = chunk(runs, steps);
            assert!(chunk == 0 || (steps.is_multiple_of(chunk) && (chunk <= 8 || runs * steps == chunk)));
        }
    }
}
