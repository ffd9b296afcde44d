"""`python -m oltr_models.methods`: what each way of quantising does to a network's decisions, as a table.

Every variant is made from the same float bundle and calibration photos and judged against it on the
val split, so that the choice leaves the test split alone: labels and decisions that change at the float
bundle's threshold, top-1 and AUROC lost, drift of reachability.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np

from . import metrics
from .bundle import Runner
from .check import decisions
from .cli import prog, run
from .data import read_samples, select
from .evaluation import Answers, class_indices, run_samples
from .quantise import calibration_samples, quantise


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    method: str
    correct: bool = False
    spread: bool = False


VARIANTS = (
    Variant("MinMax", "minmax"),
    Variant("percentile 99.999", "percentile"),
    Variant("entropy", "entropy"),
    Variant("MinMax, equalised", "minmax", spread=True),
    Variant("MinMax, bias correction", "minmax", correct=True),
    Variant("percentile 99.999, bias correction", "percentile", correct=True),
    Variant("MinMax, equalised, bias correction", "minmax", correct=True, spread=True),
)
HEADER = ("| method | labels changed | decisions changed | top-1 lost | AUROC lost | reachability drift, median | 95 % |\n"
          "|---|---|---|---|---|---|---|")


def joined(known: Answers, unknown: Answers | None) -> Answers:
    """Both kinds of photos, one after the other."""
    parts = [known] if unknown is None else [known, unknown]
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("logits", "distances")))


def row(name: str, reference: tuple, variant: tuple, truth: np.ndarray) -> str:
    """One line: `reference` and `variant` are the answers on known and unknown photos."""
    threshold = metrics.threshold_accepting(reference[0].reachability, 0.95)
    first, second = joined(*reference), joined(*variant)
    lost = (reference[0].label == truth).mean() - (variant[0].label == truth).mean()
    drift = np.abs(second.reachability / first.reachability - 1)
    changed = decisions(first, threshold) != decisions(second, threshold)
    auroc = "-"
    if reference[1] is not None:
        areas = [metrics.auroc(of[0].reachability, of[1].reachability) for of in (reference, variant)]
        auroc = f"{areas[0] - areas[1]:+.4f}"
    return (f"| {name} | {(first.label != second.label).mean():.4f} | {changed.mean():.4f} | {lost:+.4f} | {auroc} | "
            f"{np.median(drift):.4f} | {np.quantile(drift, 0.95):.4f} |")


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("methods"), description="Compare ways of quantising a float bundle on the val split.",
        epilog="example: python -m oltr_models.methods work/everyday.float.onnx --images photos --labels everyday.tsv")
    parser.add_argument("source", type=Path, help="float bundle")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help=".tsv or .csv with path, class, role, split, or a folder; else one subfolder a class in --images")
    parser.add_argument("--photos", type=int, default=152, help="calibration photos (default: %(default)s)")
    parser.add_argument("--most", type=int, default=1000, help="photos of val, of each role, to judge by (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    samples = read_samples(args.images, args.labels, args.seed)
    rng = np.random.default_rng(args.seed)
    judged = []
    for known in (True, False):
        chosen = select(samples, "val", known)
        judged.append([chosen[i] for i in rng.permutation(len(chosen))[:args.most]])

    def answers(path: Path, what: str) -> tuple[Answers, Answers | None]:
        runner = Runner(path)
        known, unknown = (run_samples(runner, chosen, what) if chosen else None for chosen in judged)
        return known, unknown

    reference = answers(args.source, "float")
    truth = class_indices(judged[0], [c["id"] for c in Runner(args.source).classes])
    calibration = calibration_samples(samples, args.photos, args.seed)
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "variant.onnx"
        for variant in VARIANTS:
            with contextlib.redirect_stdout(sys.stderr):  # the histogram methods print what they collect
                quantise(args.source, target, calibration, variant.method, variant.correct, variant.spread)
            print(row(variant.name, reference, answers(target, variant.name), truth), flush=True)


if __name__ == "__main__":
    run(main)
