//! Products of matrices that are both computed, on AVX2 and on AVX-512-VNNI.

use std::arch::x86_64::*;

use crate::kernels::contract::{PAIRS, PairRow};
use crate::kernels::x86_64::isa::{Avx2, Avx512Vnni};

/// Rows that share the loads of a panel: eight sums, two vectors of the panel and a broadcast fit the registers.
const ROWS: usize = 4;

/// See [`crate::kernels::KernelSet::pair_products`].
pub(crate) fn pair_products(_: Avx2, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
    let pairs = panel.len();
    assert_eq!(rows.len(), pairs * sums.len());
    for (i, sums) in sums.chunks_mut(ROWS).enumerate() {
        let rows = &rows[i * ROWS * pairs..];
        // SAFETY: the token proves that AVX2 is there; there are `pairs` pairs for each row of sums.
        unsafe {
            match sums {
                [a, b, c, d] => tile(rows, panel, [a, b, c, d]),
                [a, b, c] => tile(rows, panel, [a, b, c]),
                [a, b] => tile(rows, panel, [a, b]),
                _ => sums.iter_mut().for_each(|sums| tile(rows, panel, [sums])),
            }
        }
    }
}

/// # Safety
/// ENABLED and PAIR_ROWS. AVX2 is there; `rows` holds `M` rows of `panel.len()` pairs.
#[target_feature(enable = "avx2")]
unsafe fn tile<const M: usize>(rows: &[[i16; 2]], panel: &[PairRow], to: [&mut [i32; PAIRS]; M]) {
    let mut sums = [[_mm256_setzero_si256(); 2]; M];
    for (i, pair_row) in panel.iter().enumerate() {
        let from: *const __m256i = pair_row.as_ptr().cast();
        // SAFETY: a row of the panel is two vectors; the pairs are ENABLED and PAIR_ROWS.
        let w = unsafe { [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))] };
        for (m, sums) in sums.iter_mut().enumerate() {
            // SAFETY: PAIR_ROWS: row `m` has a pair `i`.
            let x = unsafe { rows.as_ptr().add(m * panel.len() + i).cast::<i32>().read_unaligned() };
            let x = _mm256_set1_epi32(x);
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, w));
            }
        }
    }
    for (to, sums) in to.into_iter().zip(sums) {
        let to: *mut __m256i = to.as_mut_ptr().cast();
        // SAFETY: two vectors.
        unsafe {
            _mm256_storeu_si256(to, sums[0]);
            _mm256_storeu_si256(to.add(1), sums[1]);
        }
    }
}

/// [`pair_products`] with `vpdpwssd`, which adds both products of a pair to a sum: eight rows share the loads of a panel.
pub(crate) fn pair_products_vnni(_: Avx512Vnni, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
    const ROWS: usize = 8;
    let pairs = panel.len();
    assert_eq!(rows.len(), pairs * sums.len());
    for (i, sums) in sums.chunks_mut(ROWS).enumerate() {
        let mut rows = &rows[i * ROWS * pairs..];
        // SAFETY: the token proves that AVX-512-VNNI is there; there are `pairs` pairs for each row of sums.
        unsafe {
            match sums {
                [a, b, c, d, e, f, g, h] => tile_vnni(rows, panel, [a, b, c, d, e, f, g, h]),
                _ => {
                    for sums in sums {
                        tile_vnni(rows, panel, [sums]);
                        rows = &rows[pairs..];
                    }
                }
            }
        }
    }
}

/// # Safety
/// ENABLED and PAIR_ROWS. AVX-512-VNNI is there; `rows` holds `M` rows of `panel.len()` pairs.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile_vnni<const M: usize>(rows: &[[i16; 2]], panel: &[PairRow], to: [&mut [i32; PAIRS]; M]) {
    let mut sums = [_mm512_setzero_si512(); M];
    for (i, pair_row) in panel.iter().enumerate() {
        // SAFETY: a row of the panel is a vector; the pairs are ENABLED and PAIR_ROWS.
        let w = unsafe { _mm512_loadu_si512(pair_row.as_ptr().cast()) };
        for (m, sum) in sums.iter_mut().enumerate() {
            // SAFETY: PAIR_ROWS: row `m` has a pair `i`.
            let x = unsafe { rows.as_ptr().add(m * panel.len() + i).cast::<i32>().read_unaligned() };
            *sum = _mm512_dpwssd_epi32(*sum, w, _mm512_set1_epi32(x));
        }
    }
    for (to, sum) in to.into_iter().zip(sums) {
        // SAFETY: a vector.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), sum) }
    }
}
