"""`python -m oltr_models.card`: embeds a model card and the figures of `check` in a bundle."""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

import onnx

from .bundle import set_metadata
from .cli import prog, run


def embed(bundle: Path, card: Path, report: Path | None) -> None:
    """Sets `oltr.card` to the card's text, the figures as `check` wrote them, and today's date."""
    value = {"date": datetime.date.today().isoformat(), "text": card.read_text(encoding="utf-8")}
    if report is not None:
        value["metrics"] = json.loads(report.read_text(encoding="utf-8"))
    model = onnx.load(bundle)
    set_metadata(model, card=value)
    onnx.save(model, bundle)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("card"), description="Embed a model card in a bundle.",
        epilog="example: python -m oltr_models.card everyday.onnx everyday.card.md --report work/everyday/check.json")
    parser.add_argument("bundle", type=Path, help="ONNX bundle, changed in place")
    parser.add_argument("card", type=Path, help="the card, Markdown")
    parser.add_argument("--report", type=Path, help="figures as `check --output` writes them")
    args = parser.parse_args()
    embed(args.bundle, args.card, args.report)


if __name__ == "__main__":
    run(main)
