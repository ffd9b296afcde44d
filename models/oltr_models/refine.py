"""Changes to a float graph that cost it nothing and make its int8 form better.

Bias correction: rounding a layer's weights shifts its mean output by the rounding errors times the
mean input. Behind a ReLU6 the mean input is large, so the shift is systematic, and the bias can take
it back before anything is quantised.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def mean_inputs(model: onnx.ModelProto, tensors: list[str], images: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """The mean of each channel of some tensors `[1, C, ...]` over the images and positions."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inner = [t for t in tensors if t != INPUT]
    probe.graph.output.extend(onnx.ValueInfoProto(name=t) for t in inner)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    sums = {t: 0.0 for t in tensors}
    count = 0
    for image in images:
        values = dict(zip(inner, session.run(inner, {INPUT: image[None]})), **{INPUT: image[None]})
        for tensor in tensors:
            value = values[tensor].astype(np.float64)
            sums[tensor] = sums[tensor] + value.mean(axis=(0, *range(2, value.ndim)))
        count += 1
    return {t: s / count for t, s in sums.items()}
