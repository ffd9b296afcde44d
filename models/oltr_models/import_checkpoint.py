"""`python -m oltr_models.import_checkpoint`: a checkpoint of the published OLTR code becomes a float bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from .bundle import PROBABILITY
from .cli import prog, run
from .data import Preprocess, read_class_table
from .export import write_bundle
from .published import SIZE, load_published
from .published_graph import published_graph

RESIZE_TO = 256
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def import_checkpoint(source: Path, target: Path, name: str, classes: Path | None, mean: tuple, std: tuple) -> None:
    """Writes the float bundle; its rule is the published one until `quantise` has set a threshold."""
    net = load_published(source)
    known = len(net.head.centroids)
    entries = read_class_table(classes, known) if classes else [{"id": str(k), "name": str(k), "train_count": 0} for k in range(known)]
    preprocess = Preprocess(SIZE, "shorter-side", RESIZE_TO, tuple(mean), tuple(std))
    rule = {"rule": "max-probability", "reachability": 0.0, "probability": PROBABILITY,
            "calibration": {"operating_point": "published: largest probability below 0.1 is open"}}
    write_bundle(target, published_graph(net), net, name, entries, preprocess, rule)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog("import_checkpoint"),
        description="Write a checkpoint of the published OLTR implementation as a float ONNX bundle.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="example: python -m oltr_models.import_checkpoint final_model_checkpoint.pth imagenet-lt.float.onnx "
               "--classes imagenet-lt.tsv")
    parser.add_argument("checkpoint", type=Path, help="final_model_checkpoint.pth of stage 2 (meta-embedding)")
    parser.add_argument("target", type=Path, help="float bundle to write")
    parser.add_argument("--name", help="of the bundle; else the file's name up to the first dot")
    parser.add_argument("--classes", type=Path, help=".tsv with the columns id, and maybe name and train_count, a line for each "
                                                     "class in the order of its label; else the classes are numbers")
    parser.add_argument("--mean", type=float, nargs=3, default=IMAGENET_MEAN, help="of red, green, blue on the scale 0 to 255")
    parser.add_argument("--std", type=float, nargs=3, default=IMAGENET_STD, help="of red, green, blue on the scale 0 to 255")
    return parser


def main() -> None:
    """Runs the command."""
    args = arguments().parse_args()
    import_checkpoint(args.checkpoint, args.target, args.name or args.target.name.split(".")[0], args.classes, args.mean, args.std)
    print(f"{args.target}: {args.target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
