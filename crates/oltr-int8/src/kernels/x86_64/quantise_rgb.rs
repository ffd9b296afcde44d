//! Pictures in planes to bytes, pixel by pixel, on AVX-512.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::contract::Map;
use crate::kernels::x86_64::elementwise;
use crate::kernels::x86_64::isa::Avx512Vnni;
use crate::kernels::x86_64::isa::WithAvx2;
use crate::quant::Quant;

/// Pixels of a step.
const STEP: usize = 16;

/// 2⁻¹³: how near to halfway between two integers a product has to be to be divided instead.
///
/// A product with the reciprocal is quicker than a quotient and, up to 512 in size, at most 1.5 · 512 · 2⁻²³ from the
/// rounded one: farther than this from halfway, both round to the same integer. Beyond 512 both saturate.
const NEAR: f32 = 1.0 / 8192.0;

/// The places of a colour's 16 bytes in the `part`-th 16 of 48 bytes, as `pshufb` takes them.
const fn positions(colour: usize, part: usize) -> [i8; 16] {
    let mut order = [-1; 16];
    let mut at = 0;
    while at < 16 {
        let byte = part * 16 + at;
        if byte % 3 == colour {
            order[at] = (byte / 3) as i8;
        }
        at += 1;
    }
    order
}

/// [`positions`] of each part of each colour.
static PLACES: [[[i8; 16]; 3]; 3] = [
    [positions(0, 0), positions(1, 0), positions(2, 0)],
    [positions(0, 1), positions(1, 1), positions(2, 1)],
    [positions(0, 2), positions(1, 2), positions(2, 2)],
];

/// [`crate::kernels::KernelSet::quantise`]: three packed channels here, other maps as on AVX2.
pub(crate) fn quantise(
    simd: Avx512Vnni,
    quant: Quant,
    input: &[f32],
    map: &Map,
    output: &mut [u8],
    pixels: Range<usize>,
) {
    // Beyond, a reciprocal may not be a normal number.
    let usual = (1e-30..1e30).contains(&quant.scale);
    if !usual || (map.channels, map.stride) != (3, 3) {
        return elementwise::quantise(simd.avx2(), quant, input, map, output, pixels);
    }
    let plane = map.pixels();
    assert!(input.len() == 3 * plane && output.len() == 3 * pixels.len() && pixels.end <= plane);
    // SAFETY: the token proves that AVX-512 is there; the lengths were checked.
    unsafe { quantise_rgb(quant, input, plane, output, pixels.clone()) }
    for pixel in pixels.len() / STEP * STEP..pixels.len() {
        for channel in 0..3 {
            output[3 * pixel + channel] = quant.quantise(input[channel * plane + pixels.start + pixel]);
        }
    }
}

/// Whole steps of pixels.
///
/// # Safety
/// AVX-512 is there; the slices hold three planes of `plane` numbers, `pixels` lie in them, three bytes for each.
#[target_feature(enable = "avx2,avx512f,avx512bw")]
unsafe fn quantise_rgb(quant: Quant, input: &[f32], plane: usize, output: &mut [u8], pixels: Range<usize>) {
    let (scale, reciprocal) = (_mm512_set1_ps(quant.scale), _mm512_set1_ps(1.0 / quant.scale));
    let zero = i32::from(quant.zero_point);
    let (low, high) = (_mm512_set1_ps(-zero as f32), _mm512_set1_ps((255 - zero) as f32));
    let (zero, far) = (_mm512_set1_epi32(zero), _mm512_set1_ps(0.5 - NEAR));
    for pixel in (0..pixels.len() / STEP * STEP).step_by(STEP) {
        let mut colours = [_mm_setzero_si128(); 3];
        for (channel, colour) in colours.iter_mut().enumerate() {
            // SAFETY: 16 more numbers are there.
            let v = unsafe { _mm512_loadu_ps(input.as_ptr().add(channel * plane + pixels.start + pixel)) };
            let product = _mm512_mul_ps(v, reciprocal);
            let mut whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(product);
            let distance = _mm512_abs_ps(_mm512_sub_ps(product, whole));
            // NaN and infinities are near too.
            if _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(distance, far) != 0 {
                // NaN becomes 0.
                whole = _mm512_maskz_div_ps(_mm512_cmp_ps_mask::<_CMP_ORD_Q>(v, v), v, scale);
            }
            let whole = _mm512_min_ps(_mm512_max_ps(whole, low), high);
            *colour = _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(whole), zero));
        }
        for (part, orders) in PLACES.iter().enumerate() {
            let mut bytes = _mm_setzero_si128();
            for (colour, order) in colours.iter().zip(orders) {
                // SAFETY: 16 bytes.
                let order = unsafe { _mm_loadu_si128(order.as_ptr().cast()) };
                bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(*colour, order));
            }
            // SAFETY: the pixels' 48 bytes are there.
            unsafe { _mm_storeu_si128(output.as_mut_ptr().add(3 * pixel + 16 * part).cast(), bytes) };
        }
    }
}
