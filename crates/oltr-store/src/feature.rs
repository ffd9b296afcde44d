//! Features of a record: 16-bit floats in Base64, and a signature for comparing them.
//!
//! IEEE binary16 has eleven bits of precision. It changes distances between features by less than a thousandth, far
//! below the distance between two pictures of one object, and takes half the bytes of 32-bit floats. Eight bits would
//! halve that again, but a class enrolled from a store should equal the class enrolled from its photos.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use half::f16;

/// Most numbers of a feature vector that is stored: ResNet-152 has 2048.
pub const MAX_FEATURES: usize = 2048;

/// Signatures of near-identical pictures differ in at most this many bits: an angle of some 20 degrees.
pub const NEAR: u32 = 8;

/// Encodes `features` for a record. Returns `None` if there are none or too many, or if a number is not finite or
/// larger than 65504.
pub fn encode(features: &[f32]) -> Option<String> {
    if features.is_empty() || features.len() > MAX_FEATURES {
        return None;
    }
    let mut bytes = Vec::with_capacity(features.len() * 2);
    for x in features {
        let x = f16::from_f32(*x);
        if !x.is_finite() {
            return None;
        }
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    Some(STANDARD.encode(bytes))
}

/// Decodes the features of a record. Returns `None` if the text is invalid.
pub fn decode(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    if bytes.is_empty() || bytes.len() % 2 != 0 || bytes.len() > 2 * MAX_FEATURES {
        return None;
    }
    let numbers = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
    Some(numbers.collect())
}

/// A signature of 64 bits: the more alike two features are, the more bits they share. Each bit is the side of a plane
/// through the origin on which the feature lies. Each plane has as many positive as negative coefficients, so an offset
/// that all features share cancels out. Never 0, which means "no signature".
pub fn signature(features: &[f32]) -> u64 {
    let mut sums = [0f32; 64];
    for (i, x) in features.iter().enumerate() {
        // Neighbours take opposite sides.
        let mut planes = mix((i / 2) as u64);
        if i % 2 == 1 {
            planes = !planes;
        }
        for sum in &mut sums {
            *sum += if planes & 1 == 1 { *x } else { -*x };
            planes >>= 1;
        }
    }
    let bits = sums.iter().enumerate().fold(0, |bits, (i, sum)| bits | (u64::from(*sum > 0.0) << i));
    std::cmp::max(bits, 1)
}

/// Number of bits in which two signatures differ; 64 if one is missing.
pub fn apart(a: u64, b: u64) -> u32 {
    if a == 0 || b == 0 { 64 } else { (a ^ b).count_ones() }
}

/// SplitMix64: its bits are practically random.
fn mix(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Euclidean distance of two features of the same length; infinite for different lengths.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up feature of class `class`, `noise` away from its middle.
    fn feature(class: u64, sample: u64, noise: f32) -> Vec<f32> {
        let number = |seed: u64| (mix(seed) >> 40) as f32 / (1 << 24) as f32;
        (0..256)
            .map(|i| number(class * 1000 + i) + noise * (number(class * 7919 + sample * 104_729 + i) - 0.5))
            .collect()
    }

    #[test]
    fn sixteen_bits_keep_distances() {
        let (a, b) = (feature(1, 1, 0.5), feature(1, 2, 0.5));
        let kept = |v: &[f32]| decode(&encode(v).unwrap()).unwrap();
        let (before, after) = (distance(&a, &b), distance(&kept(&a), &kept(&b)));
        assert!((before - after).abs() < before / 1000.0, "{before} {after}");
        assert_eq!(encode(&a).unwrap().len(), 684);
    }

    #[test]
    fn what_cannot_be_kept_is_not() {
        for bad in [vec![], vec![f32::NAN], vec![1e6], vec![f32::INFINITY], vec![0.0; MAX_FEATURES + 1]] {
            assert_eq!(encode(&bad), None);
        }
        for bad in ["", "AA==", "*", "AAAA"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn signatures_tell_near_from_far() {
        let all: Vec<(u64, u64)> = (0..20)
            .flat_map(|class| (0..5).map(move |sample| (class, signature(&feature(class, sample, 0.1)))))
            .collect();
        for (i, (class, a)) in all.iter().enumerate() {
            for (other, b) in &all[i + 1..] {
                let apart = apart(*a, *b);
                assert!(if class == other { apart <= NEAR } else { apart > NEAR }, "{class} {other}: {apart}");
            }
        }
        assert_eq!((apart(0, 5), apart(5, 5)), (64, 0));
    }
}
