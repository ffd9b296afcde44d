"""`python -m oltr_models.average`: the weighted mean of two networks' weights.

Tuning longer makes the known classes surer and can blur what is unknown. Between two networks of which one goes on
from the other the loss has no barrier, and their mean keeps most of what each does better (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022); between two that were tuned from the same pretrained one there mostly is none
either (Wortsman et al., "Model soups", ICML 2022). The share is chosen on val.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .checkpoint import Checkpoint
from .cli import prog, run


def average(first: Checkpoint, second: Checkpoint, share: float) -> Checkpoint:
    """`second` with the weights `(1 - share) * first + share * second`; `share` from 0 to 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"--share {share}: give the second network's share, from 0 to 1")
    if (first.net.arch, first.classes, first.preprocess) != (second.net.arch, second.classes, second.preprocess):
        raise ValueError("the two checkpoints differ in architecture, classes or preprocessing; only networks of which "
                         "one was trained on from the other, or both from the same start, have a mean")
    earlier = first.net.state_dict()
    mean = {name: earlier[name].lerp(value, share) for name, value in second.net.state_dict().items()}
    second.net.load_state_dict(mean)
    return second


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("average"), description="Average the weights of two networks, one trained on from the other or both from one start.",
        epilog="example: python -m oltr_models.average work/start1/best.pt work/best.pt work/averaged.pt --share 0.6")
    parser.add_argument("first", type=Path, help="best.pt of the earlier training")
    parser.add_argument("second", type=Path, help="best.pt of the training that went on from it, or from the same start")
    parser.add_argument("target", type=Path, help="checkpoint to write")
    parser.add_argument("--share", type=float, required=True, help="of the second network, 0 to 1")
    args = parser.parse_args()
    average(Checkpoint.load(args.first), Checkpoint.load(args.second), args.share).save(args.target)
    print(args.target)


if __name__ == "__main__":
    run(main)
