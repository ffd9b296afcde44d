"""The ONNX graph of a published network, node by node, in the terms and with the head of `graph.py`."""

from __future__ import annotations

import onnx
import torch

from .graph import INPUT, GraphBuilder, finished, write_attention, write_head
from .published import SIZE, PublishedOltr
from .resnet import Block, ResNet


def _conv(graph: GraphBuilder, x: str, layer: torch.nn.Conv2d, name: str) -> str:
    inputs = [x, graph.constant(name + ".weight", layer.weight), graph.constant(name + ".bias", layer.bias)]
    return graph.node("Conv", inputs, name, kernel_shape=list(layer.kernel_size), strides=list(layer.stride),
                      pads=[*layer.padding, *layer.padding], group=1, dilations=[1, 1])


def _block(graph: GraphBuilder, x: str, block: Block, name: str) -> str:
    y = x
    for index, conv in enumerate(block.convs, start=1):
        y = _conv(graph, y, conv, f"{name}.conv{index}")
        if index < len(block.convs):
            y = graph.node("Relu", [y], f"{name}.relu{index}")
    shortcut = x if block.downsample is None else _conv(graph, x, block.downsample, name + ".downsample")
    return graph.node("Relu", [graph.node("Add", [y, shortcut], name + ".shortcut")], name + ".relu")


def _backbone(graph: GraphBuilder, net: ResNet) -> str:
    x = graph.node("Relu", [_conv(graph, INPUT, net.stem, "backbone.stem")], "backbone.stem.relu")
    x = graph.node("MaxPool", [x], "backbone.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for s, stage in enumerate(net.stages, start=1):
        for b, block in enumerate(stage):
            x = _block(graph, x, block, f"backbone.layer{s}.{b}")
    return x


@torch.no_grad()
def published_graph(net: PublishedOltr) -> onnx.ModelProto:
    """The whole network with its centroids as an ONNX model for one photo, without metadata."""
    graph = GraphBuilder()
    f = _backbone(graph, net.backbone)
    if net.attention is not None:
        f = write_attention(graph, f, net.attention)
    pooled = graph.node("GlobalAveragePool", [f], "pooled.map")
    if net.fc is None:
        v = graph.node("Flatten", [pooled], "features", axis=1)
    else:
        z = graph.gemm(graph.node("Flatten", [pooled], "pooled", axis=1), net.fc, "direct.fc")
        v = graph.node("Relu", [z], "features")
    write_head(graph, v, net.head)
    return finished(graph, SIZE, net.head, net.attention)
