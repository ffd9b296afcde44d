"""`python -m oltr_models.summary`: one page on a training, with curves; `train` writes it too.

Self-contained HTML: figures of the last epoch of every run in the folder, loss and val curves as inline
SVG, the options, and the training photos of each class.
"""

from __future__ import annotations

import argparse
import html
import json
from pathlib import Path

from .checkpoint import Checkpoint
from .cli import prog, run
from .metrics import shot_group

WIDTH, HEIGHT, MARGIN = 420, 180, 34  # pixels of a chart; the margin holds its labels
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94", "#b58900")
CHARTS = (("loss", ("loss",)), ("accuracy on val", ("val_top1", "val_macro", "val_few")),
          ("AUROC on val, known against unknown", ("val_auroc", "val_auroc_probability")))
NAMES = {"loss": "loss", "val_top1": "top-1", "val_macro": "macro", "val_few": "few-shot", "val_auroc": "reachability",
         "val_auroc_probability": "largest probability"}
STYLE = """body{font:15px/1.45 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top}
svg{margin:0 1em 1em 0}code{font-size:90%}"""


def read_history(path: Path) -> dict[str, list[dict]]:
    """The epochs of each run in order; where a run was started again, only its last ones count."""
    runs: dict[str, list[dict]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        epochs = runs.setdefault(entry["run"], [])
        del epochs[entry["epoch"] - 1:]
        epochs.append(entry)
    return runs


def chart(title: str, series: dict[str, list[tuple[int, float]]]) -> str:
    """One line chart over the epochs as SVG; nothing without points."""
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    values = [y for points in series.values() for _, y in points]
    last = max(x for points in series.values() for x, _ in points)
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def place(x: int, y: float) -> str:
        across = (x - 1) / max(1, last - 1)
        return f"{MARGIN + across * (WIDTH - 2 * MARGIN):.1f},{HEIGHT - MARGIN - (y - low) / span * (HEIGHT - 2 * MARGIN):.1f}"

    parts = [f'<svg width="{WIDTH}" height="{HEIGHT + 16}" role="img" aria-label="{html.escape(title)}" font-size="11">',
             f'<text x="{MARGIN}" y="14" font-weight="bold">{html.escape(title)}</text>',
             f'<rect x="{MARGIN}" y="{MARGIN}" width="{WIDTH - 2 * MARGIN}" height="{HEIGHT - 2 * MARGIN}" fill="none" stroke="#ccc"/>']
    for value, y in ((high, MARGIN + 4), (low, HEIGHT - MARGIN + 4)):
        parts.append(f'<text x="{MARGIN - 3}" y="{y}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - MARGIN + 14}" text-anchor="end">epoch {last}</text>')
    for index, (name, points) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{" ".join(place(*p) for p in points)}"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="2" fill="{colour}"/>' for x, y in (place(*p).split(",") for p in points)]
        parts.append(f'<text x="{MARGIN + 120 * index}" y="{HEIGHT + 8}" fill="{colour}">{html.escape(name)} {points[-1][1]:.3f}</text>')
    return "".join(parts) + "</svg>"


def page(history: dict[str, list[dict]], checkpoint: Checkpoint) -> str:
    """The whole page."""
    body = [f"<h1>Training of {len(checkpoint.classes)} classes, {sum(checkpoint.train_counts)} photos</h1>"]
    for name, epochs in history.items():
        body.append(f"<h2>{html.escape(name)}</h2>")
        for title, keys in CHARTS:
            body.append(chart(title, {NAMES[k]: [(e["epoch"], e[k]) for e in epochs if k in e] for k in keys}))
    groups: dict[str, list[str]] = {"many": [], "medium": [], "few": []}
    for cls, count in sorted(zip(checkpoint.classes, checkpoint.train_counts), key=lambda pair: -pair[1]):
        groups[shot_group(count)].append(f"{html.escape(cls)} ({count})")
    body.append("<h2>Classes and their training photos</h2><table>")
    body += [f"<tr><th>{name}-shot</th><td>{', '.join(classes)}</td></tr>" for name, classes in groups.items() if classes]
    body.append("</table><h2>Options</h2><table>")
    body += [f"<tr><th>{html.escape(k)}</th><td><code>{html.escape(str(v))}</code></td></tr>" for k, v in checkpoint.options.items()]
    body.append("</table>")
    return f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Training</title><style>{STYLE}</style>\n' + "\n".join(body) + "\n</html>\n"


def write(work: Path, checkpoint: Checkpoint) -> Path:
    """Writes `summary.html` of a work folder; returns its path."""
    target = work / "summary.html"
    target.write_text(page(read_history(work / "history.jsonl"), checkpoint), encoding="utf-8")
    return target


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("summary"), description="Write one page on a training.",
        epilog="example: python -m oltr_models.summary work/everyday")
    parser.add_argument("work", type=Path, help="the folder that `train` worked in")
    args = parser.parse_args()
    print(write(args.work, Checkpoint.load(args.work / "best.pt")))


if __name__ == "__main__":
    run(main)
