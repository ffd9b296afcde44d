#!/usr/bin/env python3
"""Writes docs/results/producers.md: networks of others, as each producer of quantised files writes them, with
what oltr makes of each.

    python -m venv networks && networks/bin/pip install onnx onnxruntime numpy
    python -m venv nncf && nncf/bin/pip install nncf onnx onnxruntime
    networks/bin/python benches/producers.py --oltr target/release/oltr --nncf nncf/bin/python --brevitas brevitas/bin/python

Without `--nncf` or `--brevitas` that producer is left out, and the page says so. What was quantised before lies in `--work`.
"""

import argparse
import functools
import subprocess
import sys
from datetime import date
from pathlib import Path

import onnx
import onnxruntime as ort
from coverage import TURNS, bad, latency, line, measure
from networks import FURTHER_ON, NETWORKS, quantised

HERE = Path(__file__).parent
FORMS = ["u8u8", "u8u8pc", "u8s8", "u8s8pc", "s8s8", "s8s8pc"]
ORT = [form for f in FORMS for form in (f, f"qop-{f}")] + ["floatbias", "symmetric", "dedicated"]

HEAD = """# Quantised files of other producers

<!-- Written by benches/producers.py: edits are lost. -->

*In short*

{short}

The networks are small forms of the published ones (96 × 96 pixels, random weights; `benches/networks/`). *Int8* is the share of
multiply-accumulates that int8 layers compute. *Cosine* is the least over all outputs and three inputs to ONNX Runtime
{version}, unoptimised. *Ratio* is oltr's time over that of ONNX Runtime, optimised, with exact sums, on one thread in the same run (least
of {runs} runs each, in turns). *Float* is oltr's time for the network before it was quantised: a quantised file must never be slower.
Measured {date} on {machine}, with other work on it: ratios are what counts.

| producer | setting | meaning |
|---|---|---|
| ONNX Runtime | `u8s8` … | types of activations and weights, QDQ; `qop-`: QOperator; `pc`: weights per channel |
| ONNX Runtime | `floatbias`, `symmetric`, `dedicated` | `u8s8pc` with `QuantizeBias=False`; `s8s8pc` with `ActivationSymmetric`; `u8s8pc` with `DedicatedQDQPair` |
| ONNX Runtime | others | `benches/networks/settings.py` says which options each has; `convolutions`: nothing else is quantised; `dynamic`: ranges per frame |
| NNCF | `nncf` | the default preset: activations of depthwise convolutions per channel, float biases, BatchNormalization kept |
| Brevitas | `brevitas-…` | QCDQ: bytes clipped between Q and DQ; a network of its own |
{missing}"""


def main() -> int:
    options = parser().parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name, build in NETWORKS.items():
        if options.only and name not in options.only.split(","):
            continue
        plain = options.work / f"{name}.onnx"
        if not plain.exists():
            onnx.save(build(), plain)
        settings = ORT + FURTHER_ON.get(name, []) + (["nncf"] if options.nncf else [])
        found = [row(name, setting, plain, options) for setting in settings]
        rows[name] = [r for r in found if r]
        if options.report:  # as far as it got
            options.report.write_text(page(rows, options))
    if options.brevitas:
        found = [brevitas(weights, options) for weights in ("tensor", "channels")]
        rows["small"] = [r for r in found if r]
    if options.report:
        options.report.write_text(page(rows, options))
    return int(any(bad(r) for network in rows.values() for r in network if r["setting"] in ORT))


def row(name: str, setting: str, plain: Path, options) -> dict | None:
    file = options.work / f"{name}.{setting}.onnx"
    try:
        if not file.exists() and setting == "nncf":
            subprocess.run([options.nncf, HERE / "networks/by_nncf.py", plain, file], check=True, capture_output=True)
        elif not file.exists():
            quantised(plain, file, setting)
    except Exception as error:  # what a producer cannot write is no matter of oltr's
        print(f"{name:12} {setting:12} not quantised: {str(error)[:90]}", file=sys.stderr)
        return None
    found = measure(name, setting, file, options)
    if not options.no_time and "refused" not in found:
        found["float_ms"] = float_latency(options.oltr, plain)
    print(f"{name:12} {setting:12} {line(found)}", flush=True)
    return found


@functools.cache
def float_latency(oltr: Path, plain: Path) -> float:
    return latency(oltr, plain)


