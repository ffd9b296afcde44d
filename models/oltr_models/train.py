"""`python -m oltr_models.train`: labelled photos become a trained network, in two stages."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import summary
from .backbone import NETWORKS
from .checkpoint import Checkpoint
from .cli import prog, run
from .network import ABLATIONS
from .trainer import SAMPLING, Trainer, options_of


def arguments(prog: str, description: str) -> argparse.ArgumentParser:
    """The command line, which the softmax baseline shares."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog=f"example: {prog} --images photos --labels everyday.tsv --work work/everyday")
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder with the photos")
    add("--labels", type=Path, help=".tsv or .csv with path, class, role, split, or a folder; else one subfolder a class in --images")
    add("--work", type=Path, required=True, help="folder for caches, history and the checkpoint best.pt")
    add("--size", type=int, default=224, help="input pixels of a side")
    add("--resize", choices=("shorter-side", "pad", "stretch"), default="stretch", help="geometry of the preprocessing")
    add("--resize-to", type=int, default=0, help="shorter side before the centre crop; 0 is the size")
    add("--pad-color", type=int, default=127, help="grey of the border that `pad` adds, 0 to 255")
    add("--dim", type=int, default=512, help="numbers of the direct feature")
    add("--backbone", choices=tuple(NETWORKS), default="lite0", help="pretrained network; lite1 and lite2 need their weights' package")
    add("--frozen-blocks", type=int, default=12, help="early blocks that stay as pretrained, of 16 in lite0 and 21 in lite1 and lite2")
    add("--views", type=int, default=6, help="random views of each training photo")
    add("--plain-view", action="store_true", help="train on the photo itself too, as one more view")
    add("--stage2-views", type=int, default=0, help="views that stage 2 takes; 0 is all of them")
    add("--most", type=int, default=0, help="training photos of a class; more are left out. 0 takes all")
    add("--turn", action="store_true", help="views turned by quarters too: for subjects without an upright side")
    add("--cutouts", type=Path, help="folder of `cutouts`: what each training photo shows without its ground")
    add("--foreign-grounds", type=float, default=0.0, help="share of the views whose subject lies on another photo's ground: for cuts "
        "from a camera that saw none of the training photos; needs --cutouts")
    add("--batch", type=int, default=32, help="photos of a training step")
    add("--start", type=Path, help="stage1.pt of an earlier run to train on from; else the start is a discriminant")
    add("--shrinkage", type=float, default=0.8, help="of the covariance in the discriminant start")
    add("--epochs", type=int, nargs=2, default=(8, 4), metavar=("STAGE1", "STAGE2"), help="passes over the photos; 0 leaves stage 2 out")
    add("--backbone-rate", type=float, default=2e-4, help="learning rate of the late blocks")
    add("--feature-rate", type=float, default=2e-4, help="learning rate of the fully connected layer")
    add("--head-rate", type=float, default=3e-3, help="learning rate of stage 1's classifier")
    add("--memory-rate", type=float, default=1e-4, help="learning rate of the open-world head in stage 2")
    add("--attention-rate", type=float, default=3e-4, help="learning rate of the modulated attention")
    add("--stage2-factor", type=float, default=0.25, help="of the backbone's and feature's learning rates in stage 2")
    add("--sampling", choices=tuple(SAMPLING), nargs=2, default=("photo", "photo"), metavar=("STAGE1", "STAGE2"),
        help="each photo once (photo), each class equally often (class), or between them (root)")
    add("--epoch-photos", type=int, default=0, help="photos of a pass; 0 is as many as there are")
    add("--ablate", choices=ABLATIONS, nargs="*", default=(), help="parts to leave out of stage 2, to measure what they bring")
    add("--weight-decay", type=float, default=1e-2, help="decoupled weight decay")
    add("--smoothing", type=float, default=0.1, help="label smoothing")
    add("--mixup", type=float, default=0.2, help="beta parameter of mixed activations; 0 is off")
    add("--balance", type=float, help="share of the log prior in the balanced softmax, 0 (plain cross-entropy) to 1; without it "
        "stage 1 takes 1, and the largest whose top-1 on val is within a point of the best goes on, with the classifier fitted to it")
    add("--stage2-balance", type=float, help="the same in stage 2, where it differs")
    add("--keep", choices=("best", "last"), default="best", help="the epoch whose weights are kept: the best one on val by top-1, "
        "with unknown photos the mean of top-1 and AUROC; or the last")
    add("--distance-loss", type=float, default=1.0, help="weight of the cross-entropy of distances in stage 2")
    add("--margin-loss", type=float, default=0.01, help="weight of L_LM in stage 2")
    add("--average", type=float, default=0.98, help="decay of the moving average of the weights")
    add("--seed", type=int, default=0, help="of splits, views, sampling and initial weights")
    add("--threads", type=int, default=2, help="CPU threads")
    add("--device", default="cpu", help="cpu, or cuda where PyTorch finds one; the result is not the same to the last bit")
    add("--evaluate-every", type=int, default=1, help="epochs between evaluations on val")
    add("--report-test", action="store_true", help="print the float figures on test too; choose nothing by them")
    add("--restart", action="store_true", help="train anew instead of going on with what --work holds")
    return parser


def main() -> None:
    """Runs the command."""
    args = arguments(prog("train"), "Train an OLTR network on labelled photos.").parse_args()
    args.epochs, args.sampling, args.ablate = list(args.epochs), list(args.sampling), sorted(args.ablate)
    trainer = Trainer(args)
    trainer.run_stage(1, args.epochs[0])
    if args.epochs[1] == 0:
        print(args.work / "stage1.pt")
        return
    trainer.run_stage(2, args.epochs[1])
    name = trainer.run_name(2).replace("stage2", "best")
    target = args.work / f"{name}.pt"
    checkpoint = Checkpoint(trainer.net.eval(), trainer.preprocess, trainer.classes, trainer.counts, options_of(args))
    checkpoint.save(target)
    print(f"{target}: {json.dumps(trainer.evaluate(trainer.net, 2))}")
    print(summary.write(args.work, checkpoint))
    if args.report_test:
        report = json.dumps(trainer.test(), indent=2)
        (args.work / f"{name}.test.json").write_text(report + "\n", encoding="utf-8")
        print(report)


if __name__ == "__main__":
    run(main)
