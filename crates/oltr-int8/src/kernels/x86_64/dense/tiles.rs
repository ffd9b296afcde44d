//! Tiles: some pixels by some vectors of channels, their sums in registers, over all steps of a strip.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

use crate::kernels::x86_64::dense::strip::{OverflowWeights, Pixel, Strip, Target};
use crate::kernels::x86_64::dot::product::{Dot, Sums};
use crate::kernels::x86_64::epilogue::registers::{store_added, store_bytes};
use crate::kernels::x86_64::patch::OVERRUN;
use crate::kernels::x86_64::vector::Vectors;

/// Bytes of a step's weights for a vector.
pub(crate) const fn vector_bytes<S: Dot>() -> usize {
    S::V::LANES * S::STEP * S::WEIGHT
}

/// The channels of neighbouring strips, of `channels`; each strip has so many vectors.
pub(crate) fn channels_of<V: Vectors>(strips: &[usize], of: &Range<usize>, channels: usize) -> Range<usize> {
    let start = |strip: usize| strips[..strip].iter().sum::<usize>() * V::LANES;
    start(of.start)..start(of.end).min(channels)
}

/// Strips of four vectors, but none of one beside others.
pub(crate) fn strips_of_four(vectors: usize) -> Vec<usize> {
    match vectors {
        _ if vectors % 4 == 1 && vectors > 1 => [vec![4; vectors / 4 - 1], vec![3, 2]].concat(),
        _ => {
            let mut strips = vec![4; vectors / 4];
            strips.extend((!vectors.is_multiple_of(4)).then_some(vectors % 4));
            strips
        }
    }
}

/// Weights of the next strip, fetched while the tiles of this one are computed: so many lines of the cache in every
/// chunk of steps, that all are there when the last tile is done.
///
/// All weights of a network do not fit the caches of a small processor, or its part of a shared one. A strip's
/// first tile would wait for each line of them, which takes as long as several tiles' products.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    from: *const u8,
    /// Lines of each chunk, and of all that are left.
    lines: usize,
    left: usize,
}

impl Ahead {
    /// Steps between fetches. Every end of a chunk is a branch that may be guessed wrong: with 16 steps layers of 80 to
    /// 192 channels take 1 to 3 % longer; and without an end all fetches of a tile would come at once.
    const CHUNK: usize = 64;

    /// For a strip of `tiles` tiles with so many bytes of weights.
    fn new(strip: &Strip, tiles: usize, weights: usize) -> Ahead {
        let chunks = tiles * strip.runs.len() * strip.steps.div_ceil(Self::CHUNK);
        let left = strip.ahead.div_ceil(OVERRUN);
        Ahead { from: strip.weights.wrapping_add(weights), lines: left.div_ceil(chunks.max(1)), left }
    }

    #[inline(always)]
    fn fetch(&mut self) {
        let lines = self.lines.min(self.left);
        self.left -= lines;
        for _ in 0..lines {
            // SAFETY: nothing is read for the program, and no address is an error.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.from.cast()) };
            self.from = self.from.wrapping_add(OVERRUN);
        }
    }
}

/// All tiles of a strip.
///
/// # Safety
/// ENABLED and STRIP. The instructions of `S` are enabled in the caller, and the pointers of `strip` are valid for what its sizes say.
#[inline(always)]
pub(crate) unsafe fn strip<S: Dot>(strip: &Strip) {
    // SAFETY: ENABLED and STRIP.
    unsafe {
        match strip.vectors {
            1 => tiles::<S, 1>(strip),
            2 => tiles::<S, 2>(strip),
            3 => tiles::<S, 3>(strip),
            4 => tiles::<S, 4>(strip),
            _ => unreachable!("strips have up to 4 vectors"),
        }
    }
}

/// Cuts the pixels into tiles of about the same size, for tiles that are nearly full are nearly as good as full ones,
/// but a tile of one pixel is bound by its loads.
///
/// # Safety
/// ENABLED and STRIP. As for [`strip`]; the strip has `N` vectors.
#[inline(always)]
unsafe fn tiles<S: Dot, const N: usize>(strip: &Strip) {
    let pixels = strip.pixels.len();
    let count = pixels.div_ceil(S::PIXELS[N - 1]);
    let mut at = 0;
    let mut ahead = Ahead::new(strip, count, strip.runs.len() * strip.steps * N * vector_bytes::<S>());
    let (size, larger) = (pixels / count, pixels % count);
    for (size, count) in [(size + 1, larger), (size, count - larger)] {
        macro_rules! tiles {
            ($($m:literal)*) => {
                match size {
                    // The guard is known when this is compiled: larger tiles than the set's leave no code.
                    $($m if $m <= S::PIXELS[N - 1] => {
                        for _ in 0..count {
                            // SAFETY: ENABLED and STRIP; the tile's pixels are among the strip's.
                            unsafe { tile::<S, $m, N>(strip, at, &mut ahead) };
                            at += $m;
                        }
                    })*
                    _ => assert_eq!(count, 0, "a tile has at least one pixel and at most as many as the set says"),
                }
            };
        }
        tiles!(1 2 3 4 5 6 7 8 9 10 11 12 24);
    }
}

