"""A float ONNX graph of a trained network, node by node.

Written with `onnx.helper` rather than traced, so that each node and tensor carries the network's
own term (`backbone.block3.expand`, `attention.affinity`, `head.hallucinator`), shapes are fixed for
batch 1, and the operators are the plain ones that any runtime has.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from .attention import ModulatedAttention
from .backbone import InvertedResidual, Lite, SameConv
from .head import COSINE_SCALE, EPSILON, REACHABILITY, OpenHead
from .network import RADIUS, Oltr

OPSET = 17
IR_VERSION = 8
INPUT = "image"
OUTPUTS = ("logits", "distances", "features")
ATTENTION = "attention"  # a further output of networks that have one: the map MA, float [1, 1, H, W], sums to 1


class GraphBuilder:
    """Nodes and initializers under construction; every node is named after its output tensor."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray | torch.Tensor) -> str:
        """An initializer: float32, or int64 where integers are given (shapes, axes)."""
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        dtype = np.int64 if np.issubdtype(value.dtype, np.integer) else np.float32
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes) -> str:
        """One node; returns the name of its only output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def reshape(self, x: str, shape: list[int], output: str) -> str:
        """A Reshape to a fixed shape."""
        return self.node("Reshape", [x, self.constant(output + ".shape", np.array(shape))], output)

    def gemm(self, x: str, layer: torch.nn.Linear, output: str) -> str:
        """A linear layer; the weight keeps its `[outputs, inputs]` layout (transB)."""
        weight = self.constant(output + ".weight", layer.weight)
        bias = self.constant(output + ".bias", layer.bias)
        return self.node("Gemm", [x, weight, bias], output, transB=1)


class LiteGraph:
    """Writes the convolutions of a `Lite`; keeps track of the map's size for SAME padding."""

    def __init__(self, graph: GraphBuilder, size: int):
        self.graph = graph
        self.size = size
        self.bounds = [graph.constant("relu6.min", np.array(0.0)), graph.constant("relu6.max", np.array(6.0))]

    def conv(self, x: str, layer: SameConv, name: str) -> str:
        """A convolution with explicit padding, and its ReLU6 as a Clip."""
        inputs = [x, self.graph.constant(name + ".weight", layer.weight), self.graph.constant(name + ".bias", layer.bias)]
        pads = layer.pads(self.size, self.size)
        y = self.graph.node("Conv", inputs, name, kernel_shape=list(layer.kernel_size), strides=list(layer.stride),
                            pads=list(pads), group=layer.groups, dilations=[1, 1])
        self.size = -(-self.size // layer.stride[0])
        return self.graph.node("Clip", [y, *self.bounds], name + ".relu6") if layer.relu6 else y

    def block(self, x: str, block: InvertedResidual, name: str) -> str:
        """One inverted residual block."""
        y = self.conv(x, block.expand, name + ".expand") if block.expand is not None else x
        y = self.conv(y, block.depthwise, name + ".depthwise")
        y = self.conv(y, block.project, name + ".project")
        return self.graph.node("Add", [x, y], name + ".shortcut") if block.shortcut else y

    def blocks(self, x: str, net: Lite) -> str:
        """Stem and blocks, up to the map under the attention."""
        x = self.conv(x, net.stem, "backbone.stem")
        for index, block in enumerate(net.blocks):
            x = self.block(x, block, f"backbone.block{index}")
        return x


def write_attention(graph: GraphBuilder, f: str, layer: ModulatedAttention) -> str:
    """Modulated attention on `f [1, C, H, W]`, with the two mixing products as `[N, N]` matrices."""
    channels, inner = layer.theta.in_channels, layer.theta.out_channels
    height, width = layer.height, layer.width
    positions = height * width

    def projected(conv: torch.nn.Conv2d, name: str) -> str:
        inputs = [f, graph.constant(name + ".weight", conv.weight), graph.constant(name + ".bias", conv.bias)]
        y = graph.node("Conv", inputs, name, kernel_shape=[1, 1])
        return graph.reshape(y, [1, inner, positions], name + ".flat")

    theta, phi, g = (projected(getattr(layer, n), "attention." + n) for n in ("theta", "phi", "g"))
    theta = graph.node("Transpose", [theta], "attention.theta.rows", perm=[0, 2, 1])
    affinity = graph.node("MatMul", [theta, phi], "attention.affinity")
    affinity = graph.node("Softmax", [affinity], "attention.affinity.softmax", axis=2)
    affinity = graph.node("Transpose", [affinity], "attention.affinity.columns", perm=[0, 2, 1])
    mixed = graph.node("MatMul", [g, affinity], "attention.mixed")  # (A g')' = g A'
    mixed = graph.reshape(mixed, [1, inner, height, width], "attention.mixed.map")
    weight = graph.constant("attention.mask.weight", layer.mask.weight)
    mask = graph.node("Conv", [mixed, weight], "attention.mask", kernel_shape=[1, 1])

    flat = graph.reshape(f, [1, channels * positions], "attention.flat")
    spatial = graph.gemm(flat, layer.spatial, "attention.spatial")
    spatial = graph.node("Softmax", [spatial], "attention.spatial.softmax", axis=1)
    spatial = graph.reshape(spatial, [1, 1, height, width], "attention.spatial.map")
    # The output is a node of its own: what it hands out stays float where the graph is quantised.
    graph.reshape("attention.spatial.softmax", [1, 1, height, width], ATTENTION)
    return graph.node("Add", [f, graph.node("Mul", [mask, spatial], "attention.modulated")], "attention.attended")


def write_norm(graph: GraphBuilder, x: str, axes: str, name: str) -> str:
    """The length of the row vector `x [1, D]`, as `[1, 1]`."""
    square = graph.node("Mul", [x, x], name + ".elements")
    return graph.node("Sqrt", [graph.node("ReduceSum", [square, axes], name + ".square", keepdims=1)], name)


def write_direct_feature(graph: GraphBuilder, pooled: str, fc: torch.nn.Linear) -> str:
    """The fully connected layer and the scaling to the sphere; writes the output `features`."""
    z = graph.gemm(pooled, fc, "direct.fc")
    norm = write_norm(graph, z, graph.constant("direct.axes", np.array([1])), "direct.norm")
    norm = graph.node("Add", [norm, graph.constant("direct.epsilon", np.array(EPSILON, np.float32))], "direct.norm.positive")
    unit = graph.node("Div", [z, norm], "direct.unit")
    return graph.node("Mul", [unit, graph.constant("direct.radius", np.array(RADIUS, np.float32))], "features")


def write_head(graph: GraphBuilder, v: str, head: OpenHead) -> None:
    """The open-world head on `v [1, D]`; writes the outputs `distances` and `logits`."""
    centroids = graph.constant("head.centroids", head.centroids)
    last = graph.constant("head.last_axis", np.array([1]))

    difference = graph.node("Sub", [v, centroids], "head.difference")  # [K, D]
    square = graph.node("Mul", [difference, difference], "head.difference.square")
    square = graph.node("ReduceSum", [square, last], "head.distance.square", keepdims=0)
    distance = graph.node("Sqrt", [square], "head.distance")
    distances = graph.reshape(distance, [1, head.centroids.shape[0]], "distances")
    d_min = graph.node("ReduceMin", [distances], "head.d_min", axes=[1], keepdims=1)

    hallucinated = graph.gemm(v, head.hallucinator, "head.hallucinator")
    hallucinated = graph.node("Softmax", [hallucinated], "head.hallucinator.softmax", axis=1)
    memory = graph.node("MatMul", [hallucinated, centroids], "head.memory")
    selector = graph.node("Tanh", [graph.gemm(v, head.selector, "head.selector")], "head.selector.tanh")
    u = graph.node("Add", [v, graph.node("Mul", [selector, memory], "head.selected")], "head.meta")

    norm = write_norm(graph, u, last, "head.meta.norm")
    inverse = graph.constant("head.inverse_reachability", np.array(1 / REACHABILITY, np.float32))
    epsilon = graph.constant("head.epsilon", np.array(EPSILON, np.float32))
    scale = graph.node("Mul", [d_min, inverse], "head.reachability.inverse")
    scale = graph.node("Add", [scale, norm], "head.scale")
    scale = graph.node("Add", [scale, epsilon], "head.scale.positive")
    x = graph.node("Div", [u, scale], "head.squashed")
    weight = torch.nn.functional.normalize(head.weight).T * COSINE_SCALE
    graph.node("MatMul", [x, graph.constant("head.classifier.weight", weight)], "logits")


@torch.no_grad()
def float_graph(net: Oltr) -> onnx.ModelProto:
    """The whole network as an ONNX model with fixed shapes and without metadata."""
    if not (net.head.memory and net.head.reachability):
        raise ValueError("a network without memory or reachability is only for measuring; train without --ablate to export")
    size = net.arch.size
    graph = GraphBuilder()
    backbone = LiteGraph(graph, size)
    f = backbone.blocks(INPUT, net.backbone)
    if net.attention is not None:
        f = write_attention(graph, f, net.attention)
    f = backbone.conv(f, net.backbone.top, "backbone.top")
    pooled = graph.node("GlobalAveragePool", [f], "pooled.map")
    pooled = graph.node("Flatten", [pooled], "pooled", axis=1)
    write_head(graph, write_direct_feature(graph, pooled, net.fc), net.head)
    return finished(graph, size, net.head, net.attention)


def finished(graph: GraphBuilder, size: int, head: OpenHead, attention: ModulatedAttention | None) -> onnx.ModelProto:
    """The checked model of a graph from `image` to the outputs of `head` and `attention`."""
    classes, dim = head.centroids.shape
    shapes = dict(zip(OUTPUTS, ([1, classes], [1, classes], [1, dim])))
    if attention is not None:
        shapes[ATTENTION] = [1, 1, attention.height, attention.width]
    proto = helper.make_graph(
        graph.nodes, "oltr",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        graph.initializers,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="oltr_models")
    model.ir_version = IR_VERSION
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model
