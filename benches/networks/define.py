"""Small forms of published networks, operator by operator as PyTorch exports them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 96


class Net:
    """Nodes and random weights, put together in order."""

    def __init__(self, seed: int, opset: int = 17):
        self.random = np.random.default_rng(seed)
        self.nodes, self.consts, self.opset, self.count = [], [], opset, 0

    def const(self, value, dtype=np.float32) -> str:
        self.count += 1
        name = f"c{self.count}"
        self.consts.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes):
        self.count += 1
        names = [f"{kind.lower()}{self.count}{'' if outputs == 1 else f'.{i}'}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, channels, out, k=3, stride=1, groups=1, bias=True, pad=None) -> str:
        fan = channels // groups * k * k
        w = self.random.normal(0, (1.7 / fan) ** 0.5, (out, channels // groups, k, k))
        inputs = [x, self.const(w)] + ([self.const(self.random.normal(0, 0.1, out))] if bias else [])
        pad = k // 2 if pad is None else pad
        return self.op(
            "Conv", *inputs, kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4, group=groups, dilations=[1, 1]
        )

    def bn(self, x, c) -> str:
        draw = self.random.uniform
        parts = [draw(0.8, 1.2, c), draw(-0.1, 0.1, c), draw(-0.1, 0.1, c), draw(0.8, 1.2, c)]
        return self.op("BatchNormalization", x, *[self.const(p) for p in parts], epsilon=1e-5)

    def cbr(self, x, c, out, k=3, stride=1, groups=1, act="Relu") -> str:
        x = self.bn(self.conv(x, c, out, k, stride, groups, bias=False), out)
        return self.act(x, act)

    def act(self, x, kind) -> str:
        match kind:
            case None:
                return x
            case "Silu":
                return self.op("Mul", x, self.op("Sigmoid", x))
            case "Gelu":
                erf = self.op("Erf", self.op("Div", x, self.const(2**0.5)))
                half = self.op("Mul", x, self.op("Add", erf, self.const(1.0)))
                return self.op("Mul", half, self.const(0.5))
            case "Relu6":
                return self.op("Clip", x, self.const(0.0), self.const(6.0))
            case _:
                return self.op(kind, x)

    def linear(self, x, k, n) -> str:
        w = self.const(self.random.normal(0, (1 / k) ** 0.5, (k, n)))
        return self.op("Add", self.op("MatMul", x, w), self.const(self.random.normal(0, 0.1, n)))

    def norm(self, x, c) -> str:
        draw = self.random.uniform
        return self.op("LayerNormalization", x, self.const(draw(0.8, 1.2, c)), self.const(draw(-0.1, 0.1, c)), axis=-1)

    def reshape(self, x, *shape) -> str:
        return self.op("Reshape", x, self.const(list(shape), np.int64))

    def transpose(self, x, *perm) -> str:
        return self.op("Transpose", x, perm=list(perm))

    def split(self, x, sizes, axis=1) -> list[str]:
        return self.op("Split", x, self.const(sizes, np.int64), outputs=len(sizes), axis=axis)

    def slice(self, x, start, end, axis) -> str:
        return self.op("Slice", x, *[self.const([v], np.int64) for v in (start, end, axis, 1)])

    def head(self, x, c, classes=100) -> str:
        x = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        w = self.random.normal(0, (1 / c) ** 0.5, (classes, c))
        return self.op("Gemm", x, self.const(w), self.const(self.random.normal(0, 0.1, classes)), transB=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        ys = [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in outputs]
        graph = helper.make_graph(self.nodes, "g", [x], ys, self.consts)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def squeezenet():
    n = Net(1)
    x = n.op("Relu", n.conv("x", 3, 32, 3, 2))
    pool = lambda x: n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    c = 32
    x = pool(x)
    for squeeze, expand, pooled in [(8, 32, False), (8, 32, True), (16, 64, False), (16, 64, True), (24, 96, False)]:
        s = n.op("Relu", n.conv(x, c, squeeze, 1))
        a, b = n.op("Relu", n.conv(s, squeeze, expand, 1)), n.op("Relu", n.conv(s, squeeze, expand, 3))
        x, c = n.op("Concat", a, b, axis=1), 2 * expand
        x = pool(x) if pooled else x
    x = n.op("Relu", n.conv(x, c, 100, 1))
    return n.model(n.op("Flatten", n.op("GlobalAveragePool", x), axis=1))


def mobilenetv3():
    n = Net(2)
    x = n.cbr("x", 3, 16, 3, 2, act="HardSwish")
    c = 16
    rows = [(3, 16, 16, True, "Relu", 2), (3, 72, 24, False, "Relu", 2), (3, 88, 24, False, "Relu", 1),
            (5, 96, 40, True, "HardSwish", 2), (5, 240, 40, True, "HardSwish", 1), (5, 120, 48, True, "HardSwish", 1)]
    for k, wide, out, se, act, stride in rows:
        y = n.cbr(x, c, wide, 1, act=act) if wide != c else x
        y = n.cbr(y, wide, wide, k, stride, wide, act=act)
        if se:
            s = n.op("GlobalAveragePool", y)
            s = n.op("Relu", n.conv(s, wide, wide // 4, 1))
            s = n.op("HardSigmoid", n.conv(s, wide // 4, wide, 1), alpha=1 / 6)
            y = n.op("Mul", y, s)
        y = n.cbr(y, wide, out, 1, act=None)
        x, c = (n.op("Add", x, y) if stride == 1 and c == out else y), out
    x = n.cbr(x, c, 288, 1, act="HardSwish")
    return n.model(n.head(x, 288))


def shufflenetv2():
    n = Net(3)

    def shuffle(x, c, s):
        x = n.transpose(n.reshape(x, 1, 2, c // 2, s, s), 0, 2, 1, 3, 4)
        return n.reshape(x, 1, c, s, s)

    x = n.cbr("x", 3, 24, 3, 2)
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    c, s = 24, SIDE // 4
    for out, repeats in [(48, 3), (96, 5), (192, 3)]:
        half, s = out // 2, s // 2
        a = n.cbr(n.cbr(x, c, c, 3, 2, c, act=None), c, half, 1)
        b = n.cbr(n.cbr(n.cbr(x, c, half, 1), half, half, 3, 2, half, act=None), half, half, 1)
        x = shuffle(n.op("Concat", a, b, axis=1), out, s)
        for _ in range(repeats):
            a, b = n.split(x, [half, half])
            b = n.cbr(n.cbr(n.cbr(b, half, half, 1), half, half, 3, 1, half, act=None), half, half, 1)
            x = shuffle(n.op("Concat", a, b, axis=1), out, s)
        c = out
    x = n.cbr(x, c, 256, 1)
    x = n.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    w = n.random.normal(0, (1 / 256) ** 0.5, (100, 256))
    return n.model(n.op("Gemm", x, n.const(w), n.const(n.random.normal(0, 0.1, 100)), transB=1))


def ghostnet():
    n = Net(4)

    def ghost(x, c, out, act):
        half = out // 2
        a = n.cbr(x, c, half, 1, act=act)
        b = n.cbr(a, half, half, 3, 1, half, act=act)
        x = n.op("Concat", a, b, axis=1)
        return n.slice(x, 0, out, 1)

    x, c = n.cbr("x", 3, 16, 3, 2), 16
    for wide, out, k, stride, se in [(16, 16, 3, 1, False), (48, 24, 3, 2, False), (72, 24, 3, 1, False),
                                     (72, 40, 5, 2, True), (120, 40, 5, 1, True), (240, 80, 3, 2, False)]:
        y = ghost(x, c, wide, "Relu")
        if stride > 1:
            y = n.bn(n.conv(y, wide, wide, k, stride, wide, bias=False), wide)
        if se:
            s = n.op("ReduceMean", y, axes=[2, 3], keepdims=1)
            s = n.op("Relu", n.conv(s, wide, wide // 4, 1))
            y = n.op("Mul", y, n.op("HardSigmoid", n.conv(s, wide // 4, wide, 1), alpha=1 / 6))
        y = ghost(y, wide, out, None)
        if stride == 1 and c == out:
            skip = x
        else:
            skip = n.bn(n.conv(x, c, c, k, stride, c, bias=False), c)
            skip = n.bn(n.conv(skip, c, out, 1, bias=False), out)
        x, c = n.op("Add", y, skip), out
    x = n.cbr(x, c, 160, 1)
    return n.model(n.head(x, 160))


def densenet():
    n = Net(5)
    x = n.cbr("x", 3, 32, 7, 2)
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    c = 32
    for layers, last in [(3, False), (4, False), (4, True)]:
        for _ in range(layers):
            y = n.op("Relu", n.bn(x, c))
            y = n.cbr(y, c, 64, 1)
            y = n.conv(y, 64, 16, 3, bias=False)
            x, c = n.op("Concat", x, y, axis=1), c + 16
        x = n.op("Relu", n.bn(x, c))
        if not last:
            x = n.conv(x, c, c // 2, 1, bias=False)
            x, c = n.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), c // 2
    return n.model(n.head(x, c))


def convnext():
    n = Net(6)

    def norm2d(x, c):
        return n.transpose(n.norm(n.transpose(x, 0, 2, 3, 1), c), 0, 3, 1, 2)

    x, c = norm2d(n.conv("x", 3, 32, 4, 4, pad=0), 32), 32
    for out, blocks in [(32, 2), (64, 3), (128, 2)]:
        if out != c:
            x, c = n.conv(norm2d(x, c), c, out, 2, 2, pad=0), out
        for _ in range(blocks):
            y = n.transpose(n.conv(x, c, c, 7, 1, c), 0, 2, 3, 1)
            y = n.act(n.linear(n.norm(y, c), c, 4 * c), "Gelu")
            y = n.op("Mul", n.linear(y, 4 * c, c), n.const(n.random.uniform(0.2, 0.6, c)))
            x = n.op("Add", x, n.transpose(y, 0, 3, 1, 2))
    x = n.op("GlobalAveragePool", x)
    x = n.op("Flatten", n.transpose(n.norm(n.transpose(x, 0, 2, 3, 1), c), 0, 3, 1, 2), axis=1)
    w = n.random.normal(0, (1 / c) ** 0.5, (100, c))
    return n.model(n.op("Gemm", x, n.const(w), n.const(n.random.normal(0, 0.1, 100)), transB=1))


def mobilevit():
    n = Net(7)

    def inverted(x, c, out, stride):
        y = n.cbr(n.cbr(x, c, 2 * c, 1, act="Silu"), 2 * c, 2 * c, 3, stride, 2 * c, act="Silu")
        y = n.cbr(y, 2 * c, out, 1, act=None)
        return n.op("Add", x, y) if stride == 1 and c == out else y

    def attention(x, tokens, d, heads):
        each = d // heads
        y = n.norm(x, d)
        qkv = n.reshape(n.linear(y, d, 3 * d), 4, tokens, 3, heads, each)
        qkv = n.transpose(qkv, 2, 0, 3, 1, 4)
        q, k, v = [n.op("Gather", qkv, n.const(i, np.int64), axis=0) for i in range(3)]
        s = n.op("MatMul", n.op("Mul", q, n.const(each**-0.5)), n.transpose(k, 0, 1, 3, 2))
        y = n.op("MatMul", n.op("Softmax", s, axis=-1), v)
        y = n.linear(n.reshape(n.transpose(y, 0, 2, 1, 3), 4, tokens, d), d, d)
        x = n.op("Add", x, y)
        y = n.linear(n.act(n.linear(n.norm(x, d), d, 2 * d), "Silu"), 2 * d, d)
        return n.op("Add", x, y)

    def block(x, c, d, s, layers):
        y = n.conv(n.cbr(x, c, c, 3, act="Silu"), c, d, 1, bias=False)
        y = n.transpose(n.reshape(y, d * s // 2, 2, s // 2, 2), 0, 2, 1, 3)
        y = n.transpose(n.reshape(y, 1, d, s * s // 4, 4), 0, 3, 2, 1)
        y = n.reshape(y, 4, s * s // 4, d)
        for _ in range(layers):
            y = attention(y, s * s // 4, d, 4)
        y = n.transpose(n.reshape(n.norm(y, d), 1, 4, s * s // 4, d), 0, 3, 2, 1)
        y = n.transpose(n.reshape(y, d * s // 2, s // 2, 2, 2), 0, 2, 1, 3)
        y = n.cbr(n.reshape(y, 1, d, s, s), d, c, 1, act="Silu")
        return n.cbr(n.op("Concat", x, y, axis=1), 2 * c, c, 3, act="Silu")

    x = n.cbr("x", 3, 16, 3, 2, act="Silu")
    x = inverted(inverted(x, 16, 24, 2), 24, 24, 1)
    x = block(inverted(x, 24, 48, 2), 48, 64, SIDE // 8, 2)
    x = block(inverted(x, 48, 64, 2), 64, 80, SIDE // 16, 2)
    return n.model(n.head(n.cbr(x, 64, 256, 1, act="Silu"), 256))


def yolov8n():
    n = Net(8)
    cbs = lambda x, c, out, k=3, s=1: n.cbr(x, c, out, k, s, act="Silu")

    def c2f(x, c, out, repeats, add):
        half = out // 2
        parts = n.split(cbs(x, c, out, 1), [half, half])
        for _ in range(repeats):
            y = cbs(cbs(parts[-1], half, half), half, half)
            parts.append(n.op("Add", parts[-1], y) if add else y)
        return cbs(n.op("Concat", *parts, axis=1), half * len(parts), out, 1)

    def up(x):
        none, scales = n.const([]), n.const([1, 1, 2, 2])
        return n.op("Resize", x, none, scales, mode="nearest", nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric")

    x = cbs(cbs("x", 3, 16, 3, 2), 16, 32, 3, 2)
    x = c2f(x, 32, 32, 1, True)
    p3 = c2f(cbs(x, 32, 64, 3, 2), 64, 64, 2, True)
    p4 = c2f(cbs(p3, 64, 96, 3, 2), 96, 96, 2, True)
    p5 = c2f(cbs(p4, 96, 128, 3, 2), 128, 128, 1, True)
    x = cbs(p5, 128, 64, 1)
    pools = [x]
    for _ in range(3):
        pools.append(n.op("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
    p5 = cbs(n.op("Concat", *pools, axis=1), 256, 128, 1)
    n4 = c2f(n.op("Concat", up(p5), p4, axis=1), 224, 96, 1, False)
    n3 = c2f(n.op("Concat", up(n4), p3, axis=1), 160, 64, 1, False)
    n4 = c2f(n.op("Concat", cbs(n3, 64, 64, 3, 2), n4, axis=1), 160, 96, 1, False)
    n5 = c2f(n.op("Concat", cbs(n4, 96, 96, 3, 2), p5, axis=1), 224, 128, 1, False)
    outs = [n.conv(cbs(p, c, 32), 32, 84, 1) for p, c in ((n3, 64), (n4, 96), (n5, 128))]
    return n.model(*outs)


def segment():
    """An encoder and decoder: transposed convolutions, PRelu, bilinear resizing, depth to space."""
    n = Net(9)
    a = n.cbr("x", 3, 24, 3, 2)
    b = n.cbr(a, 24, 48, 3, 2)
    b = n.op("PRelu", n.conv(b, 48, 48), n.const(n.random.uniform(0.1, 0.3, (48, 1, 1))))
    w = n.random.normal(0, (1.7 / 48) ** 0.5, (48, 24, 2, 2))
    up = n.op("ConvTranspose", b, n.const(w), n.const(n.random.normal(0, 0.1, 24)), kernel_shape=[2, 2], strides=[2, 2])
    x = n.cbr(n.op("Concat", up, a, axis=1), 48, 24)
    wide = n.op("DepthToSpace", n.conv(x, 24, 16, 1), blocksize=2, mode="CRD")
    big = n.op("Resize", n.conv(x, 24, 4, 1), n.const([]), n.const([1, 1, 2, 2]), mode="linear",
               coordinate_transformation_mode="half_pixel")
    return n.model(n.conv(n.op("Concat", wide, big, axis=1), 8, 5, 1))


NETWORKS = {
    "squeezenet": squeezenet,
    "mobilenetv3": mobilenetv3,
    "shufflenetv2": shufflenetv2,
    "ghostnet": ghostnet,
    "densenet": densenet,
    "convnext": convnext,
    "mobilevit": mobilevit,
    "yolov8n": yolov8n,
    "segment": segment,
}
