#!/usr/bin/env python3
"""Makes networks that nobody here designed, quantises them in each of ONNX Runtime's static settings, and writes a table:
whether oltr loads them, how much of them it computes in int8, how near its results are to ONNX Runtime's unoptimised
ones, and the time of both beside each other.

    python -m venv networks && networks/bin/pip install onnx onnxruntime numpy
    networks/bin/python benches/coverage.py --oltr target/release/oltr [--only shuffle] [--settings u8s8pc,qop] [--report FILE]

Files of other producers (NNCF, Brevitas, PyTorch, networks of torchvision and timm) can be named instead:

    networks/bin/python benches/coverage.py --oltr target/release/oltr quantised/*.onnx

The networks are small forms of the published ones (96 × 96 pixels) with random weights; `networks/` defines them.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from networks import NETWORKS, SETTINGS, quantised

SAMPLES = 3
TURNS = 2
NEVER = float("inf")
LEVEL = ort.GraphOptimizationLevel


def main() -> int:
    options = parser().parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for file in options.files:
        row = measure(file.stem, "as it is", file, options)
        print(f"{file.stem:40} {line(row)}", flush=True)
        rows.append(row)
    for name, build in {}.items() if options.files else NETWORKS.items():
        if options.only and not any(word in name for word in options.only.split(",")):
            continue
        plain = options.work / f"{name}.onnx"
        if not plain.exists():
            onnx.save(build(), plain)
        for setting in SETTINGS:
            if options.settings and setting not in options.settings.split(","):
                continue
            file = options.work / f"{name}.{setting}.onnx"
            try:
                if not file.exists():
                    quantised(plain, file, setting)
            except Exception as error:  # what a quantiser cannot write is no matter of oltr's
                print(f"{name:12} {setting:12} not quantised: {str(error)[:90]}", file=sys.stderr)
                continue
            row = measure(name, setting, file, options)
            if not options.no_time:
                row["float_ms"] = latency(options.oltr, plain)
            print(f"{name:12} {setting:12} {line(row)}", flush=True)
            rows.append(row)
    if options.report:
        options.report.write_text(table(rows))
    return int(any(bad(row) for row in rows))


def measure(name: str, setting: str, file: Path, options) -> dict:
    row = {"network": name, "setting": setting}
    inputs = {i.name: i.shape for i in session(file).get_inputs()}
    random = np.random.default_rng(7)
    cosines = []
    for sample in range(SAMPLES):
        feed = {n: random.normal(0, 1, shape).astype(np.float32) for n, shape in inputs.items()}
        reference = session(file).run(None, feed)
        names = [o.name for o in session(file).get_outputs()]
        golden, ours = options.work / "golden.npz", options.work / "ours.npz"
        np.savez(golden, **feed, **dict(zip(names, reference)))
        ours.unlink(missing_ok=True)
        command = [options.oltr, "verify", "-q", "--json", "--output", ours, file, golden]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)
        if not ours.exists():
            row["refused"] = (done.stderr.strip() or done.stdout.strip())[:200]
            return row
        results = np.load(ours)
        cosines.append(min(cosine(results[n], r) for n, r in zip(names, reference)))
    row["cosine"] = min(cosines)
    told = subprocess.run([str(options.oltr), "inspect", "--json", str(file)], capture_output=True, text=True)
    report = json.loads(told.stdout)
    row["int8"] = report["int8"]["int8_macs"] / max(1, report["int8"]["macs"])
    row["programs"] = len({s["program"] for s in report["steps"] if s["program"] is not None})
    row["tract"] = sum(s["program"] is None for s in report["steps"])
    row["why"] = (report["int8"]["fallback"] or {}).get("reason", "")
    if not options.no_time:
        # In turns, so that both see the same machine.
        run, row["level"] = optimised(file)
        for _ in range(TURNS):
            row["oltr_ms"] = min(row.get("oltr_ms", NEVER), latency(options.oltr, file))
            row["ort_ms"] = min(row.get("ort_ms", NEVER), timed(run, feed))
    return row


def optimised(file: Path) -> tuple[ort.InferenceSession, str]:
    """ONNX Runtime with exact sums at the highest level of optimisation at which it loads the file."""
    for level in ("ALL", "EXTENDED", "BASIC"):
        try:
            return session(file, getattr(LEVEL, f"ORT_ENABLE_{level}"), True), level.lower()
        except Exception as error:  # its optimiser fails on some files
            print(f"ONNX Runtime, {level}: {str(error)[:120]}", file=sys.stderr)
    return session(file, LEVEL.ORT_DISABLE_ALL, True), "none"


def latency(oltr: Path, file: Path) -> float:
    """The least of 30 runs, in milliseconds."""
    command = [str(oltr), "bench", "-q", "--json", "--runs", "30", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["latency_ms"]["min"]


def session(file: Path, level=LEVEL.ORT_DISABLE_ALL, exact: bool = False) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def timed(run: ort.InferenceSession, feed: dict) -> float:
    times = []
    for _ in range(30):
        begin = time.perf_counter()
        run.run(None, feed)
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if np.array_equal(a, b):
        return 1.0
    return float(a @ b / max(1e-30, np.linalg.norm(a) * np.linalg.norm(b)))


def bad(row: dict) -> bool:
    least = 0.95 if row["network"].startswith(("convnext", "mobilevit")) else 0.99
    slow = row.get("oltr_ms", 0) > min(0.75 * row.get("ort_ms", NEVER), row.get("float_ms", NEVER))
    return "refused" in row or row["int8"] < least or row["cosine"] < 0.999 or slow


def line(row: dict) -> str:
    if "refused" in row:
        return f"REFUSED {row['refused']}"
    times = f"{row['oltr_ms']:8.2f} ms, ORT {row['ort_ms']:8.2f}" if "ort_ms" in row else ""
    return (
        f"int8 {row['int8'] * 100:6.2f} %  cosine {row['cosine']:.5f}  programs {row['programs']} tract {row['tract']:3}"
        f" {times}{'  BAD' if bad(row) else ''}  {row['why'][:70]}"
    )


def table(rows: list[dict]) -> str:
    lines = [
        "| network | setting | MACs in int8 | cosine | programs | oltr ms | ONNX Runtime ms | oltr, float file, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['network']} | {row['setting']} | refused | | | | | |")
            continue
        times = " | ".join(f"{row[k]:.2f}" if k in row else "" for k in ("oltr_ms", "ort_ms", "float_ms"))
        lines.append(
            f"| {row['network']} | {row['setting']} | {row['int8'] * 100:.1f} % | {row['cosine']:.5f} |"
            f" {row['programs']} | {times} |"
        )
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="measure these quantised files, whoever made them, instead")
    parser.add_argument("--oltr", type=Path, default=Path("target/release/oltr"))
    parser.add_argument("--work", type=Path, default=Path("target/networks"))
    parser.add_argument("--only", help="networks whose names hold one of these words")
    parser.add_argument("--settings", help="these settings only, separated by commas")
    parser.add_argument("--report", type=Path, help="write the table to this file")
    parser.add_argument("--no-time", action="store_true", help="measure no times")
    return parser


if __name__ == "__main__":
    sys.exit(main())
