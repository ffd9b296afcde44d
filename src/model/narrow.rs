//! Numbers of 16 and of 4 bits, as protobuf has them.

use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// What the 16 bits of each element are: they lie in the raw data, or one in each int32.
pub(super) fn sixteens<T>(tensor: &pb::TensorProto, number: impl Fn(u16) -> T) -> Vec<T> {
    match tensor.raw_data.is_empty() {
        true => tensor.int32_data.iter().map(|v| number(*v as u16)).collect(),
        false => tensor.raw_data.chunks_exact(2).map(|b| number(u16::from_le_bytes([b[0], b[1]]))).collect(),
    }
}

/// A byte for each of `volume` elements of 4 bits: two lie in a byte, the lower half first, and the last half may be left
/// over. As many as there are, if there are not as many.
pub(super) fn fours(packed: &[u8], volume: usize, signed: bool) -> Vec<u8> {
    let n = if packed.len() == volume.div_ceil(2) { volume } else { packed.len() * 2 };
    let byte = |v: u8| if signed { (v ^ 8).wrapping_sub(8) } else { v };
    packed.iter().flat_map(|b| [b & 15, b >> 4]).take(n).map(byte).collect()
}

/// The first element that is no number, of the floating-point types that are left to tract.
pub(super) fn first_nan(
    dtype: pb::tensor_proto::DataType,
    raw: &[u8],
    int32: &[i32],
    doubles: &[f64],
) -> Option<usize> {
    // Half precision lies in the raw bytes, or one number in each int32.
    let half = |is_nan: fn(u16) -> bool| {
        let mut raw = raw.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        raw.position(is_nan).or_else(|| int32.iter().position(|v| is_nan(*v as u16)))
    };
    match dtype {
        DataType::Double => {
            let mut raw = raw.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("a whole chunk")));
            raw.position(f64::is_nan).or_else(|| doubles.iter().position(|v| v.is_nan()))
        }
        DataType::Float16 => half(|bits| bits & 0x7fff > 0x7c00),
        DataType::Bfloat16 => half(|bits| bits & 0x7fff > 0x7f80),
        _ => None,
    }
}

/// A number of half precision (IEEE 754 binary16).
pub(super) fn single(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        0x1f => f32::INFINITY,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_bytes_are_numbers() {
        assert_eq!(fours(&[0x2f, 0x08], 3, true), [255, 2, 248]);
        assert_eq!(fours(&[0x2f, 0x08], 3, false), [15, 2, 8]);
        // Too few, and too many.
        assert_eq!((fours(&[0x2f], 3, false).len(), fours(&[0; 3], 3, false).len()), (2, 6));
    }
}
