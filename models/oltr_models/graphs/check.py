"""Command line: are the graphs in a folder sane, and how fast does ONNX Runtime run them?

For each graph: the golden's largest logit and its lead, and the cosine of the logits with
ONNX Runtime's run without optimisations, with its fast run (which may saturate on x86
without VNNI) and with the float graph. For graphs of quantised operators each QLinearConv
is also recomputed in integers, and the number of differing elements is printed.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import golden


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m oltr_models.graphs.check", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="what oltr_models.graphs wrote")
    parser.add_argument("--only", metavar="NAME", help="only this network")
    parser.add_argument("--time", action="store_true", help="median latency of 30 runs on one thread")
    options = parser.parse_args(arguments)
    print(f"{'graph':24} {'argmax':>7} {'lead':>6} {'unoptimised':>12} {'fast':>9} {'float':>9}  notes")
    for path in sorted(options.folder.glob(f"{options.only or '*'}.*.onnx")):
        for arrays in sorted(options.folder.glob(f"{path.stem}*.npz")):
            if arrays.stem.removeprefix(path.stem) in ("", ".0", ".1", ".2"):
                _check(path, arrays, options.time and not arrays.stem.endswith((".1", ".2")))
    return 0


def _check(path: Path, arrays: Path, timed: bool) -> None:
    model = onnx.load(path)
    expected = dict(np.load(arrays))
    feeds = {value.name: expected[value.name] for value in model.graph.input}
    plain = golden.outputs(golden.session(model, optimised=False), feeds)
    fast = golden.session(model, exact=False)
    name, form = path.stem.split(".", 1)
    ordinary = np.load(path.parent / arrays.name.replace(f"{name}.{form}", f"{name}.float"))
    best, second = np.sort(expected["logits"].ravel())[[-1, -2]]
    against = [plain["logits"], golden.outputs(fast, feeds)["logits"], ordinary["logits"]]
    cells = [f"{cosine(expected['logits'], other):.5f}{_mark(expected['logits'], other)}" for other in against]
    notes = ""
    if form == "qop":
        notes += conv_mismatches(model, feeds)
    if timed:
        notes += f" {latency(fast, feeds):.2f} ms"
    lead = f"{int(np.argmax(expected['logits'])):7} {best - second:6.2f}"
    print(f"{arrays.stem:24} {lead} {cells[0]:>12} {cells[1]:>9} {cells[2]:>9}  {notes}", flush=True)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the angle between two arrays as vectors."""
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def latency(run, feeds: dict[str, np.ndarray], runs: int = 30) -> float:
    """Median milliseconds of one run."""
    for _ in range(5):
        run.run(None, feeds)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        run.run(None, feeds)
        times.append(time.perf_counter() - started)
    return 1000.0 * statistics.median(times)


def conv_mismatches(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> str:
    """Recompute every QLinearConv in integers from the inputs that ONNX Runtime gave it."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "QLinearConv"]
    # Tensor to the zero point that tells its type: input 2 belongs to x, input 7 to y.
    zero_points = {node.input[0]: node.input[2] for node in convs} | {node.output[0]: node.input[7] for node in convs}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.ClearField("output")
    for name, zero_point in zero_points.items():
        kind = helper.np_dtype_to_tensor_dtype(constants[zero_point].dtype)
        exposed.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    values = golden.outputs(golden.session(exposed), feeds)
    wrong = total = 0
    for node in convs:
        computed = qlinear_conv(node, values[node.input[0]], constants)
        difference = computed.astype(np.int32) - values[node.output[0]].astype(np.int32)
        wrong, total = wrong + int(np.count_nonzero(difference)), total + difference.size
    return f"{wrong} of {total} convolution outputs differ from integer arithmetic"


def qlinear_conv(node: onnx.NodeProto, x: np.ndarray, constants: dict[str, np.ndarray]) -> np.ndarray:
    """ONNX's QLinearConv with exact accumulation; requantisation in float32 as ONNX Runtime does."""
    _, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (constants.get(name) for name in node.input[:8])
    bias = constants[node.input[8]] if len(node.input) > 8 and node.input[8] else np.zeros(len(w), np.int32)
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    # Sums stay far below 2^53: float64 products are exact and fast.
    x = np.pad(x[0].astype(np.float64) - float(x_zero), ((0, 0), (top, bottom), (left, right)))
    w = w.astype(np.float64) - w_zero.astype(np.float64).reshape(-1, 1, 1, 1)
    outputs, depth, kernel_h, kernel_w = w.shape
    height = (x.shape[1] - dilations[0] * (kernel_h - 1) - 1) // strides[0] + 1
    width = (x.shape[2] - dilations[1] * (kernel_w - 1) - 1) // strides[1] + 1
    groups = attributes.get("group", 1)
    sums = np.tile(bias.astype(np.float64).reshape(-1, 1, 1), (1, height, width))
    for i in range(kernel_h):
        rows = slice(i * dilations[0], i * dilations[0] + (height - 1) * strides[0] + 1, strides[0])
        for j in range(kernel_w):
            columns = slice(j * dilations[1], j * dilations[1] + (width - 1) * strides[1] + 1, strides[1])
            taps = x[:, rows, columns].reshape(groups, depth, -1)
            kernel = w[:, :, i, j].reshape(groups, outputs // groups, depth)
            sums += (kernel @ taps).reshape(outputs, height, width)
    multiplier = (np.float32(x_scale) * w_scale.astype(np.float32) / np.float32(y_scale)).reshape(-1, 1, 1)
    scaled = np.rint(sums.astype(np.float32) * multiplier) + np.float32(y_zero)
    limits = np.iinfo(y_zero.dtype)
    return np.clip(scaled, limits.min, limits.max).astype(y_zero.dtype)[None]


def _mark(a: np.ndarray, b: np.ndarray) -> str:
    return "" if np.argmax(a) == np.argmax(b) else "!"


if __name__ == "__main__":
    sys.exit(main())
