//! AVX-VNNI and AVX-512-VNNI: one instruction multiplies four bytes by four bytes and adds all to a sum, exactly.

use std::arch::x86_64::*;

use crate::kernels::x86_64::dense::strip::Strip;
use crate::kernels::x86_64::dense::{tiles, weights_in_registers};
use crate::kernels::x86_64::depthwise::square;
use crate::kernels::x86_64::depthwise::square::Interleave;
use crate::kernels::x86_64::dot::by_fours::bytes_by_fours;
use crate::kernels::x86_64::dot::by_sums::totals;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::isa::{Avx2, Avx512Vnni, AvxVnni, WithAvx2};
use crate::kernels::x86_64::matvec;
use crate::kernels::x86_64::matvec::ROWS;
use crate::kernels::x86_64::matvec::{Matvec, Stream};
use crate::kernels::x86_64::vector::ymm::Ymm;
use crate::kernels::x86_64::vector::zmm::Zmm;

/// `vpdpbusd` on vectors of AVX2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vnni256(pub AvxVnni);

impl WithAvx2 for Vnni256 {
    fn avx2(self) -> Avx2 {
        self.0.avx2()
    }
}

/// `vpdpbusd` on vectors of AVX-512.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vnni512(pub Avx512Vnni);

impl WithAvx2 for Vnni512 {
    fn avx2(self) -> Avx2 {
        self.0.avx2()
    }
}

// SAFETY: `vpdpbusd` does not saturate (`vpdpbusds` does).
unsafe impl Dot for Vnni256 {
    const KIND: &'static str = "vnni";
    type V = Ymm;
    type Activations = __m256i;
    type Weights = __m256i;
    /// 3 pixels by 4 vectors reach the peak, 2 × 4 and 4 × 2 93 %; larger tiles spill (16 registers).
    const PIXELS: [usize; 4] = [8, 4, 3, 3];

    bytes_by_fours!("avxvnni", "avx2,avxvnni", tiles::strips_of_four);

    #[inline(always)]
    unsafe fn broadcast(from: *const u8) -> __m256i {
        // SAFETY: ENABLED and STEP_IN.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_weights(from: *const u8) -> __m256i {
        // SAFETY: ENABLED and WEIGHTS_IN.
        unsafe { _mm256_load_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: ENABLED.
        unsafe { _mm256_dpbusd_avx_epi32(sums, x, w) }
    }
}

// SAFETY: `vpdpbusd` does not saturate (`vpdpbusds` does).
unsafe impl Dot for Vnni512 {
    const KIND: &'static str = "vnni";
    type V = Zmm;
    type Activations = __m512i;
    type Weights = __m512i;
    /// By measurement on Zen 5: 4 × 4 divides the rows of 56 and 28 pixels, and more than 20 sums leave no registers for
    /// weights to come in time.
    const PIXELS: [usize; 4] = [12, 10, 6, 4];

    bytes_by_fours!("avx512vnni", "avx2,avx512f,avx512bw,avx512vnni", tiles::strips_of_four);

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    unsafe fn few_steps(strip: &Strip) -> bool {
        // SAFETY: ENABLED and STRIP.
        unsafe { weights_in_registers::strip::<Self>(strip) }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const u8) -> __m512i {
        // SAFETY: ENABLED and STEP_IN.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_weights(from: *const u8) -> __m512i {
        // SAFETY: ENABLED and WEIGHTS_IN.
        unsafe { _mm512_load_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: ENABLED.
        unsafe { _mm512_dpbusd_epi32(sums, x, w) }
    }
}

// SAFETY: `vpdpbusd` does not saturate; rows and copy are read as STREAM has them.
unsafe impl Matvec for Vnni256 {
    const ROWS_KIND: &'static str = "vnni";
    const WIDTH: usize = 32;
    type Lanes = __m256i;

    #[inline(always)]
    unsafe fn no_sums() -> __m256i {
        // SAFETY: ENABLED.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: __m256i, x: *const u8, weights: *const i8) -> __m256i {
        // SAFETY: ENABLED and STREAM.
        unsafe { Self::dot(sums, _mm256_load_si256(x.cast()), _mm256_load_si256(weights.cast())) }
    }

    #[inline(always)]
    unsafe fn totals(rows: [__m256i; ROWS]) -> [i32; ROWS] {
        // SAFETY: ENABLED.
        unsafe { totals(rows) }
    }

    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS] {
        // SAFETY: ENABLED and STREAM.
        unsafe { if all { matvec::rows::<Self, ROWS>(stream) } else { matvec::rows::<Self, 1>(stream) } }
    }
}

// SAFETY: `vpdpbusd` does not saturate; rows and copy are read as STREAM has them.
unsafe impl Matvec for Vnni512 {
    const ROWS_KIND: &'static str = "vnni";
    const WIDTH: usize = 64;
    type Lanes = __m512i;

