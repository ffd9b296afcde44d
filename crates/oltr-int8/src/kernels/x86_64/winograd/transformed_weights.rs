//! What minimal filterings multiply: at each of their points, transformed activations with transformed weights.

use std::ops::Range;

use crate::kernels::x86_64::aligned::Aligned;
use crate::kernels::x86_64::dense::strip::{MOST_VECTORS, OverflowWeights, Pixel, Strip, Target};
use crate::kernels::x86_64::dense::tiles::channels_of;
use crate::kernels::x86_64::dense::tiles::vector_bytes;
use crate::kernels::x86_64::dot::by_sums::BySums;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::isa::Avx2;
use crate::kernels::x86_64::vector::Vectors;
use crate::kernels::x86_64::vector::ymm::Ymm;

/// Bytes of a step's weights for a vector.
const VECTOR: usize = vector_bytes::<BySums>();

/// The transformed weights of all points. Products are by sums, see [`Avx2`], whose proof they are made with: a value and a
/// weight together fit 16 bits.
#[derive(Debug)]
pub(crate) struct TransformedWeights {
    /// Steps of each point.
    steps: Vec<usize>,
    /// Vectors of channels of each strip.
    strips: Vec<usize>,
    /// `[strip][point][step][vector]`, each as [`Dot::pack`] lays out its lanes.
    weights: Aligned<u8>,
    /// `[strip][point][lane]`, what the steps add too much, negated.
    correction: Aligned<i32>,
}

/// A strip of channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    first_vector: usize,
    /// Vectors of the strip.
    pub vectors: usize,
}

impl Part {
    /// The strip's channels, and those that fill up its last vector.
    pub fn lanes(self) -> Range<usize> {
        self.first_vector * Ymm::LANES..(self.first_vector + self.vectors) * Ymm::LANES
    }
}

impl TransformedWeights {
    /// Packs the weights of `channels` channels, with so many steps at each point. `transform` writes those of a channel at a
    /// point, for one value after the other, over zeros.
    pub fn new(
        _: Avx2,
        channels: usize,
        steps: Vec<usize>,
        transform: impl Fn(usize, usize, &mut [i16]),
    ) -> TransformedWeights {
        let vectors = channels.div_ceil(Ymm::LANES);
        let mut points = TransformedWeights {
            weights: Aligned::zeros(vectors * steps.iter().sum::<usize>() * VECTOR),
            correction: Aligned::zeros(vectors * steps.len() * Ymm::LANES),
            steps,
            strips: BySums::strips(vectors),
        };
        let mut transformed = Vec::new();
        for part in points.parts(0..points.strips.len()).collect::<Vec<_>>() {
            for (lane, channel) in part.lanes().take_while(|channel| *channel < channels).enumerate() {
                for point in 0..points.steps.len() {
                    transformed.clear();
                    transformed.resize(points.steps[point] * BySums::STEP, 0);
                    transform(channel, point, &mut transformed);
                    let first_byte = points.first_byte(part, point) + lane / Ymm::LANES * VECTOR;
                    let vectors = points.weights[first_byte..].chunks_mut(part.vectors * VECTOR);
                    let mut products = 0i32;
                    for (weights, to) in transformed.as_chunks::<{ BySums::STEP }>().0.iter().zip(vectors) {
                        BySums::pack(*weights, lane % Ymm::LANES, to);
                        products = products.wrapping_add(BySums::weight_products(*weights));
                    }
                    let at = points.first_correction(part, point) + lane;
                    points.correction[at] = products.wrapping_neg();
                }
            }
        }
        points
    }

    /// Bytes of weights and of what goes with them.
    pub fn bytes(&self) -> usize {
        self.weights.bytes() + self.correction.bytes()
    }

    /// Lanes of all strips, and of the widest.
    pub fn lanes(&self) -> [usize; 2] {
        [self.strips.iter().sum::<usize>(), self.strips.iter().copied().max().unwrap_or(1)].map(|n| n * Ymm::LANES)
    }

    /// Strips of channels.
    pub fn strips(&self) -> usize {
        self.strips.len()
    }

    /// The channels of strips, of `channels`.
    pub fn channels_of(&self, strips: &Range<usize>, channels: usize) -> Range<usize> {
        channels_of::<Ymm>(&self.strips, strips, channels)
    }

    /// Each of `strips`.
    pub fn parts(&self, strips: Range<usize>) -> impl Iterator<Item = Part> {
        let first_vector = self.strips[..strips.start].iter().sum();
        self.strips[strips].iter().scan(first_vector, |first_vector, &vectors| {
            let part = Part { first_vector: *first_vector, vectors };
            *first_vector += vectors;
            Some(part)
        })
    }

    /// Where the weights of a strip begin at a point.
    fn first_byte(&self, part: Part, point: usize) -> usize {
        let before = part.first_vector * self.steps.iter().sum::<usize>();
        (before + part.vectors * self.steps[..point].iter().sum::<usize>()) * VECTOR
    }

    fn first_correction(&self, part: Part, point: usize) -> usize {
        (part.first_vector * self.steps.len() + part.vectors * point) * Ymm::LANES
    }

    /// Notes for each pixel what its products at a point will add too much; `pixels` lie in `values`.
    ///
    /// # Safety
    /// ENABLED, as a value of this type is made with the token, and STRIP. Each pixel has the point's steps of values.
    pub unsafe fn look(&self, point: usize, values: *const u8, pixels: &mut [Pixel]) {
        // SAFETY: ENABLED, as a value of this type is made with the token, and STRIP; there is AVX2, see `TransformedWeights`.
        unsafe { BySums::correction(values, pixels, &[0], self.steps[point]) };
    }

    /// The sums of a strip at a point for pixels that [`TransformedWeights::look`] was called for, those of a pixel side by side.
    ///
    /// # Safety
    /// As for [`TransformedWeights::look`]; there is room for the sums.
    pub unsafe fn multiply(&self, part: Part, point: usize, values: *const u8, pixels: &[Pixel], sums: *mut i32) {
        let (steps, first_byte) = (self.steps[point], self.first_byte(part, point));
        let bytes = steps * part.vectors * VECTOR;
        let correction = &self.correction[self.first_correction(part, point)..][..part.vectors * Ymm::LANES];
        let strip = Strip {
            input: values,
            pixels,
            runs: &[0],
            steps,
            vectors: part.vectors,
            weights: self.weights[first_byte..][..bytes].as_ptr(),
            overflow: [OverflowWeights::NONE; MOST_VECTORS],
            // Weights of the next point, or of the next strip's first.
            ahead: bytes.min(self.weights.len() - first_byte - bytes),
            bias: correction.as_ptr(),
            target: Target::Sums(sums),
        };
        // SAFETY: ENABLED, as a value of this type is made with the token, and STRIP: weights and correction of the strip were sliced, values and
        // sums are the caller's promise.
        unsafe { <BySums as Dot>::strip(&strip) };
    }
}
