"""`python -m oltr_models.golden`: what ONNX Runtime computes on one photo, for other runtimes to match.

The `.npz` holds arrays named after the graph's input and outputs. The outputs are those of ONNX
Runtime's default optimisations, which fuse QDQ into integer kernels with exact accumulation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .bundle import Runner
from .cli import prog, run
from .data import load_photo
from .graph import INPUT


def golden(bundle: Path, photo: Path, target: Path) -> None:
    """Writes the network's input for `photo` and the bundle's outputs."""
    runner = Runner(bundle)
    image = runner.preprocess(load_photo(photo))
    np.savez_compressed(target, **{INPUT: image[None]}, **runner(image))


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("golden"), description="Write input and outputs of a bundle on a photo.",
        epilog="example: python -m oltr_models.golden everyday.onnx ../examples/photos/cup.jpg everyday.golden.npz")
    parser.add_argument("bundle", type=Path, help="ONNX bundle")
    parser.add_argument("photo", type=Path, help="any photo")
    parser.add_argument("target", type=Path, help=".npz to write")
    args = parser.parse_args()
    golden(args.bundle, args.photo, args.target)


if __name__ == "__main__":
    run(main)
