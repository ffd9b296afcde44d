"""`python -m oltr_models.quantise`: a float bundle becomes an int8 one (QDQ).

Convolutions, shortcuts, pooling, the matrix products of the attention and the fully connected layer
get uint8 activations and per-channel int8 weights. The outputs of the matrix products and all that
follows the fully connected layer (the direct feature's norm and the open-world head) stay float: a
direct feature rounded to 8 bits would lose reachability. With `--small-head` the head's largest weight, the memory
selector's, is kept in bytes and its arithmetic stays float. Biases take back the mean error of the
rounded weights. Calibration photos come from the training split only. The reachability threshold is
then set with the int8 graph on the val split.
"""

from __future__ import annotations

import argparse
import datetime
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from tqdm import tqdm

from .bundle import PROBABILITY, Runner, metadata, set_metadata
from .cli import prog, run
from .data import Sample, load_photo, read_samples, select
from .evaluation import run_samples
from .graph import ATTENTION, INPUT
from .metrics import threshold_accepting
from .refine import correct_biases, equalise

QUANTISED_OPERATORS = ["Add", "Clip", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "MatMul", "Mul", "Reshape", "Transpose"]
FLOAT_OUTPUT_OPERATORS = ["Gemm", "MatMul"]
METHODS = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile}


class Calibration(CalibrationDataReader):
    """Hands the calibration photos to ONNX Runtime one by one."""

    def __init__(self, images: Iterable[np.ndarray]):
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {INPUT: image[None]}


def calibration_samples(samples: list[Sample], count: int, seed: int) -> list[Sample]:
    """`count` training photos, class by class in turn, so that the tail is represented too."""
    rng = np.random.default_rng(seed)
    train = [s for s in samples if s.known and s.split == "train"]
    turn: dict[str, int] = {}
    keyed = []
    for index in rng.permutation(len(train)):
        sample = train[index]
        turn[sample.cls] = turn.get(sample.cls, 0) + 1
        keyed.append((turn[sample.cls], len(keyed), sample))
    return [sample for _, _, sample in sorted(keyed, key=lambda k: k[:2])[:count]]


def float_nodes(model: onnx.ModelProto) -> list[str]:
    """Nodes that keep float arithmetic: everything behind the direct feature's matrix product, and
    the attention map that is handed out."""
    head = ("direct.", "features", "head.", "distances", "logits")
    return [n.name for n in model.graph.node if n.name.startswith(head) and n.name != "direct.fc" or n.name == ATTENTION]


def quantise(source: Path, target: Path, samples: list[Sample], method: str, correct: bool = True, spread: bool = False,
             small_head: bool = False) -> None:
    """Writes the QDQ graph of `source`, its metadata included, to `target`; `spread` equalises first, `small_head` keeps
    the selector in bytes."""
    model = onnx.load(source)
    del model.graph.value_info[:]
    preprocess = Runner(source).preprocess

    def images(what: str) -> Iterable[np.ndarray]:
        return (preprocess(load_photo(s.path)) for s in tqdm(samples, desc=what, unit="photo"))

    kept_float = float_nodes(model)
    if spread:
        equalise(model, images("equalise"))
    if correct:
        correct_biases(model, images("correct biases"), {n.name for n in model.graph.node} - set(kept_float))
    quantize_static(
        model,
        target,
        Calibration(images("calibrate")),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=QUANTISED_OPERATORS,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept_float,
        calibrate_method=METHODS[method],
        extra_options={"OpTypesToExcludeOutputQuantization": FLOAT_OUTPUT_OPERATORS},
    )
    quantised = onnx.load(target)
    if small_head:
        store_as_bytes(quantised, "head.selector.weight")
    set_metadata(quantised, **metadata(model))
    onnx.save(quantised, target)


def store_as_bytes(model: onnx.ModelProto, name: str) -> None:
    """Keeps a weight `[outputs, inputs]` as int8 with a scale for each output; what reads it computes with floats as before."""
    graph = model.graph
    weight = next(i for i in graph.initializer if i.name == name)
    readers = [n for n in graph.node if name in n.input]
    values = numpy_helper.to_array(weight).astype(np.float64)
    largest = np.abs(values).max(1)
    scale = np.where(largest > 0, largest, 127) / 127
    steps = np.round(values / scale[:, None]).astype(np.int8)
    graph.initializer.remove(weight)
    parts = {"steps": steps, "scale": scale.astype(np.float32), "zero": np.zeros(len(steps), np.int8)}
    graph.initializer.extend(numpy_helper.from_array(value, f"{name}.{part}") for part, value in parts.items())
    node = helper.make_node("DequantizeLinear", [f"{name}.{part}" for part in parts], [name], name=name, axis=0)
    graph.node.insert(min(list(graph.node).index(reader) for reader in readers), node)


def calibrate_threshold(path: Path, samples: list[Sample], share: float, labels: str) -> dict:
    """Sets `oltr.open` of the bundle: `share` of the known val photos are accepted."""
    val = select(samples, "val", known=True)
    if not val:
        raise ValueError("no known photos in the split val; the reachability threshold needs some")
    answers = run_samples(Runner(path), val, "threshold")
    threshold = threshold_accepting(answers.reachability, share)
    rule = {
        "rule": "reachability",
        "reachability": float(f"{threshold:.6g}"),
        "probability": PROBABILITY,
        "calibration": {
            "operating_point": f"known_accepted={share}",
            "known_accepted": float((answers.reachability >= threshold).mean()),
            "known": len(val),
            "open": 0,
            "split": "val",
            "labels": labels,
            "date": datetime.date.today().isoformat(),
            "runtime": "onnxruntime",
        },
    }
    model = onnx.load(path)
    set_metadata(model, open=rule)
    onnx.save(model, path)
    return rule


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog("quantise"), description="Quantise a float bundle to int8 and set its threshold.",
        epilog="example: python -m oltr_models.quantise work/everyday.float.onnx everyday.onnx "
               "--images photos --labels everyday.tsv")
    parser.add_argument("source", type=Path, help="float bundle, as `export` writes it")
    parser.add_argument("target", type=Path, help="int8 bundle to write")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help=".tsv or .csv with path, class, role, split, or a folder; else one subfolder a class in --images")
    parser.add_argument("--method", choices=sorted(METHODS), default="minmax", help="activation ranges (default: %(default)s)")
    parser.add_argument("--no-bias-correction", action="store_true", help="leave the biases as trained")
    parser.add_argument("--equalise", action="store_true", help="spread channels over the range of their tensor first")
    parser.add_argument("--small-head", action="store_true", help="keep the memory selector's weights in bytes: 0.8 MB less of 512 features")
    parser.add_argument("--photos", type=int, default=304, help="calibration photos from the training split (default: %(default)s)")
    parser.add_argument("--accept", type=float, default=0.95, help="share of known val photos to accept (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    return parser


def main() -> None:
    """Runs the command."""
    args = arguments().parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises a pass that this graph does not need
    samples = read_samples(args.images, args.labels, args.seed)
    quantise(args.source, args.target, calibration_samples(samples, args.photos, args.seed), args.method,
             not args.no_bias_correction, args.equalise, args.small_head)
    rule = calibrate_threshold(args.target, samples, args.accept, (args.labels or args.images).name)
    print(f"{args.target}: {args.target.stat().st_size / 1e6:.2f} MB, reachability threshold {rule['reachability']}")


if __name__ == "__main__":
    run(main)