    #[inline(always)]
    unsafe fn no_sums() -> __m512i {
        // SAFETY: ENABLED.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: __m512i, x: *const u8, weights: *const i8) -> __m512i {
        // SAFETY: ENABLED and STREAM.
        unsafe { Self::dot(sums, _mm512_load_si512(x.cast()), _mm512_load_si512(weights.cast())) }
    }

    #[inline(always)]
    unsafe fn totals(rows: [__m512i; ROWS]) -> [i32; ROWS] {
        // SAFETY: ENABLED.
        unsafe {
            let mut halves = [_mm512_castsi512_si256(rows[0]); ROWS];
            for (half, row) in halves.iter_mut().zip(rows) {
                *half = _mm256_add_epi32(_mm512_castsi512_si256(row), _mm512_extracti64x4_epi64::<1>(row));
            }
            totals(halves)
        }
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS] {
        // SAFETY: ENABLED and STREAM.
        unsafe { if all { matvec::rows::<Self, ROWS>(stream) } else { matvec::rows::<Self, 1>(stream) } }
    }
}

/// The mask of the first `count` bytes of 64.
#[inline(always)]
fn first_bytes(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

// SAFETY: masked accesses touch the first `count` bytes only.
unsafe impl Interleave for Vnni512 {
    const SIDE: usize = 4;

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [__m512i; 4] {
        // SAFETY: ENABLED and CHANNELS_IN.
        unsafe {
            let mask = first_bytes(count);
            let [a, b] = [_mm512_maskz_loadu_epi8(mask, rows[0].cast()), _mm512_maskz_loadu_epi8(mask, rows[1].cast())];
            let [c, d] = [_mm512_maskz_loadu_epi8(mask, rows[2].cast()), _mm512_maskz_loadu_epi8(mask, rows[3].cast())];
            let (low_ab, high_ab) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (low_cd, high_cd) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(low_ab, low_cd),
                _mm512_unpackhi_epi16(low_ab, low_cd),
                _mm512_unpacklo_epi16(high_ab, high_cd),
                _mm512_unpackhi_epi16(high_ab, high_cd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_pixels(bytes: __m512i, to: *mut u8, _stride: usize, _pixels: usize, count: usize) {
        // SAFETY: ENABLED and CHANNELS_OUT.
        unsafe { _mm512_mask_storeu_epi8(to.cast(), first_bytes(count), bytes) }
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    unsafe fn depthwise(strip: &square::Strip, window: [usize; 2]) {
        // SAFETY: ENABLED and ROWS_STRIP.
        unsafe { square::strip::<Self>(strip, window) }
    }
}

// SAFETY: partial pixels go through a buffer, of which `count` bytes are copied.
unsafe impl Interleave for Vnni256 {
    const SIDE: usize = 2;

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [__m256i; 4] {
        // SAFETY: ENABLED and CHANNELS_IN.
        unsafe {
            let [a, b] = [load_first(rows[0], count), load_first(rows[1], count)];
            let [c, d] = [load_first(rows[2], count), load_first(rows[3], count)];
            let (low_ab, high_ab) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let (low_cd, high_cd) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
            [
                _mm256_unpacklo_epi16(low_ab, low_cd),
                _mm256_unpackhi_epi16(low_ab, low_cd),
                _mm256_unpacklo_epi16(high_ab, high_cd),
                _mm256_unpackhi_epi16(high_ab, high_cd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_pixels(bytes: __m256i, to: *mut u8, _stride: usize, _pixels: usize, count: usize) {
        // SAFETY: ENABLED and CHANNELS_OUT.
        unsafe {
            if count >= 32 {
                return _mm256_storeu_si256(to.cast(), bytes);
            }
            let mut all = [0u8; 32];
            _mm256_storeu_si256(all.as_mut_ptr().cast(), bytes);
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
        }
    }

    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn depthwise(strip: &square::Strip, window: [usize; 2]) {
        // SAFETY: ENABLED and ROWS_STRIP.
        unsafe { square::strip::<Self>(strip, window) }
    }
}

/// The first `count` bytes of 32, then zeros.
///
/// # Safety
/// ENABLED and CHANNELS_IN. AVX2 is enabled in the caller; so many bytes can be read.
#[inline(always)]
unsafe fn load_first(from: *const u8, count: usize) -> __m256i {
    // SAFETY: ENABLED and CHANNELS_IN.
    unsafe {
        if count >= 32 {
            return _mm256_loadu_si256(from.cast());
        }
        let mut bytes = [0u8; 32];
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}