/// `M` pixels by `N` vectors, from pixel `at` of the strip on: sums in registers, weights loaded once for all pixels.
///
/// On AVX2 it runs at 80 to 90 % of the peak, and nothing of this won anything: two steps in a turn of the loop; passes
/// over part of the steps, so that a strip's weights stay in L1 (1280 > 640 channels at 7×7: 488 µs for 477); 5×2 tiles
/// whose second vector of weights is an operand in memory (484); on AVX-512, fetching the next strip's weights ahead.
/// 3×3 tiles in that way won 10 % of layers with 24 channels, 0.2 % of a network, which is not worth inline assembly.
///
/// # Safety
/// ENABLED and TILE. As for [`strip`]; pixels `at..at + M` exist.
#[inline(always)]
unsafe fn tile<S: Dot, const M: usize, const N: usize>(strip: &Strip, at: usize, ahead: &mut Ahead) {
    // SAFETY: ENABLED and TILE.
    unsafe {
        let mut sums = [[S::V::load(strip.bias); N]; M];
        let mut pixels = [strip.input; M];
        for m in 0..M {
            let Pixel { offset, correction } = *strip.pixels.get_unchecked(at + m);
            pixels[m] = strip.input.add(offset as usize);
            for n in 0..N {
                let bias = S::V::load(strip.bias.add(n * S::V::LANES));
                sums[m][n] = if S::EXACT { bias } else { S::V::subtract(bias, correction) };
            }
        }
        let mut weights = strip.weights;
        for run in strip.runs {
            // One offset serves all pixels, so that nothing is added to each of them at the beginning of a run.
            let mut at = *run;
            let mut left = strip.steps;
            while left > 0 {
                let steps = if S::FETCHES { left.min(Ahead::CHUNK) } else { left };
                if S::FETCHES {
                    ahead.fetch();
                }
                for step in 0..steps {
                    let at = at + step * S::STEP * S::ELEMENT;
                    // Whichever are fewer stay in registers, so that 3 × 4 sums leave room in AVX-VNNI's 16.
                    if S::EXACT && M < N {
                        let mut x = [S::broadcast(pixels[0].add(at)); M];
                        for (m, x) in x.iter_mut().enumerate().skip(1) {
                            *x = S::broadcast(pixels[m].add(at));
                        }
                        for n in 0..N {
                            let w = S::load_weights(weights.add(n * vector_bytes::<S>()));
                            for m in 0..M {
                                sums[m][n] = S::dot(sums[m][n], x[m], w);
                            }
                        }
                    } else {
                        let mut w = [S::load_weights(weights); N];
                        for (n, w) in w.iter_mut().enumerate().skip(1) {
                            *w = S::load_weights(weights.add(n * vector_bytes::<S>()));
                        }
                        for m in 0..M {
                            let x = S::broadcast(pixels[m].add(at));
                            for n in 0..N {
                                sums[m][n] = S::dot(sums[m][n], x, w[n]);
                            }
                        }
                    }
                    weights = weights.add(N * vector_bytes::<S>());
                }
                at += steps * S::STEP * S::ELEMENT;
                left -= steps;
            }
        }
        if S::SPLITS {
            overflow::<S, M, N, 0>(&mut sums, &pixels, strip);
            overflow::<S, M, N, 1>(&mut sums, &pixels, strip);
            overflow::<S, M, N, 2>(&mut sums, &pixels, strip);
            overflow::<S, M, N, 3>(&mut sums, &pixels, strip);
        }
        finish::<S, M, N>(&sums, strip, at);
    }
}

/// What the strip's target wants of the sums of a tile whose first pixel is `at`.
///
/// # Safety
/// ENABLED and TILE. As for [`tile`].
#[inline(always)]
pub(crate) unsafe fn finish<S: Dot, const M: usize, const N: usize>(
    sums: &[[Sums<S>; N]; M],
    strip: &Strip,
    at: usize,
) {
    // SAFETY: ENABLED and TILE.
    unsafe {
        match strip.target {
            Target::Sums(to) => {
                for (m, sums) in sums.iter().enumerate() {
                    for (n, sum) in sums.iter().enumerate() {
                        S::V::store(to.add(((at + m) * N + n) * S::V::LANES), *sum);
                    }
                }
            }
            Target::Bytes { to, stride, multiplier, rounding } => {
                store_bytes::<S::V, M, N>(sums, multiplier, &rounding, to.add(at * stride), stride);
            }
            Target::Added { to, stride, multiplier, residual } => {
                let in_memory = *sums;
                store_added::<S::V, N>(&in_memory, multiplier, &residual.from(at), to.add(at * stride), stride);
            }
        }
    }
}

/// What vector `I` of a tile has beside the runs, if there is such a vector.
///
/// # Safety
/// ENABLED and TILE. As for [`tile`]; each pixel has a step of activations at each offset.
#[inline(always)]
unsafe fn overflow<S: Dot, const M: usize, const N: usize, const I: usize>(
    sums: &mut [[Sums<S>; N]; M],
    pixels: &[*const u8; M],
    strip: &Strip,
) {
    if I >= N {
        return;
    }
    let OverflowWeights { offsets, mut weights } = strip.overflow[I];
    for offset in offsets {
        // SAFETY: ENABLED and TILE; there are as many vectors of weights as offsets.
        unsafe {
            let w = S::load_weights(weights);
            for m in 0..M {
                sums[m][I] = S::dot(sums[m][I], S::broadcast(pixels[m].add(*offset as usize)), w);
            }
            weights = weights.add(vector_bytes::<S>());
        }
    }
}

/// Notes for each pixel what [`Dot::dot`] will add too much.
///
/// # Safety
/// ENABLED and STRIP. The instructions of `S` are enabled in the caller, and each pixel has its runs of steps in the input.
#[inline(always)]
pub(crate) unsafe fn correction<S: Dot>(input: *const u8, pixels: &mut [Pixel], runs: &[usize], steps: usize) {
    for pixel in pixels {
        // SAFETY: ENABLED and STRIP.
        let products = unsafe { S::activation_products(input.add(pixel.offset as usize), runs, steps) };
        pixel.correction = products;
    }
}
