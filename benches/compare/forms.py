"""The same network in the forms that peers take, made once and kept.

plain     the quantised graph without metadata: what every reader of QDQ gets
floating  float: tools of peers that cannot read QDQ quantise it anew, or it stays float
litert    int8 `.tflite` of `floating`
ncnn      `.param` and `.bin` of `floating`, float32
ncnn_int8 the same with int8 weights and activations
"""

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import ncnn_int8
from .graphs import Graph


class Unavailable(Exception):
    """A form cannot be made here, and why."""


class Forms:
    """Forms of one graph, in a folder."""

    def __init__(self, graph: Graph, folder: Path, litert_python: Path | None):
        inputs = b"".join(sample["input"].tobytes() for sample in graph.samples())
        digest = hashlib.sha256(graph.model.read_bytes() + inputs)
        self.graph = graph
        self.stem = folder / f"{graph.name}.{digest.hexdigest()[:8]}"
        self.litert_python = litert_python
        self.failed: dict[str, str] = {}
        """Tools that have failed, and how: they are not tried again."""
        folder.mkdir(parents=True, exist_ok=True)

    def samples(self) -> Path:
        """The inputs of the goldens: arrays `0`, `1`, ..."""
        out = self._path("samples.npz")
        if not out.exists():
            np.savez(out, **{str(i): sample["input"] for i, sample in enumerate(self.graph.samples())})
        return out

    def plain(self) -> Path:
        """A copy without metadata, so that oltr too takes it as a graph with a float input."""
        out = self._path("plain.onnx")
        if not out.exists():
            model = onnx.load(self.graph.model)
            model.ClearField("metadata_props")
            onnx.save(model, out)
        return out

    def floating(self) -> Path:
        """The network in float, with the distances written as pnnx 20261020 reads them rightly.

        It loses the axis of a `ReduceSum` over the last axis of three, but keeps that of a
        `ReduceL2`, and it takes the first axis for the batch, even where that is the classes.
        """
        out = self._path("float.onnx")
        if not out.exists():
            model = dequantised(onnx.load(self.graph.model))
            model.ClearField("metadata_props")
            _norms(model.graph)
            _batched_distances(model.graph)
            onnx.checker.check_model(model)
            onnx.save(model, out)
        return out

    def litert(self) -> Path:
        """By onnx2tf and AI Edge Quantizer, in their own environment."""
        out = self._path("tflite")
        if not out.exists():
            if self.litert_python is None:
                raise Unavailable("no converter: give --litert-python")
            module = [str(self.litert_python), "-m", "compare.to_litert"]
            self._tool("onnx2tf", out, [*module, str(self.floating()), str(self.samples()), str(out)])
        return out

    def ncnn(self) -> Path:
        """By pnnx, in float32; the `.bin` lies beside the `.param`."""
        source = self.floating()
        param, weights = self._path("ncnn.param"), self._path("ncnn.bin")
        if not (param.exists() and weights.exists()):
            # The program itself: the script of its name imports PyTorch, which it does without.
            pnnx = Path(importlib.util.find_spec("pnnx").submodule_search_locations[0]) / "pnnx"
            scratch = self.stem.parent / "pnnx"
            scratch.mkdir(exist_ok=True)
            names = {"pnnxparam": "p.param", "pnnxbin": "p.bin", "pnnxpy": "p.py", "pnnxonnx": "p.onnx"}
            options = [f"{name}={scratch / file}" for name, file in names.items()]
            options += [f"ncnnparam={param}", f"ncnnbin={weights}", f"ncnnpy={scratch / 'ncnn.py'}", "fp16=0"]
            self._tool("pnnx", weights, [str(pnnx), str(source), *options])
        return param

    def ncnn_int8(self) -> Path:
        """Of `ncnn`, with ranges from the samples."""
        out = self._path("ncnn-int8.param")
        if not out.with_suffix(".bin").exists():
            try:
                ncnn_int8.quantise(self.ncnn(), [sample["input"] for sample in self.graph.samples()], out)
            except ValueError as error:
                raise Unavailable(f"not quantised: {error}") from error
        return out

    def _path(self, ending: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}.{ending}")

    def _tool(self, name: str, out: Path, command: list[str]) -> None:
        if name not in self.failed:
            run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
            log = self._path(f"{name}.log")
            log.write_text(run.stdout + run.stderr)
            if run.returncode == 0 and out.exists():
                return
            self.failed[name] = f"{name} fails on this graph (exit {run.returncode}): see {log.name}"
        raise Unavailable(self.failed[name])


