//! Chooses the largest photo size that fits into bounded memory.

use oltr::Limits;
use oltr::source::FrameSource;

/// Smallest size to try: if it does not fit, nothing does.
const LEAST: u64 = 640 * 480;

/// Usual size of today's cameras: a smaller limit is worth a warning.
const USUAL: u64 = 12_000_000;

/// The largest number of pixels up to `most` that `fits`; [`LEAST`] if none does.
pub fn largest_photo(most: u64, mut fits: impl FnMut(u64) -> bool) -> u64 {
    let (mut low, mut high) = (LEAST.min(most), most);
    // A precision of one per cent is enough.
    while high - low > low / 100 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// `limits` for photos of at most `pixels`, of any shape up to a ratio of 4:1.
pub fn limits(limits: &Limits, pixels: u64) -> Limits {
    let mut limits = limits.clone();
    let side = u32::try_from(2 * pixels.isqrt()).unwrap_or(u32::MAX);
    limits.photo_side = limits.photo_side.min(side);
    limits.photo_pixels = limits.photo_pixels.min(pixels);
    // No encoding takes more, except for the data outside of the pixels.
    limits.photo_bytes = limits.photo_bytes.min(pixels.saturating_mul(4).saturating_add(1 << 20));
    limits
}

/// Warns that photos of more than `largest` pixels are refused, and names the memory for usual ones.
pub fn tell(
    source: &mut dyn FrameSource,
    largest: u64,
    bounded: &Limits,
    total: impl Fn(&dyn FrameSource, &Limits) -> u64,
) {
    let megapixels = |pixels: u64| format!("{:.1} megapixels", pixels as f64 / 1e6);
    if largest >= USUAL {
        log::info!("{}: photos of up to {} are taken", source.name(), megapixels(largest));
        return;
    }
    let usual = limits(&Limits::default(), USUAL);
    source.restrict(&usual);
    let needed = total(source, &usual).div_ceil(1 << 20);
    source.restrict(bounded);
    log::warn!(
        "{}: --max-memory lets photos of up to {} be taken; with --max-memory {needed}MiB those of {} are",
        source.name(),
        megapixels(largest),
        megapixels(USUAL)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_found() {
        for bound in [LEAST, 1_000_000, 12_345_678, 50_000_000] {
            let largest = largest_photo(50_000_000, |pixels| pixels <= bound);
            assert!(largest <= bound && largest >= bound - bound / 100, "{largest} of {bound}");
        }
        assert_eq!(largest_photo(50_000_000, |_| false), LEAST);
        assert_eq!(largest_photo(100, |_| true), 100);
        let bounded = limits(&Limits::default(), 12_000_000);
        assert!(bounded.photo_side >= 4000 && bounded.photo_bytes > 48_000_000);
    }
}
