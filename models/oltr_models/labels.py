"""`python -m oltr_models.labels`: a folder of classes becomes a table of labels, with the split written down."""

from __future__ import annotations

import argparse
from pathlib import Path

from .cli import prog, run
from .data import SPLITS, DataError, read_folder, remarks, select, write_labels


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("labels"), description="Write down which photo of a folder of classes is in which split.",
        epilog=f"example: {prog('labels')} photos photos.tsv")
    parser.add_argument("images", type=Path, help="folder with one subfolder a class, or with train, val and test on top of these")
    parser.add_argument("target", type=Path, help=".tsv to write")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    parser.add_argument("--val", type=float, default=0.15, help="share of each class (default: %(default)s)")
    parser.add_argument("--test", type=float, default=0.15, help="share of each class (default: %(default)s)")
    args = parser.parse_args()
    if not args.images.is_dir():
        raise DataError(f"{args.images}: no such folder")
    if not (0 <= args.val and 0 <= args.test and args.val + args.test < 1):
        raise DataError("--val and --test are shares, and something must be left to train on")
    samples = read_folder(args.images, args.seed, args.val, args.test)
    write_labels(samples, args.images, args.target)
    for remark in remarks(samples):
        print(f"note: {remark}")
    counts = ", ".join(f"{len(select(samples, split, True))} {split}" for split in SPLITS)
    print(f"{args.target}: {len({s.cls for s in samples})} classes, {counts}")


if __name__ == "__main__":
    run(main)