def unshared(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with a copy of each int8 weight for every node that uses it."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    weights = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants}
    nodes = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name not in weights:
                continue
            copy = onnx.NodeProto()
            copy.CopyFrom(weights[name])
            copy.name = copy.output[0] = node.input[index] = f"{name}.{len(nodes)}"
            for position, constant in enumerate(copy.input):
                tensor = graph.initializer.add()
                tensor.CopyFrom(constants[constant])
                tensor.name = copy.input[position] = f"{copy.name}.{position}"
            nodes.append(copy)
        nodes.append(node)
    graph.ClearField("node")
    graph.node.extend(nodes)
    _drop_unused(graph)
    return model


def dequantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """A QDQ graph with its quantisers taken out and its weights in float.

    A quantiser whose range begins at zero does the work of a ReLU (of a ReLU6 where it ends
    at 6), which `quantise` therefore leaves out of the graph: here it comes back.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    nodes, replaced, rectified = [], {}, set()
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type == "DequantizeLinear":
            if node.input[0] in constants:
                weight = _dequantise(node, constants)
                graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
                continue
            source = producers[node.input[0]]
            value = source.input[0]
            value = replaced.get(value, value)
            made_by = producers.get(source.input[0])
            clip = _rectifier(source, constants) if made_by and made_by.op_type in ("Conv", "Gemm", "Add") else None
            if clip and value not in rectified:
                name = f"{value}.rectified"
                nodes.append(_rectify(graph, clip, value, name))
                rectified.add(name)
                replaced[source.input[0]] = value = name
            replaced[node.output[0]] = value
            continue
        for index, name in enumerate(node.input):
            node.input[index] = replaced.get(name, name)
        nodes.append(node)
    for output in graph.output:
        if output.name in replaced:
            nodes.append(helper.make_node("Identity", [replaced[output.name]], [output.name], name=output.name))
    graph.ClearField("node")
    graph.node.extend(nodes)
    _drop_unused(graph)
    return model


def _dequantise(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> np.ndarray:
    values, scale = constants[node.input[0]], constants[node.input[1]]
    zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale, dtype=values.dtype)
    if scale.size > 1:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return ((values.astype(np.int64) - zero.astype(np.int64)) * scale.astype(np.float64)).astype(np.float32)


def _rectifier(quantise: onnx.NodeProto, constants: dict[str, np.ndarray]) -> str | None:
    zero, scale = constants[quantise.input[2]], constants[quantise.input[1]]
    if int(zero) != np.iinfo(zero.dtype).min:
        return None
    return "Relu6" if float(scale) * 255 < 6.05 else "Relu"


def _rectify(graph: onnx.GraphProto, kind: str, value: str, name: str) -> onnx.NodeProto:
    if kind == "Relu":
        return helper.make_node("Relu", [value], [name], name=name)
    bounds = {"rectifier.zero": 0.0, "rectifier.six": 6.0}
    known = {tensor.name for tensor in graph.initializer}
    for bound, number in bounds.items():
        if bound not in known:
            graph.initializer.append(numpy_helper.from_array(np.float32(number), bound))
    return helper.make_node("Clip", [value, *bounds], [name], name=name)


def _norms(graph: onnx.GraphProto) -> None:
    """`Sqrt(ReduceSum(Mul(x, x)))` and `Sqrt(ReduceSum(Pow(x, 2)))` as `ReduceL2(x)`."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        total = producers.get(node.input[0]) if node.op_type == "Sqrt" else None
        square = producers.get(total.input[0]) if total is not None and total.op_type == "ReduceSum" else None
        if square is None:
            continue
        multiplied = square.op_type == "Mul" and square.input[0] == square.input[1]
        if multiplied or (square.op_type == "Pow" and np.all(constants[square.input[1]] == 2.0)):
            node.op_type = "ReduceL2"
            node.input[0] = square.input[0]
            axes = constants[total.input[1]]
            # Up to operator set 17 the axes of ReduceL2 are an attribute.
            node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in np.atleast_1d(axes)]))
            node.attribute.extend(a for a in total.attribute if a.name == "keepdims")
    _drop_unused(graph)


def _batched_distances(graph: onnx.GraphProto) -> None:
    """`Reshape(ReduceL2(Sub(v, centroids)), [1, K])` with the batch axis kept from the beginning."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    for reshape in [node for node in graph.node if node.op_type == "Reshape"]:
        norm = producers.get(reshape.input[0])
        difference = producers.get(norm.input[0]) if norm is not None and norm.op_type == "ReduceL2" else None
        if difference is None or difference.op_type != "Sub":
            continue
        (width,) = {constants[name].shape[-1] for name in difference.input if name in constants}
        shape = np.array([1, 1, width], np.int64)
        graph.initializer.append(numpy_helper.from_array(shape, f"{difference.name}.row.shape"))
        for index, name in enumerate(difference.input):
            if name not in constants:
                row = helper.make_node("Reshape", [name, f"{difference.name}.row.shape"], [f"{difference.name}.row"])
                difference.input[index] = row.output[0]
        norm.ClearField("attribute")
        norm.attribute.append(helper.make_attribute("axes", [2]))
        norm.attribute.append(helper.make_attribute("keepdims", 0))
        norm.output[0] = reshape.output[0]
        graph.node.remove(reshape)
        graph.node.insert(list(graph.node).index(difference), row)
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    graph.ClearField("node")
    graph.node.extend(reversed(kept))
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    graph.ClearField("initializer")
    graph.initializer.extend(weights)
    graph.ClearField("value_info")
