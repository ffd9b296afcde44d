//! Additions, tables, and the conversions between bytes and numbers.

use std::arch::aarch64::*;
use std::ops::Range;

use crate::kernels::aarch64::epilogue::STORAGE;
use crate::kernels::aarch64::epilogue::rounding::{Adder, Rounding, to_signed, widen};
use crate::kernels::contract::Map;
use crate::quant::{AddQuant, Quant};

/// Bytes of a vector.
const VECTOR: usize = 16;

/// `output[i] = add(a[i], b[i])`.
pub(crate) fn add(add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
    assert!(a.len() == b.len() && a.len() == output.len());
    let adder = Adder::new(add);
    let (a, a_rest) = a.as_chunks();
    let (b, b_rest) = b.as_chunks();
    let (output, rest) = output.as_chunks_mut();
    for ((a, b), output) in a.iter().zip(b).zip(output) {
        *output = add_vector(&adder, a, b);
    }
    let mut padded = [[0; VECTOR]; 2];
    padded[0][..rest.len()].copy_from_slice(a_rest);
    padded[1][..rest.len()].copy_from_slice(b_rest);
    rest.copy_from_slice(&add_vector(&adder, &padded[0], &padded[1])[..rest.len()]);
}

#[inline(always)]
fn add_vector(adder: &Adder, a: &[u8; VECTOR], b: &[u8; VECTOR]) -> [u8; VECTOR] {
    let (a, b) = (adder.first(load(a)), adder.second(load(b)));
    store(adder.narrow(std::array::from_fn(|i| adder.add(a[i], b[i]))))
}

#[inline(always)]
fn load(bytes: &[u8; VECTOR]) -> int8x16_t {
    // SAFETY: the array is as long as the vector.
    unsafe { vld1q_s8(bytes.as_ptr().cast()) }
}

#[inline(always)]
fn store(vector: int8x16_t) -> [u8; VECTOR] {
    let mut bytes = [0; VECTOR];
    // SAFETY: the array is as long as the vector.
    unsafe { vst1q_s8(bytes.as_mut_ptr().cast(), vector) };
    bytes
}

/// `output[i] = table[input[i]]`: the table lies in 16 registers, of which four make a look-up of 64 entries.
pub(crate) fn table(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    assert_eq!(input.len(), output.len());
    // SAFETY: loads and stores are of whole arrays of 64 and 16 bytes; BASELINE.
    unsafe {
        let [a, b, c, d] = [0, 64, 128, 192].map(|at| vld1q_u8_x4(table[at..][..64].as_ptr()));
        let next = vdupq_n_u8(64);
        let look_up = |input: &[u8; VECTOR]| -> [u8; VECTOR] {
            // An index beyond a quarter of the table leaves what the quarters before gave.
            let index = vld1q_u8(input.as_ptr());
            let mut found = vqtbl4q_u8(a, index);
            let mut rest = vsubq_u8(index, next);
            found = vqtbx4q_u8(found, b, rest);
            rest = vsubq_u8(rest, next);
            found = vqtbx4q_u8(found, c, rest);
            found = vqtbx4q_u8(found, d, vsubq_u8(rest, next));
            let mut bytes = [0; VECTOR];
            vst1q_u8(bytes.as_mut_ptr(), found);
            bytes
        };
        let (input, input_rest) = input.as_chunks();
        let (output, rest) = output.as_chunks_mut();
        for (input, output) in input.iter().zip(output) {
            *output = look_up(input);
        }
        let mut padded = [0; VECTOR];
        padded[..rest.len()].copy_from_slice(input_rest);
        rest.copy_from_slice(&look_up(&padded)[..rest.len()]);
    }
}

