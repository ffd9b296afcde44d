"""`python -m oltr_models.lift`: logits of rare classes are raised, in a bundle that is trained already.

Few photos of a class leave its logit too low on photos unlike them. Adding `share * log(cap / n)` to the logit of
a class with n training photos, for n below `cap`, mends that: logit adjustment (Menon et al., "Long-tail learning
via logit adjustment", ICLR 2021) for the tail alone, since classes with enough photos have no need of it and among
them it costs accuracy. Distances stay, so what is open stays open. Without a target it prints what each share and
cap would do on val, to choose by.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import metrics
from .bundle import Runner, classifier, metadata
from .cli import prog, run
from .data import read_samples, select
from .evaluation import class_indices, run_samples

BIAS = "head.classifier.bias"
SHARES, CAPS = (0.25, 0.5, 0.75, 1.0), (20, 50, 100)  # of the table


def lifts(train_counts: list[int], share: float, cap: int) -> np.ndarray:
    """What is added to each class's logit."""
    if not 0 <= share <= 2 or cap < 1:
        raise ValueError(f"--share {share} --cap {cap}: give a share from 0 to 2 and a cap of at least one photo")
    return (share * np.log(cap / np.clip(train_counts, 1, cap))).astype(np.float32)


def lift(model: onnx.ModelProto, share: float, cap: int) -> None:
    """Gives the classifier of a bundle, float or int8, a bias."""
    node, _ = classifier(model)
    bias = lifts([c["train_count"] for c in json.loads(metadata(model)["classes"])], share, cap)
    model.graph.initializer.append(numpy_helper.from_array(bias, BIAS))
    node.CopyFrom(helper.make_node("Gemm", [*node.input, BIAS], list(node.output), name=node.name))
    onnx.checker.check_model(model, full_check=True)


def table(bundle: Path, images: Path, labels: Path | None, seed: int) -> str:
    """The closed-set figures on val for each cap and share."""
    runner = Runner(bundle)
    val = select(read_samples(images, labels, seed), "val", known=True)
    answers = run_samples(runner, val, "val")
    truth = class_indices(val, [c["id"] for c in runner.classes])
    counts = [c["train_count"] for c in runner.classes]
    lines = []
    for cap, share in [(1, 0.0), *((cap, share) for cap in CAPS for share in SHARES)]:
        figures = metrics.closed_set((answers.logits + lifts(counts, share, cap)).argmax(1), truth, counts)
        if not lines:
            lines = ["| cap | share | " + " | ".join(figures) + " |", "|---" * (2 + len(figures)) + "|"]
        lines.append(f"| {cap} | {share} | " + " | ".join(f"{x:.3f}" for x in figures.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("lift"), description="Raise the logits of rare classes, or see on val what that would do.",
        epilog="example: python -m oltr_models.lift work/mine.float.onnx work/mine.lifted.onnx --share 0.75 --cap 50")
    parser.add_argument("source", type=Path, help="bundle, float or int8")
    parser.add_argument("target", type=Path, nargs="?", help="bundle to write; without it a table is printed")
    parser.add_argument("--share", type=float, help="of log(cap / photos)")
    parser.add_argument("--cap", type=int, help="training photos from which on a class stays as it is")
    parser.add_argument("--images", type=Path, help="folder with the photos, for the table")
    parser.add_argument("--labels", type=Path, help=".tsv or .csv with path, class, role, split, or a folder; else one subfolder a class in --images")
    parser.add_argument("--seed", type=int, default=0, help="of the split of a folder (default: %(default)s)")
    args = parser.parse_args()
    if args.target is None:
        if args.images is None:
            raise ValueError("give a target with --share and --cap, or --images for a table to choose them by")
        print(table(args.source, args.images, args.labels, args.seed))
        return
    if args.share is None or args.cap is None:
        raise ValueError("a target needs --share and --cap")
    model = onnx.load(args.source)
    lift(model, args.share, args.cap)
    onnx.save(model, args.target)
    print(args.target)


if __name__ == "__main__":
    run(main)
