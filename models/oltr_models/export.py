"""`python -m oltr_models.export`: a checkpoint becomes a float ONNX bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch

from .bundle import PROBABILITY, VERSION, Runner, class_entries, set_metadata
from .checkpoint import Checkpoint
from .cli import prog, run
from .data import Preprocess, read_names
from .graph import OUTPUTS, float_graph

TOLERANCE = 1e-3  # of the graph against the network in PyTorch, relative to an output's largest value


def export(checkpoint: Checkpoint, target: Path, name: str, names: dict[str, str]) -> None:
    """Writes the float bundle; its rule accepts everything until `quantise` has set a threshold."""
    rule = {"rule": "reachability", "reachability": 0.0, "probability": PROBABILITY,
            "calibration": {"operating_point": "none: accepts everything"}}
    classes = class_entries(checkpoint.classes, names, checkpoint.train_counts)
    write_bundle(target, float_graph(checkpoint.net), checkpoint.net, name, classes, checkpoint.preprocess, rule)


def write_bundle(target: Path, model: onnx.ModelProto, net: torch.nn.Module, name: str, classes: list[dict],
                 preprocess: Preprocess, rule: dict) -> None:
    """Writes `model`, the graph of `net`, with its metadata, and checks that both compute the same."""
    set_metadata(model, version=VERSION, name=name, classes=classes, preprocess=preprocess.to_json(), open=rule)
    onnx.save(model, target)
    compare(net, preprocess.size, target)


@torch.no_grad()
def compare(net: torch.nn.Module, size: int, path: Path) -> None:
    """Raises if ONNX Runtime and PyTorch disagree on random input: a wrong graph must not ship."""
    image = np.random.default_rng(0).standard_normal((3, size, size), np.float32)
    got = Runner(path)(image)
    for name, want in zip(OUTPUTS, net(torch.from_numpy(image)[None])):
        error = np.abs(got[name] - want.numpy()).max() / np.abs(want.numpy()).max()
        if not error <= TOLERANCE:
            raise RuntimeError(f"{path}: output {name} is off by {error:.2g} of its largest value; do not use this file")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog("export"), description="Write a checkpoint as a float ONNX bundle.",
        epilog="example: python -m oltr_models.export work/everyday/best.pt work/everyday.float.onnx "
               "--name everyday --names everyday.names.tsv")
    parser.add_argument("checkpoint", type=Path, help="as `train` writes it")
    parser.add_argument("target", type=Path, help="float bundle to write")
    parser.add_argument("--name", help="name of the bundle (default: the file's name up to the first dot)")
    parser.add_argument("--names", type=Path, help=".tsv with the columns id and name: class names for people")
    return parser


def main() -> None:
    """Runs the command."""
    args = arguments().parse_args()
    export(Checkpoint.load(args.checkpoint), args.target, args.name or args.target.name.split(".")[0], read_names(args.names))
    print(f"{args.target}: {args.target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
