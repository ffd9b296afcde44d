"""`python -m oltr_models.assemble` (`oltr-models bundle`): a trained network becomes a calibrated bundle, all commands in a row.

It prints each command before it runs it, so that they can be run one by one too.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from .cli import prog, run


def commands(args: argparse.Namespace, program: str | None) -> list[list[str]]:
    """The commands in their order. `program` is where `oltr` is; without it nothing is calibrated beyond `quantise`."""
    photos = ["--images", str(args.images), *(["--labels", str(args.labels)] if args.labels else [])]
    here = [sys.executable, "-m"]
    stem = args.target.name.removesuffix(".onnx")
    original = args.work / f"{stem}.float.onnx"
    quantised = args.target if program is None else args.work / f"{stem}.int8.onnx"
    names = ["--names", str(args.names)] if args.names else []
    listed = [
        [*here, "oltr_models.export", str(args.work / "best.pt"), str(original), "--name", args.name or stem, *names],
        [*here, "oltr_models.quantise", str(original), str(quantised), *photos, "--seed", str(args.seed)],
        [*here, "oltr_models.check", str(original), str(quantised), *photos, "--seed", str(args.seed),
         "--output", str(args.work / "check.json")],
    ]
    if program is not None:
        # `oltr` draws no splits: it reads those that were trained on.
        labels = args.labels if args.labels and args.labels.is_file() else args.work / "labels.tsv"
        listed.append([program, "calibrate", "--labels", str(labels), "--images", str(args.images),
                       "--output", str(args.target), str(quantised)])
    return listed


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("assemble").replace(" assemble", " bundle"),
        description="Export, quantise, check and calibrate what `train` made.",
        epilog=f"example: {prog('bundle')} --images photos --labels photos.tsv --work work/mine mine.onnx")
    parser.add_argument("target", type=Path, help="bundle to write")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help="as of `train`")
    parser.add_argument("--work", type=Path, required=True, help="work folder of `train`, with best.pt")
    parser.add_argument("--name", help="name of the bundle (default: the file's)")
    parser.add_argument("--names", type=Path, help=".tsv with the columns id and name: class names for people")
    parser.add_argument("--seed", type=int, default=0, help="as of `train` (default: %(default)s)")
    parser.add_argument("--oltr", default="oltr", help="the program that calibrates (default: the one on the PATH)")
    args = parser.parse_args()
    program = shutil.which(args.oltr)
    if program is not None and not (args.labels and args.labels.is_file()):
        from .data import read_samples, write_labels

        write_labels(read_samples(args.images, args.labels, args.seed), args.images, args.work / "labels.tsv")
    for command in commands(args, program):
        print(shlex.join(command), flush=True)
        if subprocess.run(command).returncode != 0:
            raise ValueError(f"{shlex.join(command[:3])} failed; what it needs is said above")
    if program is None:
        print(f"note: there is no {args.oltr!r} here; calibrate with: oltr calibrate --labels LABELS --images {args.images} "
              f"--output calibrated.onnx {args.target}")
    print(args.target)


if __name__ == "__main__":
    run(main)
