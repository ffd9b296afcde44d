//! The choice of an algorithm for a depthwise convolution.

use crate::kernels::aarch64::depthwise::blocks::{BLOCK, Ends};
use crate::kernels::aarch64::depthwise::generic::Generic;
use crate::kernels::aarch64::depthwise::generic_dot4::GenericDot4;
use crate::kernels::aarch64::depthwise::k3x3::Widening3x3;
use crate::kernels::aarch64::depthwise::k3x3_dot4::Dot3x3;
use crate::kernels::aarch64::depthwise::k5x5::Widening5x5;
use crate::kernels::aarch64::depthwise::k5x5_dot4::Dot5x5;
use crate::kernels::aarch64::depthwise::square::square;
use crate::kernels::aarch64::epilogue::rounding::{Rounding, to_signed};
use crate::kernels::aarch64::isa::{DotProduct, Neon};
use crate::kernels::contract::KernelSet;
use crate::kernels::contract::{Conv, Output, PackedConv};
use crate::kernels::scalar::SIGNED;

/// Packs `conv`, which is depthwise, by `kernel`: of the biases and multipliers for activations that are too large by so much.
pub(crate) fn depthwise(conv: Conv, kernel: Choice) -> Box<dyn PackedConv> {
    let Output::Bytes(requant, None) = &conv.result else { return SIGNED.conv(conv) };
    // Blocks of channels need room in each pixel.
    if conv.output.channels.next_multiple_of(BLOCK) > conv.input.stride.min(conv.output.stride) {
        return SIGNED.conv(conv);
    }
    let rounding = Rounding::new(requant.zero_point, requant.lo, requant.hi);
    kernel(&conv, &|correction| Ends::new(&conv, correction, &requant.multiplier, rounding))
}

/// The kernel for a convolution, and biases and multipliers for it.
type Choice<'a> = &'a dyn Fn(&Conv, &dyn Fn(i16) -> Ends) -> Box<dyn PackedConv>;

/// The kernels of plain NEON.
pub(crate) fn widening(isa: Neon, conv: &Conv, ends: &dyn Fn(i16) -> Ends) -> Box<dyn PackedConv> {
    square::<Widening3x3>(isa, conv, ends)
        .or_else(|| square::<Widening5x5>(isa, conv, ends))
        .unwrap_or_else(|| Box::new(Generic::new(conv, ends(0))))
}

/// The kernels with the dot product.
pub(crate) fn dot4(isa: DotProduct, conv: &Conv, ends: &dyn Fn(i16) -> Ends) -> Box<dyn PackedConv> {
    if let Some(square) = square::<Dot3x3>(isa, conv, ends) {
        return square;
    }
    let own = || ends(to_signed(conv.input_zero));
    if Dot5x5::fits(conv) {
        Box::new(Dot5x5::new(isa, conv, own()))
    } else if GenericDot4::fits(conv) {
        Box::new(GenericDot4::new(isa, conv, own()))
    } else {
        Box::new(Generic::new(conv, ends(0)))
    }
}
