"""Quantises an ncnn model to int8, as ncnn's own tools (`ncnn2table`, `ncnn2int8`) do.

Those tools are not on PyPI. Symmetric: weights per output channel, activations per tensor, by
the largest absolute value. A convolution whose output only goes to convolutions hands it on as
int8 ("requantise"); all else is float between layers.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# Marks int8 weights in a `.bin`; float32 weights have a zero.
INT8_TAG = 0x000D4B38
# How a layer says that its weights are int8 (parameter 8): one scale a group, or one an output channel.
SCALE_TERM = {"Convolution": 2, "ConvolutionDepthWise": 1, "InnerProduct": 2}
REQUANTISES = 100
# Layers without weights.
PLAIN = {
    "BinaryOp", "Clip", "Concat", "Dropout", "Eltwise", "Flatten", "Input", "MatMul", "Noop", "Permute", "Pooling",
    "ReLU", "Reduction", "Reshape", "Softmax", "Split", "Squeeze", "TanH", "UnaryOp", "ExpandDims", "Normalize",
}  # fmt: skip


@dataclass
class Layer:
    """A line of a `.param` file, and its weights."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[int, str]
    weights: np.ndarray | None = None
    rest: bytes = b""
    """Bias, or whatever else follows."""
    input_scale: float = 0.0
    output_scale: float | None = None
    consumers: list["Layer"] = field(default_factory=list)

    def number(self, key: int, default: int = 0) -> int:
        return int(self.parameters.get(key, default))


def quantise(source: Path, images: list[np.ndarray], out: Path) -> None:
    """Reads `source` (`.param`, with `.bin` beside it), writes `out` likewise."""
    layers = _read(source)
    weighted = [layer for layer in layers if layer.weights is not None]
    ranges = _ranges(source, images, {layer.inputs[0] for layer in weighted})
    for layer in weighted:
        layer.input_scale = 127.0 / max(ranges[layer.inputs[0]], 1e-6)
    for layer in weighted:
        ends = _ends(layer)
        if layer.kind != "InnerProduct" and ends and all(end.kind.startswith("Convolution") for end in ends):
            layer.output_scale = ends[0].input_scale
    _write(layers, out)


def _read(source: Path) -> list[Layer]:
    _, _, *lines = source.read_text().splitlines()
    layers = []
    for line in lines:
        kind, name, n_in, n_out, *rest = line.split()
        ins, outs = int(n_in), int(n_out)
        parameters = dict(item.split("=", 1) for item in rest[ins + outs :])
        parameters = {int(key): value for key, value in parameters.items()}
        layers.append(Layer(kind, name, rest[:ins], rest[ins : ins + outs], parameters))
    data, at = source.with_suffix(".bin").read_bytes(), 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return data[at - count : at]

    for layer in layers:
        if layer.kind in SCALE_TERM:
            bias_key, size_key = (1, 2) if layer.kind == "InnerProduct" else (5, 6)
            if int.from_bytes(take(4), "little") != 0:
                raise ValueError(f"{layer.name}: weights are not float32")
            weights = np.frombuffer(take(4 * layer.number(size_key)), np.float32)
            layer.weights = weights.reshape(layer.number(0), -1)
            layer.rest = take(4 * layer.number(0) * layer.number(bias_key))
        elif layer.kind == "MemoryData":
            sizes = [layer.number(key) for key in (0, 1, 2)]
            layer.rest = take(4 * int(np.prod([size for size in sizes if size > 0])))
        elif layer.kind not in PLAIN:
            raise ValueError(f"{layer.name}: what a {layer.kind} keeps in the file is not known here")
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes of weights are left over")
    users: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.inputs:
            users.setdefault(name, []).append(layer)
    for layer in layers:
        layer.consumers = [user for name in layer.outputs for user in users.get(name, [])]
    return layers


def _ranges(source: Path, images: list[np.ndarray], blobs: set[str]) -> dict[str, float]:
    """Largest absolute value of each blob over the images."""
    import ncnn

    net = ncnn.Net()
    net.opt.lightmode = False
    net.load_param(str(source))
    net.load_model(str(source.with_suffix(".bin")))
    ranges = dict.fromkeys(blobs, 0.0)
    for image in images:
        extractor = net.create_extractor()
        held = np.ascontiguousarray(image[0])
        extractor.input("in0", ncnn.Mat(held))
        for blob in blobs:
            failed, value = extractor.extract(blob)
            if failed:
                raise ValueError(f"ncnn does not compute {blob}")
            ranges[blob] = max(ranges[blob], float(np.abs(np.array(value)).max()))
    return ranges


def _ends(layer: Layer) -> list[Layer]:
    """Who reads the output of a layer, seen through splits."""
    ends = []
    for consumer in layer.consumers:
        ends += _ends(consumer) if consumer.kind == "Split" else [consumer]
    return ends


def _write(layers: list[Layer], out: Path) -> None:
    blobs = {name for layer in layers for name in layer.outputs}
    lines, data = ["7767517", f"{len(layers)} {len(blobs)}"], bytearray()
    for layer in layers:
        if layer.weights is None:
            data += layer.rest
        else:
            term = SCALE_TERM[layer.kind] + (REQUANTISES if layer.output_scale else 0)
            layer.parameters[8] = str(term)
            scales = 127.0 / np.maximum(np.abs(layer.weights).max(axis=1), 1e-9)
            weights = np.rint(layer.weights * scales[:, None]).astype(np.int8).tobytes()
            data += INT8_TAG.to_bytes(4, "little") + weights + bytes(-len(weights) % 4) + layer.rest
            tail = [layer.input_scale] + ([layer.output_scale] if layer.output_scale else [])
            data += np.concatenate([scales, tail]).astype(np.float32).tobytes()
        parameters = " ".join(f"{key}={value}" for key, value in layer.parameters.items())
        names = " ".join([*layer.inputs, *layer.outputs])
        lines.append(f"{layer.kind} {layer.name} {len(layer.inputs)} {len(layer.outputs)} {names} {parameters}")
    out.write_text("\n".join(lines) + "\n")
    out.with_suffix(".bin").write_bytes(data)
