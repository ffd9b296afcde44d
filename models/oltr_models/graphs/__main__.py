"""Command line: write the test graphs and their golden outputs."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnx

from . import golden
from .edges import edges
from .networks import NETWORKS, build
from .ops import operators
from .quantise import FORMS, in_form


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS.values():
        if options.only and network.name not in options.only:
            continue
        if options.size and network.size != options.size:
            continue
        _write_network(network.name, options.form or list(FORMS), options.out)
    if options.size != "large" and (not options.only or "ops" in options.only):
        _write_operators(options.out / "ops")
    return 0


def _write_network(name: str, forms: list[str], folder: Path) -> None:
    started = time.perf_counter()
    built = build(NETWORKS[name])
    print(f"{name}: built in {time.perf_counter() - started:.1f} s", flush=True)
    for form in forms:
        model = in_form(built, form)
        feeds = [{built.network.input: sample} for sample in built.samples]
        large = built.network.size == "large"
        results = golden.goldens(model, feeds if large else feeds[:1])
        path = folder / f"{name}.{form}.onnx"
        onnx.save(model, path)
        for index, arrays in enumerate(results):
            np.savez_compressed(path.with_suffix(f".{index}.npz" if large else ".npz"), **arrays)
        print(f"  {path.name}: {path.stat().st_size / 1024:.0f} KiB, {len(results)} golden", flush=True)


def _write_operators(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cases = [*operators(), *edges()]
    for case in cases:
        model = case.quantised()
        path = folder / f"{case.name}.onnx"
        onnx.save(model, path)
        np.savez_compressed(path.with_suffix(".npz"), **case.golden())
    print(f"ops: {len(cases)} graphs of one operator each", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m oltr_models.graphs",
        description="Write test graphs (random weights, every quantised form) with golden outputs of ONNX Runtime. "
        "Each NAME.FORM.onnx comes with NAME.FORM.npz (small) or NAME.FORM.0.npz to .2.npz (large), "
        "whose arrays are named after the graph's inputs and outputs.",
        epilog="example: python -m oltr_models.graphs --out graphs --only r10 --form qdq --form float",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--size", choices=["small", "large"], help="only the graphs of this size (default: both)")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*NETWORKS, "ops"],
        metavar="NAME",
        help=f"only this network, may be repeated: {', '.join([*NETWORKS, 'ops'])}",
    )
    parser.add_argument(
        "--form",
        action="append",
        choices=list(FORMS),
        metavar="FORM",
        help=f"only this form, may be repeated: {', '.join(FORMS)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
