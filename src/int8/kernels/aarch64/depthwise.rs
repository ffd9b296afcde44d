//! Depthwise convolutions.

use super::super::{Conv, KernelSet, PackedConv, Storage};
use crate::int8::kernels::scalar::Scalar;

pub(super) fn pack<I>(_: I, conv: Conv) -> Box<dyn PackedConv> {
    Scalar::new(Storage::Signed).conv(conv)
}
