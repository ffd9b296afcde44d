#!/usr/bin/env python3
"""Writes the ops/qdq-*.onnx of factors that stand apart from weights (BatchNormalization, scales for each channel of an
activation), of functions that are quantised after each of their steps, of linear resizing of bytes, of 16 bits, of 4 bits and of blocks;
and their goldens.

    python tests/graphs/make_scales.py
"""

import make_forms
import numpy as np
from make_forms import XS, YS, Case
from onnx import TensorProto, helper

X = [1, 6, 7, 5]
QUARTER = 2.0**-2


def main():
    make_forms.RANDOM = random = np.random.default_rng(29)
    for kind, suffix in [(np.uint8, "u8"), (np.int8, "s8")]:
        new = lambda shape: Case(shape, kind=kind)
        powers = lambda n, low, high: 2.0 ** random.integers(low, high, n)
        # The factor of each channel is a power of two; one turns the weights, one takes them away.
        for name, op, shape, channels in [
            ("conv", "Conv", (9, 6, 3, 3), 9),
            ("transposed", "ConvTranspose", (6, 5, 2, 2), 5),
        ]:
            c = new(X)
            factors = powers(channels, -2, 2)
            factors[1], factors[3] = -factors[1], 0
            dyadic = lambda scale: random.integers(-40, 40, channels) * scale
            numbers = [factors, dyadic(2.0**-4), dyadic(2.0**-5), np.ones(channels)]
            w = random.integers(-127, 128, shape)
            w = c.op("DequantizeLinear", c.const(w, np.int8), c.const(2.0**-7), c.const(0, np.int8))
            y = c.op("BatchNormalization", c.op(op, c.x, w), *map(c.const, numbers), epsilon=0.0)
            c.write(f"normalised-{name}-{suffix}", c.op("Relu", y), scale=QUARTER)
        # As NNCF has it around depthwise convolutions: behind what a factor passes through, and behind what it does not.
        for name, function in [("relu", dict(kind="Relu")), ("leaky", dict(kind="LeakyRelu", alpha=0.25))]:
            c = new(X)
            y = c.op("Conv", c.x, c.weights(6, 6, 1, 1), c.const(random.integers(-40, 40, 6) * 2.0**-7))
            y = c.op(function.pop("kind"), y, **function)
            scales, zeros = c.const(powers(6, -5, -2)), c.const(np.full(6, c.zero), kind)
            y = c.op("DequantizeLinear", c.op("QuantizeLinear", y, scales, zeros, axis=1), scales, zeros, axis=1)
            again = c.op("LeakyRelu", y, alpha=0.5)
            y = c.op("Conv", y, c.weights(12, 1, 3, 3), group=6, pads=[1, 1, 1, 1])
            c.write(f"channels-{name}-{suffix}", y, again, scale=QUARTER)
        # Quantised after each step, as QOperator files and some QDQ files have it.
        c = new(X)
        y = c.qdq(c.op("Add", c.qdq(c.op("Erf", c.qdq(c.op("Div", c.x, c.const(2**0.5)), XS)), 2.0**-7), c.const(1.0)), XS)
        y = c.qdq(c.op("Mul", c.x, y), YS)
        c.write(f"gelu-steps-{suffix}", c.op("Mul", y, c.const(0.5)))
        c = new(X)
        c.write(f"silu-steps-{suffix}", c.op("Mul", c.x, c.qdq(c.op("Sigmoid", c.x), 2.0**-8)))
        # Bytes that are clamped once more before the steps.
        c = new(X)
        y = c.qdq(c.op("Relu", c.qdq(c.op("Conv", c.x, c.weights(6, 6, 1, 1)), QUARTER)), QUARTER)
        c.write(f"clamped-steps-{suffix}", c.op("Mul", y, c.qdq(c.op("Sigmoid", y), 2.0**-8)))
        # The weights of pixels are sixteenths, so sums are exact and only what is cut off matters.
        c = new(X)
        sizes = c.const([1, 6, 14, 10], np.int64)
        bytes = c.op("Resize", c.q(c.x, XS), "", "", sizes, mode="linear")
        c.write(f"linear-bytes-{suffix}", c.dq(bytes, XS), scale=XS)
    wide_and_blocks(random)
    for kind, suffix in [(np.uint8, "u8"), (np.int8, "s8")]:
        floats_between(random, kind, suffix)


def floats_between(random, kind, suffix):
    """Maps of several scales one behind the other, and a PRelu, of which nothing is quantised before a sum."""
    c = Case(X, kind=kind)
    part = lambda n, scale: c.qdq(c.op("Conv", c.x, c.weights(n, 6, 1, 1)), scale)
    y = c.op("Concat", part(4, QUARTER), part(2, 2.0**-3), axis=1)
    slope = c.const(2.0 ** random.integers(-3, 0, (6, 1, 1)))
    y = c.op("Add", c.op("PRelu", y, slope), c.x)
    mean = c.op("GlobalAveragePool", c.op("Slice", y, *(c.const(v, np.int64) for v in ([0, 0], [4, 4], [2, 3]))))
    y = c.op("Conv", c.qdq(y, YS), c.weights(5, 6, 3, 3))
    c.write(f"floats-between-{suffix}", y, c.op("Mul", mean, c.const(1.0)), scale=QUARTER)


def wide_and_blocks(random):
    """Activations of 16 bits (Qualcomm's tools), weights of 4 bits and in blocks. Inputs are whole steps."""
    def four_bits(c, shape, signed):
        values = random.integers(-8 if signed else 0, 8 if signed else 16, shape)
        kind = TensorProto.INT4 if signed else TensorProto.UINT4
        c.consts.append(helper.make_tensor(f"c{len(c.consts)}", kind, shape, values.ravel()))
        return c.consts[-1].name

    for kind, suffix in [(np.uint16, "u16"), (np.int16, "s16")]:
        c = Case(X, opset=21)
        zero, w = c.const(20_000 if kind == np.uint16 else -3_000, kind), c.weights(9, 6, 3, 3)
        wide = lambda x, scale: c.op("DequantizeLinear", c.op("QuantizeLinear", x, scale, zero), scale, zero)
        # Of both tensors the least and the largest numbers lie outside the range.
        y = c.op("Conv", wide(c.x, c.const(2.0**-14 if kind == np.uint16 else 2.0**-13)), w)
        c.write(f"wide-{suffix}", wide(y, c.const(2.0**-12)), scale=QUARTER)
    for signed, suffix in [(True, "s4"), (False, "u4")]:
        kind = TensorProto.INT4 if signed else TensorProto.UINT4
        c = Case(X, opset=21)
        zeros = helper.make_tensor("zeros", kind, [9], [1] * 9)
        c.consts.append(zeros)
        w = four_bits(c, (9, 6, 3, 3), signed)
        w = c.op("DequantizeLinear", w, c.const(2.0 ** random.integers(-4, -1, 9)), "zeros", axis=0)
        c.write(f"four-bits-{suffix}", c.op("Conv", c.x, w), scale=QUARTER)
        c = Case([3, 20], opset=21)
        scales = c.const(2.0 ** random.integers(-4, -1, (5, 7)))
        w = c.op("DequantizeLinear", four_bits(c, (20, 7), signed), scales, axis=0, block_size=4)
        c.write(f"blocks-{suffix}", c.op("MatMul", c.x, w), scale=QUARTER)


if __name__ == "__main__":
    main()