/// Quantises pixels of planes into a channels-last map.
pub(crate) fn quantise(quant: Quant, input: &[f32], map: &Map, output: &mut [u8], pixels: Range<usize>) {
    let plane = map.pixels();
    assert_eq!(input.len(), plane * map.channels);
    assert!(output.len() == pixels.len() * map.stride && pixels.end <= plane);
    let rounding = Rounding::new(quant.zero_point, 0, 255).load();
    // SAFETY: NEON is part of the target; an array is as long as its vectors.
    let sixteen = |f32_values: &[f32; VECTOR]| unsafe {
        let scale = vdupq_n_f32(quant.scale);
        rounding.narrow(std::array::from_fn(|i| {
            vcvtnq_s32_f32(vdivq_f32(vld1q_f32(f32_values.as_ptr().add(4 * i)), scale))
        }))
    };
    let of = |channel: usize| &input[channel * plane..][pixels.clone()];
    let whole = pixels.len() / VECTOR * VECTOR;
    if map.channels == 3 && map.stride == 3 {
        let [red, green, blue] = [0, 1, 2].map(|channel| of(channel).as_chunks().0);
        let (groups, _) = output.as_chunks_mut::<{ 3 * VECTOR }>();
        for (((red, green), blue), bytes) in red.iter().zip(green).zip(blue).zip(groups) {
            let interleaved = int8x16x3_t(sixteen(red), sixteen(green), sixteen(blue));
            // SAFETY: sixteen pixels of three bytes.
            unsafe { vst3q_s8(bytes.as_mut_ptr().cast(), interleaved) };
        }
    } else {
        for (i, group) in output.chunks_exact_mut(VECTOR * map.stride).enumerate() {
            for channel in 0..map.channels {
                let f32_values = &of(channel).as_chunks().0[i];
                for (pixel, byte) in group.chunks_exact_mut(map.stride).zip(store(sixteen(f32_values))) {
                    pixel[channel] = byte;
                }
            }
        }
    }
    for (i, pixel) in output.chunks_exact_mut(map.stride).enumerate().skip(whole) {
        for (channel, byte) in pixel[..map.channels].iter_mut().enumerate() {
            *byte = quant.quantise(of(channel)[i]) ^ STORAGE.mask();
        }
    }
}

/// Dequantises a channels-last map into planes, by a table of the 256 numbers that a byte can stand for.
pub(crate) fn dequantise(quant: Quant, map: &Map, input: &[u8], output: &mut [f32]) {
    let pixels = map.pixels();
    assert_eq!(output.len(), pixels * map.channels);
    assert!(input.len() >= map.volume());
    if pixels == 1 || (map.channels, map.stride) == (1, 1) {
        return dequantise_row(quant, &input[..output.len()], output);
    }
    let f32_values: [f32; 256] = std::array::from_fn(|stored| quant.dequantise(stored as u8 ^ STORAGE.mask()));
    for (channel, plane) in output.chunks_exact_mut(pixels).enumerate() {
        for (number, pixel) in plane.iter_mut().zip(input.chunks_exact(map.stride)) {
            *number = f32_values[usize::from(pixel[channel])];
        }
    }
}

/// [`dequantise`] where map and result are one row.
fn dequantise_row(quant: Quant, input: &[u8], output: &mut [f32]) {
    let (input, input_rest) = input.as_chunks::<VECTOR>();
    let (output, rest) = output.as_chunks_mut::<VECTOR>();
    // SAFETY: the array is as long as its vectors; BASELINE.
    unsafe {
        let (scale, zero) = (vdupq_n_f32(quant.scale), vdup_n_s8(to_signed(quant.zero_point) as i8));
        for (bytes, f32_values) in input.iter().zip(output) {
            for (i, less_zero) in widen(load(bytes), zero).into_iter().enumerate() {
                vst1q_f32(f32_values.as_mut_ptr().add(4 * i), vmulq_f32(less_zero, scale));
            }
        }
    }
    for (stored, number) in input_rest.iter().zip(rest) {
        *number = quant.dequantise(stored ^ STORAGE.mask());
    }
}
