"""`python -m oltr_models.make`: one of the shipped bundles from its photos, all commands in a row.

It prints each command before it runs it, so that they can be run one by one too. Training goes on where
it was when it is started again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from .cli import prog, run

SMALL = ("--size", "128", "--resize", "pad", "--average", "0.99", "--shrinkage", "0.3", "--balance", "0.5", "--keep", "last")
EVERYDAY = ("--balance", "1", "--keep", "last")
PLANKTON = (*SMALL, "--pad-color", "255", "--plain-view", "--stage2-views", "1", "--turn", "--evaluate-every", "2",
            "--backbone-rate", "5e-4", "--feature-rate", "4e-4")
# One training or several, each of which goes on from stage 1 of the one before, but for those of APART.
TRAINING: dict[str, tuple[tuple[str, ...], ...]] = {
    "everyday": (EVERYDAY, (*EVERYDAY, "--frozen-blocks", "9", "--views", "4", "--average", "0.99")),
    "fish": ((*SMALL, "--frozen-blocks", "5", "--views", "4", "--stage2-views", "2", "--epochs", "9", "4",
              "--backbone-rate", "4e-4", "--head-rate", "2e-3"),),
    "plankton": ((*PLANKTON, "--frozen-blocks", "8", "--views", "1", "--most", "150", "--epochs", "2", "2", "--epoch-photos", "5000"),
                 (*PLANKTON, "--frozen-blocks", "5", "--views", "2", "--sampling", "root", "photo", "--epochs", "5", "2",
                  "--epoch-photos", "6400", "--head-rate", "2e-3")),
}
APART = {"everyday"}  # both from the pretrained start
# Share of the last training in the mean of its weights and those of the one before; chosen on val.
SHARE = {"everyday": 0.7, "plankton": 0.6}
# What the photos show, where that is not the whole of what a camera sees.
SUBJECT = {"fish": "crop", "plankton": "crop"}
# Options of `refit` and of `lift`, for a tail that training leaves short; chosen on val.
TAIL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {"plankton": (("--turn",), ("--share", "0.75", "--cap", "50"))}
# Options of `metric`, as `oltr refit` chooses them on val.
METRIC: dict[str, tuple[str, ...]] = {
    "everyday": ("--towards-mean", "0.5", "--uncertainty", "0", "--energy", "0.13"),
    "fish": ("--uncertainty", "0", "--energy", "0.07"),
    "plankton": ("--energy", "0.2"),
}
# Taught what pictures of nothing look like (`nothing`): where photos of the other sets passed for known, by val.
NOTHING = {"everyday"}
# Of nobody's set: what a bundle answers to them matters only to other runtimes. A class must not hang on rounding:
# the cup is what everyday knows; on it fish's largest logit leads by 0.06, and fish and plankton take the photo
# of examples/photos on which it leads by most, as ONNX Runtime computes it (docs/why/quantisation.md).
GOLDEN_PHOTOS = {"everyday": "cup.jpg", "fish": "retina.jpg", "plankton": "face.jpg"}


def commands(name: str, images: Path, labels: Path, work: Path, folder: Path, seed: int = 0) -> list[list[str]]:
    """The commands in their order, as arguments of `python -m`. The seed is that of whatever is drawn; 0, the commands' own, made the
    shipped bundles."""
    photos = ["--images", str(images), "--labels", str(labels)]
    seeded = ["--seed", str(seed)] if seed else []
    names = folder / f"{name}.names.tsv"  # without one, ids are names
    bundle, original, report = folder / f"{name}.onnx", work / f"{name}.float.onnx", work / "check.json"
    trainings, start, best = [], [], work / "best.pt"
    for index, options in enumerate(TRAINING[name], start=1):
        last = index == len(TRAINING[name])
        here = work if last else work / f"start{index}"
        trainings.append(["oltr_models.train", *photos, "--work", str(here), *start, *options, *seeded])
        if name not in APART:
            start = ["--start", str(here / "stage1.pt")]
    if name in SHARE:
        before, last, best = work / f"start{len(TRAINING[name]) - 1}" / "best.pt", best, work / "averaged.pt"
        trainings.append(["oltr_models.average", str(before), str(last), str(best), "--share", str(SHARE[name])])
    exported, tail = original, []
    if name in TAIL:
        exported, fitted = work / f"{name}.exported.onnx", work / f"{name}.refit.onnx"
        tail = [["oltr_models.refit", str(exported), str(fitted), *photos, *TAIL[name][0], *seeded],
                ["oltr_models.lift", str(fitted), str(original), *TAIL[name][1]]]
    return trainings + [
        ["oltr_models.export", str(best), str(exported), "--name", name,
         *(["--names", str(names)] if names.exists() else [])],
        *tail,
        ["oltr_models.quantise", str(original), str(bundle), *photos, *seeded],
        *([["oltr_models.subject", str(bundle), SUBJECT[name]]] if name in SUBJECT else []),
        ["oltr_models.metric", str(bundle), str(bundle), *photos, *METRIC[name]],
        *([["oltr_models.nothing", str(bundle), str(bundle), *photos]] if name in NOTHING else []),
        ["oltr_models.check", str(original), str(bundle), *photos, "--output", str(report)],
        ["oltr_models.card", str(bundle), str(folder / f"{name}.card.md"), "--report", str(report)],
        ["oltr_models.golden", str(bundle), str(folder / "../examples/photos" / GOLDEN_PHOTOS[name]), str(folder / f"{name}.golden.npz")],
    ]


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("make"), description="Make one of the shipped bundles from its photos.",
        epilog="example: python -m oltr_models.make fish --images photos --labels fish.tsv --work work/fish")
    parser.add_argument("name", choices=sorted(TRAINING), help="bundle")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, required=True, help=".tsv with path, class, role, split")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, history and checkpoints")
    parser.add_argument("--folder", type=Path, default=Path(), help="holds NAME.names.tsv and NAME.card.md and gets the bundle (default: here)")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings and of what is drawn after them (default: %(default)s, as shipped)")
    args = parser.parse_args()
    for command in commands(args.name, args.images, args.labels, args.work, args.folder, args.seed):
        print("python -m " + shlex.join(command), flush=True)
        if subprocess.run([sys.executable, "-m", *command]).returncode != 0:
            raise ValueError(f"{command[0]} failed; what it needs is said above. Run this again to go on from there")


if __name__ == "__main__":
    run(main)
