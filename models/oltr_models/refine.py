"""Changes to a float graph that cost it nothing and make its int8 form better.

Bias correction: rounding a layer's weights shifts its mean output by the rounding errors times the
mean input. Behind a ReLU6 the mean input is large, so the shift is systematic, and the bias can take
it back before anything is quantised.

Cross-layer equalisation: a channel between two convolutions may be scaled by any positive number if
the second one's weights for it are divided by the same. All channels of a tensor share one scale of
bytes, so channels that use little of its range are spread over it. ReLU6 clips at 6 whatever the scale:
a channel is only spread as far as its largest value on the calibration photos stays below that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from .graph import INPUT

INT8_LARGEST = 127


def rounded(weight: np.ndarray) -> np.ndarray:
    """`weight` as its int8 form stands for: symmetric, one scale for each output channel."""
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = np.where(largest > 0, largest / INT8_LARGEST, 1.0).reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / scale), -INT8_LARGEST, INT8_LARGEST) * scale


def correct_biases(model: onnx.ModelProto, images: Iterable[np.ndarray], nodes: set[str]) -> None:
    """Adjusts the biases of the convolutions and fully connected layers in `nodes`, in place."""
    initializers = {i.name: i for i in model.graph.initializer}
    layers = [n for n in model.graph.node if n.name in nodes and n.op_type in ("Conv", "Gemm")
              and len(n.input) == 3 and all(i in initializers for i in n.input[1:])]
    means = mean_inputs(model, sorted({n.input[0] for n in layers}), images)
    for node in layers:
        weight, bias = (numpy_helper.to_array(initializers[i]).astype(np.float64) for i in node.input[1:])
        error = rounded(weight) - weight
        if error.ndim > 2:
            error = error.sum(axis=tuple(range(2, error.ndim)))  # [outputs, inputs of its group]
        groups = len(means[node.input[0]]) // error.shape[1]
        inputs = means[node.input[0]].reshape(groups, -1)
        shift = np.einsum("goi,gi->go", error.reshape(groups, -1, error.shape[1]), inputs).ravel()
        initializers[node.input[2]].CopyFrom(numpy_helper.from_array((bias - shift).astype(np.float32), node.input[2]))


LARGEST_SPREAD = 8.0  # a channel that hardly speaks is left mostly alone
CLIP = 6.0  # of ReLU6


def equalise(model: onnx.ModelProto, images: Iterable[np.ndarray]) -> int:
    """Spreads the channels between convolutions that only a ReLU6 separates, in place; returns how many pairs.

    Into a depthwise convolution, whose weights have a scale of their own for each channel, nothing is
    lost by it. Other second convolutions share a scale among their input channels: there the geometric
    mean of both ranges is the balance.
    """
    initializers = {i.name: i for i in model.graph.initializer}
    pairs = _separated_by_clip(model, initializers)
    largest = channel_statistic(model, sorted({clip for _, clip, _ in pairs}), images, np.max)
    for first, clip, second in pairs:
        weight, bias = (numpy_helper.to_array(initializers[i]) for i in first.input[1:])
        following = numpy_helper.to_array(initializers[second.input[1]])
        peak = np.maximum(largest[clip], 1e-6)
        limit = np.clip(CLIP / peak, 1.0, LARGEST_SPREAD)
        depthwise = following.shape[1] == 1
        if depthwise:
            spread = limit
        else:
            reach = np.abs(following).reshape(len(following), len(peak), -1).max((0, 2))
            spread = np.clip(np.sqrt(np.maximum(reach, 1e-6) / reach.max() * CLIP / peak), 1.0, limit)
        across = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
        for name, value in ((first.input[1], weight * spread[:, None, None, None]), (first.input[2], bias * spread),
                            (second.input[1], following / spread.reshape(across))):
            initializers[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return len(pairs)


def _separated_by_clip(model: onnx.ModelProto, initializers: dict) -> list[tuple[onnx.NodeProto, str, onnx.NodeProto]]:
    """`(convolution, output of its Clip, convolution)` where nothing else reads what is between."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node)
    pairs = []
    for first in model.graph.node:
        if first.op_type != "Conv" or len(first.input) != 3:
            continue
        clips = readers.get(first.output[0], [])
        if len(clips) != 1 or clips[0].op_type != "Clip":
            continue
        after = readers.get(clips[0].output[0], [])
        if len(after) == 1 and after[0].op_type == "Conv" and after[0].input[1] in initializers:
            pairs.append((first, clips[0].output[0], after[0]))
    return pairs


def mean_inputs(model: onnx.ModelProto, tensors: list[str], images: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """The mean of each channel of some tensors `[1, C, ...]` over the images and positions."""
    return channel_statistic(model, tensors, images, np.mean)


def channel_statistic(model: onnx.ModelProto, tensors: list[str], images: Iterable[np.ndarray],
                      statistic: Callable) -> dict[str, np.ndarray]:
    """`statistic` (`np.mean` or `np.max`) of each channel of tensors `[1, C, ...]` over images and positions."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inner = [t for t in tensors if t != INPUT]
    probe.graph.output.extend(onnx.ValueInfoProto(name=t) for t in inner)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    kept: dict[str, list[np.ndarray]] = {t: [] for t in tensors}
    for image in images:
        values = dict(zip(inner, session.run(inner, {INPUT: image[None]})), **{INPUT: image[None]})
        for tensor in tensors:
            value = values[tensor].astype(np.float64)
            kept[tensor].append(statistic(value, axis=(0, *range(2, value.ndim))))
    return {t: statistic(np.stack(rows), axis=0) for t, rows in kept.items()}