def brevitas(weights: str, options) -> dict | None:
    file = options.work / f"small.brevitas-{weights}.onnx"
    try:
        if not file.exists():
            script = HERE / "networks/by_brevitas.py"
            subprocess.run([options.brevitas, script, weights, file], check=True, capture_output=True)
    except Exception as error:
        print(f"brevitas {weights}: {str(error)[:90]}", file=sys.stderr)
        return None
    found = measure("small", f"brevitas-{weights}", file, options)
    print(f"{'small':12} brevitas-{weights:8} {line(found)}", flush=True)
    return found


def page(rows: dict, options) -> str:
    flat = [r for network in rows.values() for r in network]
    loaded = [r for r in flat if "refused" not in r]
    static = [r for r in loaded if r["setting"] in ORT]
    ratios = [r["oltr_ms"] / r["ort_ms"] for r in loaded if "ort_ms" in r]
    slow = [r for r in loaded if r.get("oltr_ms", 0) > 0.75 * r.get("ort_ms", float("inf"))]
    slower = [r for r in loaded if r.get("oltr_ms", 0) > r.get("float_ms", float("inf"))]
    named = lambda found: ", ".join(f"{r['network']} {r['setting']}" for r in found) or "none"
    low = [r for r in loaded if r["int8"] < 0.99]
    short = [
        f"- {len(loaded)} of {len(flat)} files load. In ONNX Runtime's static settings at least"
        f" {100 * min(r['int8'] for r in static):.1f} % of the multiply-accumulates run in int8,",
        f"  and the least cosine to the unoptimised reference is {min(r['cosine'] for r in static):.5f}.",
        f"- Below 99 % in int8: {named(low)}.",
    ]
    if ratios:
        short += [
            f"- oltr takes {min(ratios):.2f} to {max(ratios):.2f} of ONNX Runtime's time; more than 0.75: {named(slow)}.",
            f"- Slower than the float file: {named(slower)}.",
        ]
    missing = [f"{n} was not measured." for n, there in (("NNCF", options.nncf), ("Brevitas", options.brevitas)) if not there]
    missing.append(
        "PyTorch's FX export was not measured. Its forms (casts, computed zero points, weights that are"
        "\ntransposed behind DequantizeLinear) are in `tests/graphs/ops`."
    )
    head = HEAD.format(
        short="\n".join(short),
        version=ort.__version__,
        runs=30 * TURNS,
        date=date.today(),
        machine=machine(),
        missing="\n" + "\n".join(missing) + "\n",
    )
    return head + "".join(f"\n## {name}\n\n{table(found)}" for name, found in rows.items() if found)


def table(rows: list[dict]) -> str:
    lines = ["| setting | int8 | cosine | oltr, ms | ONNX Runtime, ms | ratio | float, ms |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        if "refused" in r:
            lines.append(f"| {r['setting']} | refused: {r['refused'].splitlines()[-1][:120]} | | | | | |")
            continue
        times = ""
        if "ort_ms" in r:
            level = "" if r["level"] == "all" else f" ({r['level']})"
            float_ms = f"{r['float_ms']:.2f}" if "float_ms" in r else ""
            times = f"{r['oltr_ms']:.2f} | {r['ort_ms']:.2f}{level} | {r['oltr_ms'] / r['ort_ms']:.2f} | {float_ms}"
        else:
            times = " | | |"
        lines.append(f"| {r['setting']} | {100 * r['int8']:.1f} % | {r['cosine']:.5f} | {times} |")
    lines.append("")
    for why in sorted({r["why"] for r in rows if r.get("why")}):
        lines.append(f"In float: {why}.\n")
    return "\n".join(lines)


def machine() -> str:
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.split(":", 1)[1].strip()
    return "an unnamed processor"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oltr", type=Path, default=Path("target/release/oltr"))
    parser.add_argument("--work", type=Path, default=Path("target/networks"))
    parser.add_argument("--only", help="these networks only, separated by commas")
    parser.add_argument("--nncf", help="a Python with nncf, onnx and onnxruntime")
    parser.add_argument("--brevitas", help="a Python with brevitas and torch")
    parser.add_argument("--report", type=Path, help="write the page to this file")
    parser.add_argument("--no-time", action="store_true", help="measure no times")
    return parser


if __name__ == "__main__":
    sys.exit(main())
