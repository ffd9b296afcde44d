"""`python -m oltr_models.subject`: says in a bundle what its training pictures show."""

from __future__ import annotations

import argparse
from pathlib import Path

from .bundle import SUBJECTS, set_subject
from .cli import prog, run


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("subject"),
        description="Say in a bundle what its training pictures show: `frame`, all that a camera sees, or `crop`, one thing "
                    "that was cut out. Nothing else in the file changes its meaning.",
        epilog="example: python -m oltr_models.subject fish.onnx crop")
    parser.add_argument("bundle", type=Path, help="is rewritten")
    parser.add_argument("subject", choices=SUBJECTS)
    args = parser.parse_args()
    set_subject(args.bundle, args.subject)


if __name__ == "__main__":
    run(main)
