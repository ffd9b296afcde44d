"""`python -m oltr_models.check`: an int8 bundle against the float one it was made from.

Prints accuracy and open-set figures of both, how many decisions changed, and how far reachability
drifted. Both are judged by their own calibrated threshold; a float bundle gets one that accepts the
same share of known val photos.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from .bundle import Runner
from .cli import prog, run
from .data import read_samples, select
from .evaluation import Answers, class_indices, figures, run_samples
from .metrics import threshold_accepting

LARGEST_LOSS = 0.01  # of top-1 and of AUROC, before the command fails


def threshold_of(runner: Runner, val: Answers, share: float) -> float:
    """The bundle's threshold, or, where it accepts everything, one that accepts `share` of `val`."""
    calibrated = runner.open["reachability"] if runner.open else 0.0
    return calibrated or threshold_accepting(val.reachability, share)


def decisions(answers: Answers, threshold: float) -> np.ndarray:
    """The class of each photo, or -1 for open."""
    return np.where(answers.reachability >= threshold, answers.label, -1)


def check(paths: dict[str, Path], images: Path, labels: Path | None, split: str, seed: int) -> dict:
    """The report on both bundles as one JSON object."""
    samples = read_samples(images, labels, seed)
    known, unknown, val = (select(samples, *which) for which in ((split, True), (split, False), ("val", True)))
    report: dict = {"split": split, "known": len(known), "open": len(unknown)}
    answers, thresholds = {}, {}
    for kind, path in paths.items():
        runner = Runner(path)
        truth = class_indices(known, [c["id"] for c in runner.classes])
        counts = [c["train_count"] for c in runner.classes]
        of_known = run_samples(runner, known, f"{kind} known")
        of_unknown = run_samples(runner, unknown, f"{kind} unknown") if unknown else None
        of_val = of_known if split == "val" else run_samples(runner, val, f"{kind} val")
        thresholds[kind] = threshold_of(runner, of_val, 0.95)
        report[kind] = figures(of_known, truth, of_unknown, counts, thresholds[kind])
        parts = [of_known] + ([of_unknown] if of_unknown else [])
        answers[kind] = Answers(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("logits", "distances")))
    if len(paths) == 2:
        first, second = (answers[k] for k in paths)
        drift = np.abs(second.reachability / first.reachability - 1)
        changed = [decisions(answers[k], thresholds[k]) for k in paths]
        report["drift"] = {
            "labels_changed": float((first.label != second.label).mean()),
            "decisions_changed": float((changed[0] != changed[1]).mean()),
            "reachability_median": float(np.median(drift)),
            "reachability_p95": float(np.quantile(drift, 0.95)),
        }
    return report


def losses(report: dict) -> dict[str, float]:
    """What int8 lost against float, in points of a rate; negative where it gained."""
    result = {"top1": report["float"]["closed"]["top1"] - report["int8"]["closed"]["top1"]}
    if "auroc" in report["float"]["open_set"]:
        result["auroc"] = report["float"]["open_set"]["auroc"] - report["int8"]["open_set"]["auroc"]
    return result


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("check"), description="Compare an int8 bundle with its float original.",
        epilog="example: python -m oltr_models.check work/everyday.float.onnx everyday.onnx "
               "--images photos --labels everyday.tsv")
    parser.add_argument("float", type=Path, help="float bundle")
    parser.add_argument("int8", type=Path, help="int8 bundle")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help=".tsv or .csv with path, class, role, split, or a folder; else one subfolder a class in --images")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the split of a folder (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="write the report to this file too")
    args = parser.parse_args()
    report = check({"float": args.float, "int8": args.int8}, args.images, args.labels, args.split, args.seed)
    report["lost"] = losses(report)
    text = json.dumps(report, indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")
    worst = max(report["lost"], key=report["lost"].get)
    if report["lost"][worst] > LARGEST_LOSS:
        raise SystemExit(f"int8 loses {100 * report['lost'][worst]:.1f} points of {worst}; "
                         "try more calibration photos or another --method of quantise")


if __name__ == "__main__":
    run(main)
