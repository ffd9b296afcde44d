#!/usr/bin/env python3
"""Writes ops/qdq-*.onnx and their goldens: forms of quantisation and operators that ONNX Runtime's quantiser does not write
by itself but other exporters do, one operator each between QuantizeLinear and DequantizeLinear.

    python tests/graphs/make_forms.py

The goldens are ONNX Runtime's, unoptimised. All scales are powers of two, so that its float sums are exact and every
rounding is the one that the graph says.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent / "ops"
RANDOM = np.random.default_rng(27)
XS, YS = 2.0**-5, 2.0**-4


class Case:
    def __init__(self, shape, opset=17, kind=np.uint8):
        self.nodes, self.consts, self.shape, self.opset = [], [], shape, opset
        self.kind, self.zero = kind, 121 if kind == np.uint8 else -9
        self.count = 0
        self.x = self.qdq("x", XS)

    def const(self, value, dtype=np.float32):
        name = f"c{len(self.consts)}"
        self.consts.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = []
        for _ in range(outputs):
            self.count += 1
            names.append(f"t{self.count}")
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def q(self, x, scale):
        return self.op("QuantizeLinear", x, self.const(scale), self.const(self.zero, self.kind))

    def dq(self, q, scale):
        return self.op("DequantizeLinear", q, self.const(scale), self.const(self.zero, self.kind))

    def qdq(self, x, scale):
        return self.dq(self.q(x, scale), scale)

    def weights(self, *shape, dtype=np.int8, zero=0, scale=2.0**-7):
        info = np.iinfo(dtype)
        w = RANDOM.integers(info.min, info.max + 1, shape)
        w.flat[0], w.flat[-1] = info.min, info.max
        return self.op("DequantizeLinear", self.const(w, dtype), self.const(scale), self.const(zero, dtype))

    def write(self, name, *ys, scale=YS):
        ys = [self.qdq(y, scale) for y in ys]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)]
        outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in ys]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.consts)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        file = HERE / f"qdq-{name}.onnx"
        onnx.save(model, file)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        x = (RANDOM.integers(-140, 150, self.shape) * XS).astype(np.float32)
        results = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x})))
        np.savez_compressed(file.with_suffix(".npz"), x=x, **results)


def main():
    X = [1, 6, 7, 5]
    bias = lambda n: (RANDOM.integers(-4000, 4000, n) * 2.0**-13).astype(np.float32)
    for kind, suffix in [(np.uint8, "u8"), (np.int8, "s8")]:
        c = Case(X, kind=kind)
        y = c.op("Conv", c.x, c.weights(9, 6, 3, 3), c.const(bias(9)), pads=[1] * 4)
        c.write(f"floatbias-{suffix}", c.op("Relu", y))
        c = Case(X, kind=kind)
        c.write(f"floatbias-depthwise-{suffix}", c.op("Conv", c.x, c.weights(6, 1, 3, 3), c.const(bias(6)), group=6))
        c = Case([3, 20], kind=kind)
        c.write(f"floatbias-gemm-{suffix}", c.op("Gemm", c.x, c.weights(7, 20), c.const(bias(7)), transB=1))
        for zero in (0, 77, 255):
            c = Case(X, kind=kind)
            w = c.weights(9, 6, 3, 3, dtype=np.uint8, zero=zero)
            c.write(f"wide{zero}-{suffix}", c.op("Conv", c.x, w, strides=[2, 1]), scale=2.0**-2)
            c = Case(X, kind=kind)
            w = c.weights(6, 1, 3, 3, dtype=np.uint8, zero=zero)
            c.write(f"wide{zero}-depthwise-{suffix}", c.op("Conv", c.x, w, c.const(bias(6)), group=6), scale=2.0**-2)
            c = Case([3, 20], kind=kind)
            w = c.weights(20, 7, dtype=np.uint8, zero=zero)
            c.write(f"wide{zero}-matmul-{suffix}", c.op("MatMul", c.x, w), scale=2.0**-2)
        c = Case(X, kind=kind)
        ints = lambda *v: c.const(list(v), np.int64)
        c.write(f"slice-{suffix}", c.op("Slice", c.x, ints(1, -6), ints(6, 99), ints(1, 2), ints(2, 3)))
        c = Case(X, kind=kind)
        c.write(f"split-{suffix}", *c.op("Split", c.x, c.const([1, 3, 2], np.int64), outputs=3, axis=1), scale=XS)
        c = Case(X, kind=kind)
        c.write(f"gather-{suffix}", c.op("Gather", c.x, c.const([-5, 3, 5], np.int64), axis=1))
        c = Case([1, 8, 3, 5], kind=kind)
        for mode in ("DCR", "CRD"):
            c = Case([1, 8, 3, 5], kind=kind)
            c.write(f"depthtospace-{mode.lower()}-{suffix}", c.op("DepthToSpace", c.x, blocksize=2, mode=mode))
        c = Case([1, 3, 4, 6], kind=kind)
        c.write(f"spacetodepth-{suffix}", c.op("SpaceToDepth", c.x, blocksize=2))
        c = Case(X, kind=kind)
        resize = dict(mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")
        c.write(f"resize-{suffix}", c.op("Resize", c.x, "", c.const([1, 1, 2, 3]), **resize))
        c = Case(X, kind=kind)
        half = c.op("Mul", c.x, c.op("Add", c.op("Erf", c.op("Div", c.x, c.const(2**0.5))), c.const(1.0)))
        c.write(f"gelu-{suffix}", c.op("Mul", half, c.const(0.5)))
        c = Case(X, kind=kind)
        c.write(f"silu-{suffix}", c.op("Mul", c.x, c.op("Sigmoid", c.x)))
        c = Case(X, kind=kind)
        gate = c.op("Clip", c.op("Add", c.x, c.const(3.0)), c.const(0.0), c.const(6.0))
        c.write(f"hardswish-{suffix}", c.op("Div", c.op("Mul", c.x, gate), c.const(6.0)))
        c = Case(X, kind=kind)
        draw = lambda: c.const(RANDOM.uniform(0.5, 1.5, 6))
        c.write(f"batchnorm-{suffix}", c.op("Relu", c.op("BatchNormalization", c.x, draw(), draw(), draw(), draw())))
        c = Case(X, kind=kind)
        c.write(f"prelu-{suffix}", c.op("PRelu", c.x, c.const(RANDOM.uniform(0.1, 0.4, (6, 1, 1)))))
        c = Case([2, 5, 6], kind=kind)
        c.write(f"scaled-rows-{suffix}", c.op("Mul", c.x, c.const(RANDOM.uniform(0.1, 1.4, 6))))
    # Weights that the graph itself makes: quantised from floats, transposed, cast, with a zero point from a shape.
    c = Case([3, 20])
    w = c.const((RANDOM.integers(-120, 120, (7, 20)) * 2.0**-7).astype(np.float32))
    zero = c.op("Cast", c.op("ConstantOfShape", c.const([7], np.int64)), to=TensorProto.INT8)
    scale = c.const(np.full(7, 2.0**-7))
    q = c.op("QuantizeLinear", w, scale, zero, axis=0)
    w = c.op("DequantizeLinear", c.op("Transpose", q, perm=[1, 0]), scale, zero, axis=1)
    c.write("made-weights", c.op("MatMul", c.x, w))
    # Brevitas: bytes clipped between Q and DQ; PyTorch: a cast that changes nothing; old exporters: Dropout.
    c = Case(X)
    q = c.op("Clip", c.q(c.x, YS), c.const(90, np.uint8), c.const(160, np.uint8))
    x = c.op("Dropout", c.dq(c.op("Cast", q, to=TensorProto.UINT8), YS))
    c.write("clipped-bytes", c.op("MaxPool", x, kernel_shape=[2, 2]))
    # PyTorch's Linear: weights are dequantised, then transposed; and weights that are dequantised flat, then shaped.
    for per_channel in (False, True):
        suffix = "channels" if per_channel else "tensor"
        draw = lambda n: c.const(2.0 ** RANDOM.integers(-8, -5, n)) if per_channel else c.const(2.0**-7)
        zeros = lambda n: c.const(np.zeros(n) if per_channel else 0, np.int8)
        c = Case([3, 20])
        w = c.const(RANDOM.integers(-127, 128, (7, 20)), np.int8)
        w = c.op("DequantizeLinear", w, draw(7), zeros(7), axis=0)
        c.write(f"turned-weights-{suffix}", c.op("MatMul", c.x, c.op("Transpose", w, perm=[1, 0])))
        c = Case(X)
        w = c.const(RANDOM.integers(-127, 128, (9, 54)), np.int8)
        w = c.op("DequantizeLinear", w, draw(9), zeros(9), axis=0)
        w = c.op("Reshape", w, c.const([9, 6, 3, 3], np.int64))
        c.write(f"shaped-weights-{suffix}", c.op("Conv", c.x, w))
    # Dynamic quantisation, as ONNX Runtime's quantize_dynamic writes it: the range of the input is of each run.
    for dtype, zero in [(np.int8, 0), (np.uint8, 131)]:
        suffix = "s8" if dtype == np.int8 else "u8"
        for kind, shape, counts in [("ConvInteger", X, (9, 6, 3, 3)), ("MatMulInteger", [3, 20], (20, 7))]:
            c = Case(shape)
            # ONNX Runtime adds pairs of products with signed weights in 16 bits on some processors: 7 bits fit.
            low, high = (-64, 64) if dtype == np.int8 else (0, 256)
            q, scale, offset = c.op("DynamicQuantizeLinear", c.x, outputs=3)
            w = c.const(RANDOM.integers(low, high, counts), dtype)
            sums = c.op("Cast", c.op(kind, q, w, offset, c.const(zero, dtype)), to=TensorProto.FLOAT)
            c.write(f"dynamic-{kind.lower()}-{suffix}", c.op("Mul", sums, c.op("Mul", scale, c.const(2.0**-7))))


if __name__ == "__main__":
    main()
