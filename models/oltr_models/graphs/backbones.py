"""Backbones: ResNet-10, and inverted residuals for MobileNetV2 and EfficientNet-Lite."""

from dataclasses import dataclass

import numpy as np

from .builder import GraphBuilder, Pads

# Mean and spread of what enters a rectifier, in standard deviations. With most units active, and
# branches that add little to what they bypass, errors do not grow from layer to layer, just as
# in trained networks.
ACTIVE = 0.8
RESIDUAL = 0.5


@dataclass(frozen=True)
class Stage:
    """`repeats` inverted residual blocks; the first one has the stride."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    repeats: int


MOBILENET_V2 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 3, 2, 32, 3),
    Stage(6, 3, 2, 64, 4),
    Stage(6, 3, 1, 96, 3),
    Stage(6, 3, 2, 160, 3),
    Stage(6, 3, 1, 320, 1),
)
LITE0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


def resnet10(graph: GraphBuilder, image: str, widths: tuple[int, int, int, int]) -> str:
    """ResNet-10 as published with OLTR: one basic block per stage, stride 32 in all."""
    x = graph.conv("stem.conv", image, widths[0], 7, stride=2, shift=ACTIVE)
    x = graph.node("Relu", "stem.relu", x)
    x = graph.node("MaxPool", "stem.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for index, channels in enumerate(widths):
        name, stride = f"layer{index + 1}", 1 if index == 0 else 2
        y = graph.conv(f"{name}.conv1", x, channels, 3, stride=stride, shift=ACTIVE)
        y = graph.node("Relu", f"{name}.relu1", y)
        y = graph.conv(f"{name}.conv2", y, channels, 3, gain=RESIDUAL, shift=ACTIVE)
        if stride == 2:
            x = graph.conv(f"{name}.downsample", x, channels, 1, stride=2)
        x = graph.node("Relu", f"{name}.relu2", graph.node("Add", f"{name}.add", y, x))
    return x


def inverted_residuals(
    graph: GraphBuilder, image: str, stem: int, stages: tuple[Stage, ...], *, same_padding: bool = False
) -> str:
    """A 3×3 stem with stride 2 and inverted residual blocks with ReLU6.

    `same_padding` pads as TensorFlow does (the larger half at the bottom right), which
    EfficientNet-Lite inherits; otherwise padding is symmetric.
    """

    def pads(x: str, kernel: int, stride: int) -> Pads:
        return same_pads(graph.shape(x), kernel, stride) if same_padding else (kernel // 2,) * 4

    x = graph.conv("stem.conv", image, stem, 3, stride=2, pads=pads(image, 3, 2), shift=ACTIVE)
    x = relu6(graph, "stem", x)
    for index, stage in enumerate(stages):
        for repeat in range(stage.repeats):
            name, stride = f"block{index + 1}.{repeat}", stage.stride if repeat == 0 else 1
            inputs = graph.shape(x)[1]
            y = x
            if stage.expansion != 1:
                y = graph.conv(f"{name}.expand", y, inputs * stage.expansion, 1, shift=ACTIVE)
                y = relu6(graph, f"{name}.expand", y)
            width, k = graph.shape(y)[1], stage.kernel
            y = graph.conv(
                f"{name}.depthwise", y, width, k, stride=stride, pads=pads(y, k, stride), group=width, shift=ACTIVE
            )
            y = relu6(graph, f"{name}.depthwise", y)
            y = graph.conv(f"{name}.project", y, stage.channels, 1, gain=RESIDUAL if repeat > 0 else 1.0)
            x = graph.node("Add", f"{name}.add", y, x) if repeat > 0 else y
    return x


def relu6(graph: GraphBuilder, name: str, x: str) -> str:
    """ReLU6 as exporters write it: `Clip` with constant bounds."""
    low = graph.constant(f"{name}.min", np.float32(0.0))
    high = graph.constant(f"{name}.max", np.float32(6.0))
    return graph.node("Clip", f"{name}.relu6", x, low, high)


def same_pads(shape: tuple[int, ...], kernel: int, stride: int) -> Pads:
    """TensorFlow's SAME padding (top, left, bottom, right) for an NCHW shape."""
    totals = []
    for size in shape[2:]:
        outputs = -(-size // stride)
        totals.append(max((outputs - 1) * stride + kernel - size, 0))
    top, left = totals[0] // 2, totals[1] // 2
    return (top, left, totals[0] - top, totals[1] - left)
