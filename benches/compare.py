#!/usr/bin/env python3
"""Runs oltr and other runtimes on the same graphs, interleaved, and writes docs/results/benchmarks.md with its chart.

    python -m venv peers && peers/bin/pip install -r benches/requirements.txt
    peers/bin/pip install --no-deps -r benches/requirements-pnnx.txt
    python -m venv litert && litert/bin/pip install -r benches/requirements-litert.txt
    (cd models && python -m oltr_models.graphs --size large --out ../target/graphs)
    cargo build --release
    peers/bin/python benches/compare.py --quick --litert-python litert/bin/python

Peers' models are converted once (minutes) and kept in --work; later runs only measure.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from compare import machine, report
from compare.forms import Forms, Unavailable
from compare.graphs import Graph, find
from compare.measure import Engine, Oltr, Result, Row, Worker, interleaved

ROOT = Path(__file__).parents[1]

ROWS = [
    Row("oltr", "oltr, int8", "plain", peer=False),
    Row("oltr-frame", "oltr, int8, from a camera frame", "bundle", peer=False),
    Row("tract", "tract, int8 graph", "plain"),
    Row("ort", "ONNX Runtime, int8", "plain"),
    Row("ort-exact", "ONNX Runtime, int8, exact", "plain"),
    Row("openvino", "OpenVINO, int8", "plain"),
    Row("ncnn-int8", "ncnn, int8", "ncnn_int8"),
    Row("ncnn", "ncnn, f32", "ncnn"),
    Row("litert", "LiteRT with XNNPACK, int8", "litert"),
    Row("ort-float", "ONNX Runtime, f32", "floating", peer=False),
]


def main() -> int:
    options = parser().parse_args()
    if options.report:
        run = json.loads(options.report.read_text())
    else:
        graphs = find(options.graphs, options.bundle, options.only)
        if options.quick and not options.only:
            graphs = [graph for graph in graphs if graph.bar is not None]
        if not graphs:
            sys.exit(f"compare.py: no graphs in {options.graphs}: make them with python -m oltr_models.graphs")
        if not options.oltr.exists():
            sys.exit(f"compare.py: no program at {options.oltr}: build it with cargo build --release")
        if options.nice is not None:
            # What it starts inherits it.
            os.setpriority(os.PRIO_PROCESS, 0, options.nice)
        run = measure(graphs, options)
    results = [Result(**fields) for fields in run["results"]]
    report.write(options.out, run, ROWS, results, options.peak)
    print(report.summary(run, ROWS, results))
    return 0


def measure(graphs: list[Graph], options: argparse.Namespace) -> dict:
    """Everything that the report says. Kept in --work as it grows, so that a run cut short is not lost."""
    rounds, seconds = options.rounds or (5 if options.quick else 11), 0.2 if options.quick else 0.5
    load, busy_before, began = machine.load(), machine.busy(), time.monotonic()
    run = {
        "machine": machine.describe(),
        "versions": versions(options.oltr),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "graphs": [{"name": g.name, "title": g.title, "bar": g.bar} for g in graphs],
        "threads": options.threads,
        "rounds": rounds,
        "seconds": seconds,
        "results": [],
    }
    for graph in graphs:
        forms = Forms(graph, options.work, options.litert_python)
        for threads in options.threads:
            engines, missing = prepare(graph, forms, threads, options)
            interleaved(engines, rounds, seconds)
            run["results"] += [dataclasses.asdict(result) for result in [e.result for e in engines] + missing]
            worked, stolen = (now - before for now, before in zip(machine.busy(), busy_before, strict=True))
            wall = time.monotonic() - began
            run |= {"wall_seconds": wall, "cores_busy": worked / wall, "cores_stolen": stolen / wall}
            run["load"] = [load, machine.load()]
            (options.work / "results.json").write_text(json.dumps(run, indent=1))
            say(f"{graph.name}, {threads} thread(s): {wall:.0f} s since the start")
    return run


def prepare(graph: Graph, forms: Forms, threads: int, options: argparse.Namespace) -> tuple[list[Engine], list[Result]]:
    """The engines that have what they need, and results of the others that say what is missing."""
    engines: list[Engine] = []
    missing = []
    for row in ROWS:
        result = Result(row.key, graph.name, threads)
        if row.key in options.without or (row.form == "bundle" and not graph.bundle):
            continue
        try:
            if row.key == "ort-exact" and not saturates():
                raise Unavailable("not needed: this processor's int8 products do not saturate")
            if row.key == "tract" and threads > 1:
                raise Unavailable("its Python package computes on one thread only")
            model = graph.model if row.form == "bundle" else getattr(forms, row.form)()
        except Unavailable as error:
            result.unavailable = str(error)
            missing.append(result)
            continue
        if row.key.startswith("oltr"):
            engines.append(Oltr(result, options.oltr, model, list(graph.goldens), graph.samples()))
        else:
            kind = {"ort-float": "ort", "ncnn-int8": "ncnn"}.get(row.key, row.key)
            engines.append(Worker(result, kind, model, forms.samples(), graph.samples()))
    return engines, missing


def saturates() -> bool:
    """Whether runtimes here may multiply with vpmaddubsw, for want of a dot product."""
    return machine.has("avx2") and not (machine.has("avx_vnni") or machine.has("avx512_vnni"))


def versions(oltr: Path) -> dict[str, str]:
    """Of the engines, by their names on PyPI."""
    text = subprocess.run([str(oltr), "--version", "-v"], capture_output=True, text=True, check=True).stdout
    packages = ["tract", "onnxruntime", "openvino", "ncnn", "ai-edge-litert"]
    return {"oltr": ", ".join(text.strip().splitlines())} | {name: machine.version(name) for name in packages}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    description, _, example = __doc__.partition("\n\n")
    p = argparse.ArgumentParser(
        description=description, epilog=example, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--oltr", type=Path, default=ROOT / "target/release/oltr", metavar="FILE", help="program to measure")
    p.add_argument("--graphs", type=Path, default=ROOT / "target/graphs", metavar="DIR", help="graphs and goldens")
    p.add_argument("--bundle", type=Path, default=ROOT / "models/everyday.onnx", metavar="FILE", help="shipped bundle")
    p.add_argument("--only", action="append", metavar="NAME", help="only this graph, may be repeated")
    p.add_argument("--without", action="append", default=[], metavar="ENGINE", help="not this engine, may be repeated")
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    p.add_argument("--quick", action="store_true", help="fewer and shorter bursts, only graphs with a bar: minutes")
    p.add_argument("--rounds", type=int, metavar="N", help="bursts of each engine (default: 11, quick 5)")
    p.add_argument("--nice", type=int, metavar="N", help="priority of all engines (below 0 needs the right to)")
    p.add_argument("--work", type=Path, default=ROOT / "target/compare", metavar="DIR", help="peers' models, results")
    p.add_argument("--litert-python", type=Path, metavar="FILE", help="interpreter with requirements-litert.txt")
    p.add_argument("--peak", type=float, metavar="GMAC/S", help="measured peak of the multiply instruction, one thread")
    p.add_argument("--report", type=Path, metavar="JSON", help="write the document from these results, measure nothing")
    p.add_argument("--out", type=Path, default=ROOT / "docs/results/benchmarks.md", metavar="FILE", help="document to write")
    return p


if __name__ == "__main__":
    sys.exit(main())
