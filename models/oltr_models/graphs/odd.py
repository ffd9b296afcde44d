"""A network of unusual shapes and operators, none of which a runtime may take for granted.

Odd sizes and channel counts, asymmetric padding, dilation, grouped convolutions that are
not depthwise, depthwise ones with a multiplier, every kind of pooling, gates, and a detour
through `Transpose` and `MatMul`.
"""

import numpy as np

from .backbones import ACTIVE, relu6
from .builder import GraphBuilder
from .head import plain_classifier


def odd_network(graph: GraphBuilder, pixels: str) -> None:
    """Makes `features` and `logits` from `[1, 3, 37, 53]`."""
    x = graph.conv("entry.conv", pixels, 17, (5, 3), stride=(2, 1), pads=(1, 0, 2, 1), shift=ACTIVE)
    x = graph.node("LeakyRelu", "entry.leaky", x, alpha=0.1)
    x = graph.node(
        "MaxPool", "entry.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0], ceil_mode=1
    )
    x = _gated_pair(graph, x)
    x = _grouped(graph, x)
    x = _pooled_pair(graph, x)
    x = _channel_gate(graph, x)
    x = _through_matmul(graph, x)

    x = graph.conv("exit.multiplier", x, 2 * graph.shape(x)[1], 3, stride=2, group=graph.shape(x)[1], shift=ACTIVE)
    x = relu6(graph, "exit", x)
    x = graph.conv("exit.conv", x, 33, 1, shift=ACTIVE)
    x = graph.node("Relu", "exit.relu", x)
    features = graph.node("GlobalAveragePool", "exit.pool", x)
    features = graph.node("Flatten", "exit.flat", features, axis=1, output="features")
    plain_classifier(graph, features, 11)


def _gated_pair(graph: GraphBuilder, x: str) -> str:
    """A dilated branch times a sigmoid gate."""
    wide = graph.conv("gate.dilated", x, 33, 3, dilation=2)
    wide = graph.node("HardSwish", "gate.hardswish", wide)
    gate = graph.conv("gate.depthwise", x, graph.shape(x)[1], 3, group=graph.shape(x)[1])
    gate = graph.node("Sigmoid", "gate.sigmoid", graph.conv("gate.conv", gate, 33, 1))
    return graph.node("Mul", "gate.mul", wide, gate)


def _grouped(graph: GraphBuilder, x: str) -> str:
    """Three groups, then a strided 5×5 depthwise layer with uneven padding, with ReLU6."""
    x = graph.conv("group.conv", x, 15, 3, group=3, pads=(1, 0, 1, 2), shift=ACTIVE)
    x = graph.node("Relu", "group.relu", x)
    x = graph.conv("group.depthwise", x, 15, 5, stride=2, group=15, pads=(2, 1, 1, 2), shift=ACTIVE)
    return relu6(graph, "group", x)


def _pooled_pair(graph: GraphBuilder, x: str) -> str:
    """Average pools that count the padding and that do not, side by side with a 1×1 branch."""
    window = dict(kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    excluded = graph.node("AveragePool", "pools.excluded", x, count_include_pad=0, **window)
    included = graph.node("AveragePool", "pools.included", x, count_include_pad=1, **window)
    narrow = graph.conv("pools.conv", x, 5, 1)
    return graph.node("Concat", "pools.concat", excluded, narrow, included, axis=1)


def _channel_gate(graph: GraphBuilder, x: str) -> str:
    """Squeeze and excitation with a hard sigmoid, then a depthwise 5×5 layer and a residual."""
    channels = graph.shape(x)[1]
    gate = graph.node("GlobalAveragePool", "excite.pool", x)
    gate = graph.node("Relu", "excite.relu", graph.conv("excite.reduce", gate, 7, 1, shift=ACTIVE))
    gate = graph.conv("excite.expand", gate, channels, 1)
    gate = graph.node("HardSigmoid", "excite.hardsigmoid", gate, alpha=1.0 / 6.0, beta=0.5)
    x = graph.node("Mul", "excite.mul", x, gate)
    y = graph.conv("excite.depthwise", x, channels, 5, group=channels)
    return graph.node("Add", "excite.add", x, y)


def _through_matmul(graph: GraphBuilder, x: str) -> str:
    """A 1×1 convolution in disguise: positions as rows of a matrix product."""
    _, channels, height, width = graph.shape(x)
    flat = graph.constant("rows.flat.shape", np.array([1, channels, height * width], dtype=np.int64))
    rows = graph.node("Transpose", "rows.t", graph.node("Reshape", "rows.flat", x, flat), perm=[0, 2, 1])
    rows = graph.matmul("rows.fc", rows, 21)
    rows = graph.node("Transpose", "rows.back.t", rows, perm=[0, 2, 1])
    back = graph.constant("rows.back.shape", np.array([1, 21, height, width], dtype=np.int64))
    return graph.node("Reshape", "rows.back", rows, back)
