#!/usr/bin/env python3
"""Writes the ops/qdq-*.onnx of layers that other networks have beside convolutions, and their goldens: transposed and
one-dimensional convolutions, linear resizing, LayerNormalization, attention over several heads and in batches, sums of
several tensors, and quantisations that NNCF leaves out.

    python tests/graphs/make_layers.py
"""

import make_forms
import numpy as np
from make_forms import XS, Case

X = [1, 6, 7, 5]


def main():
    make_forms.RANDOM = random = np.random.default_rng(28)
    for kind, suffix in [(np.uint8, "u8"), (np.int8, "s8")]:
        new = lambda shape: Case(shape, kind=kind)
        ints = lambda c, *values: c.const(list(values), np.int64)
        transposed = {
            "2x2": ((6, 5, 2, 2), dict(strides=[2, 2])),
            "3x3": ((6, 4, 3, 3), dict(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
            "4x3": ((6, 3, 4, 3), dict(strides=[2, 1], pads=[1, 1, 1, 1])),
            "groups": ((6, 2, 4, 4), dict(strides=[2, 2], pads=[1, 1, 1, 1], group=3)),
            "depthwise": ((6, 1, 4, 4), dict(strides=[2, 2], pads=[1, 1, 1, 1], group=6)),
        }
        for name, (shape, attributes) in transposed.items():
            c = new(X)
            c.write(f"convtranspose-{name}-{suffix}", c.op("ConvTranspose", c.x, c.weights(*shape), **attributes))
        c = new(X)
        bias = c.const((random.integers(-4000, 4000, 5) * 2.0**-13).astype(np.float32))
        w = c.weights(6, 5, 2, 2, dtype=np.uint8, zero=77)
        c.write(f"convtranspose-wide-{suffix}", c.op("ConvTranspose", c.x, w, bias, strides=[2, 2]), scale=2.0**-2)
        c = new([1, 6, 23])
        y = c.qdq(c.op("Conv", c.x, c.weights(9, 6, 5), pads=[2, 2], strides=[2]), 2.0**-2)
        c.write(f"conv1d-{suffix}", c.op("Conv", y, c.weights(9, 1, 3), group=9, dilations=[2]), scale=2.0**-1)
        for mode in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            c = new([1, 6, 5, 5])
            # Whole steps of the coordinates: every weight is a power of two.
            sizes = ints(c, 1, 6, 9, 9) if mode == "align_corners" else ints(c, 1, 6, 10, 10)
            name = f"linear-{mode.replace('_', '-')}-{suffix}"
            resize = dict(mode="linear", coordinate_transformation_mode=mode)
            c.write(name, c.op("Resize", c.x, "", "", sizes, **resize), scale=XS)
        for shape in ([2, 5, 24], [1, 4, 3, 40]):
            c = new(shape)
            draw = lambda low, high: c.const(random.uniform(low, high, shape[-1]))
            y = c.op("LayerNormalization", c.x, draw(0.5, 1.5), draw(-0.5, 0.5), axis=-1)
            c.write(f"layernorm-{len(shape)}-{suffix}", y, scale=2.0**-5)
            # In float between a DequantizeLinear and what moves it.
            c = new(shape)
            y = c.op("LayerNormalization", c.x, draw(0.5, 1.5), draw(-0.5, 0.5), axis=-1)
            last = len(shape) - 1
            y = c.op("Transpose", y, perm=[0, last, *range(1, last)])
            y = c.op("Slice", y, ints(c, 3), ints(c, 17), ints(c, 1), ints(c, 2))
            c.write(f"layernorm-moved-{len(shape)}-{suffix}", y, scale=2.0**-5)
        for batch in (1, 2):
            c = new([batch, 4, 6, 8])
            k = c.qdq(c.op("Transpose", c.x, perm=[0, 1, 3, 2]), XS)
            scores = c.qdq(c.op("MatMul", c.x, k), 2.0**1)
            y = c.qdq(c.op("MatMul", scores, c.x), 2.0**4)
            y = c.qdq(c.op("Transpose", y, perm=[0, 2, 1, 3]), 2.0**4)
            y = c.qdq(c.op("Reshape", y, ints(c, batch, 6, 32)), 2.0**4)
            y = c.qdq(c.op("MatMul", y, c.weights(32, 10)), 2.0**5)
            c.write(f"attention-{batch}-{suffix}", c.op("Add", y, y), scale=2.0**6)
            c = new([batch, 4, 6, 8])
            c.write(f"softmax-heads-{batch}-{suffix}", c.op("Softmax", c.x, axis=-1), scale=2.0**-8)
        c = new(X)
        rest = [c.qdq(c.op("Relu", c.x), XS), c.qdq(c.op("Neg", c.x), 2.0**-3)]
        c.write(f"sum-{suffix}", c.op("Sum", c.x, *rest))
        c = new(X)
        c.write(f"mean-{suffix}", c.op("Mean", c.x, c.qdq(c.op("Neg", c.x), 2.0**-3), c.x, c.x))
        c = new(X)
        a = c.op("MaxPool", c.x, kernel_shape=[2, 2])
        b = c.op("Relu", c.op("Slice", c.x, ints(c, 0, 0), ints(c, 6, 4), ints(c, 2, 3)))
        c.write(f"kept-{suffix}", c.op("Conv", c.op("Concat", a, b, axis=1), c.weights(9, 12, 1, 1)), scale=2.0**-2)
        c = new(X)
        y = c.op("Conv", c.x, c.weights(9, 6, 1, 1))
        y = [c.qdq(c.op("Conv", c.qdq(y, 2.0**-2), c.weights(4, 9, 1, 1)), 2.0**0) for _ in range(2)]
        c.write(f"twice-{suffix}", c.op("Concat", *y, axis=1), scale=2.0**0)



if __name__ == "__main__":
    main()
