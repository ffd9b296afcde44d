//! What sets have in common that multiply bytes.

/// What sets have in common that take four activations in a step, which stay bytes: their name, their instructions, and how
/// they cut vectors into strips.
macro_rules! bytes_by_fours {
    ($set:literal, $features:literal, $strips:path) => {
        const STEP: usize = 4;
        const ELEMENT: usize = 1;
        const WEIGHT: usize = 1;
        const EXACT: bool = true;
        const ISA: &'static str = $set;

        fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]) {
            to[lane * 4..][..4].copy_from_slice(&weights.map(|w| w as u8));
        }

        #[target_feature(enable = $features)]
        unsafe fn strip(strip: &$crate::kernels::x86_64::dense::strip::Strip) {
            // SAFETY: ENABLED and STRIP.
            unsafe { $crate::kernels::x86_64::dense::tiles::strip::<Self>(strip) }
        }

        #[target_feature(enable = "avx2")]
        unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
            // SAFETY: ENABLED; both slices are checked.
            unsafe { $crate::kernels::x86_64::patch::copy_bytes(from, stride, depth, count, to) }
        }

        fn fill(to: &mut [u8], value: u8) {
            to.fill(value);
        }

        fn strips(vectors: usize) -> Vec<usize> {
            $strips(vectors)
        }
    };
}

pub(crate) use bytes_by_fours;
