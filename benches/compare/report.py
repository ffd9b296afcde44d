"""Writes docs/results/benchmarks.md and its chart from the results of a run."""

from pathlib import Path

from . import chart
from .measure import Result, Row

HEAD = "# Benchmarks\n\n<!-- Written by benches/compare.py, with its chart: edits are lost. -->\n\n"

CHART = "latency.svg"

# Cosine of the logits with exact arithmetic. Quantisers of peers choose other ranges than oltr's
# did: that costs up to 0.01. Saturated sums cost far more.
AGREES = 0.98

Cells = dict[tuple[str, str, int], Result]


def write(out: Path, run: dict, rows: list[Row], results: list[Result], peak: float | None) -> None:
    """Replaces `out`, and the chart beside it."""
    cells: Cells = {(r.row, r.graph, r.threads): r for r in results}
    used = [row for row in rows if any(r.row == row.key for r in results)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(HEAD + _document(run, used, cells, peak))
    out.with_name(CHART).write_text(_chart(run, used, cells))


def _document(run: dict, used: list[Row], cells: Cells, peak: float | None) -> str:
    parts = [_in_short(run, used, cells), _bars(run, used, cells)]
    for threads in run["threads"]:
        parts.append(_latency(run, used, cells, threads))
    parts += [_agreement(run, used, cells), _memory(run, used, cells), _roofline(run, cells, peak)]
    parts += [_instruction_sets(run), _how(run)]
    return "\n".join(parts)


def _in_short(run: dict, rows: list[Row], cells: Cells) -> str:
    """Three lines and the chart."""
    machine, threads = run["machine"], run["threads"][0]
    ratios = []
    for count in run["threads"]:
        found = []
        for graph in run["graphs"]:
            ours = cells.get(("oltr", graph["name"], count))
            peer = fastest(rows, cells, graph["name"], count, right=False)
            if ours and ours.medians_ms and peer:
                found.append(ours.median / peer[1].median)
        if found:
            ratios.append(f"{min(found):.2f} to {max(found):.2f} of the fastest peer's ({_threads(count)})")
    place = f"{machine['processor']}; {machine['date'][:10]}"
    lines = [f"oltr's median latency is {', '.join(ratios)}\n  ({place})."] if ratios else []
    agreed = [r.cosine for r in cells.values() if r.row == "oltr" and r.cosine is not None]
    titles = {row.key: row.title.partition(",")[0] for row in rows}
    wrong = sorted(
        {titles[r.row] for r in cells.values() if r.row in titles and r.cosine is not None and r.cosine < AGREES}
    )
    if agreed:
        others = f"Outputs of {', '.join(wrong)} differ on some graph." if wrong else "No peer's outputs differ."
        exact = f"Its outputs agree with exact integer arithmetic (cosine of the logits {min(agreed):.4f} or more)"
        lines.append(f"{exact}.\n  {others}")
    bundle = cells.get(("oltr", "bundle", threads))
    if bundle and bundle.medians_ms and bundle.peak_bytes:
        lines.append(
            f"The shipped bundle gives its first result {bundle.first_ms:.0f} ms after the start of the process,\n"
            f"  takes {bundle.median:.2f} ms a frame ({_threads(threads)}),"
            f" and holds {bundle.peak_bytes / 2**20:.0f} MiB at its peak."
        )
    listed = "".join(f"- {line}\n" for line in lines)
    return (
        f"*In short*\n\n{listed}\n![Latencies of all engines, {_threads(threads)}]({CHART})\n\n"
        "[Earlier measurements](history.md) has other processors and runs, [boards](boards.md) has ARM.\n"
    )


def _chart(run: dict, rows: list[Row], cells: Cells) -> str:
    """The int8 engines on each graph."""
    threads = run["threads"][0]
    groups = []
    for graph in run["graphs"]:
        bars = []
        for row in rows:
            result = cells.get((row.key, graph["name"], threads))
            if row.title.endswith("f32") or row.key == "oltr-frame" or result is None or not result.medians_ms:
                continue
            title = row.title.partition(",")[0]
            bars.append((title, result.median, row.key == "oltr", (result.cosine or 0.0) >= AGREES))
        if bars:
            groups.append((graph["title"][0].upper() + graph["title"][1:], bars))
    return chart.bars(f"Median latency of int8 engines, {_threads(threads)}: shorter is better", groups)


def summary(run: dict, rows: list[Row], results: list[Result]) -> str:
    """The comparison with the bars, for the terminal."""
    cells: Cells = {(r.row, r.graph, r.threads): r for r in results}
    return _bars(run, rows, cells)


def fastest(run_rows: list[Row], cells: Cells, graph: str, threads: int, *, right: bool) -> tuple[Row, Result] | None:
    """The peer with the least median; with `right`, of those whose outputs agree with the golden ones.

    A peer that cannot use as many threads competes with the ones it has.
    """
    found = []
    for row in run_rows:
        result = cells.get((row.key, graph, threads))
        if row.peer and result and result.medians_ms and (not right or (result.cosine or 0.0) >= AGREES):
            found.append((row, result))
    return min(found, key=lambda pair: pair[1].median, default=None)


def _bars(run: dict, rows: list[Row], cells: Cells) -> str:
    body = []
    for graph in run["graphs"]:
        for threads in run["threads"]:
            ours = cells.get(("oltr", graph["name"], threads))
            any_peer = fastest(rows, cells, graph["name"], threads, right=False)
            right_peer = fastest(rows, cells, graph["name"], threads, right=True)
            if ours is None or not ours.medians_ms or any_peer is None:
                continue
            ratio = ours.median / any_peer[1].median
            bar = graph["bar"]
            body.append(
                [
                    graph["title"],
                    str(threads),
                    f"{ours.median:.2f}",
                    _peer(any_peer),
                    f"{ratio:.2f}",
                    f"{ours.minimum / any_peer[1].minimum:.2f}",
                    "none" if bar is None else f"{bar:.2f}: {'met' if ratio <= bar else 'not met'}",
                    _peer(right_peer),
                    f"{ours.median / right_peer[1].median:.2f}" if right_peer else "",
                ]
            )
    head = ["graph", "threads", "oltr, ms", "fastest peer", "ratio", "of minima", "bar"]
    head += ["fastest peer with right outputs", "ratio"]
    return (
        "## oltr and the fastest peer\n\n"
        "Ratios are oltr's median latency over the peer's: below 1, oltr is faster. The bar is for the ratio to the\n"
        "fastest peer, whether its outputs are right or not.\n\n" + _table(head, body)
    )


def _peer(found: tuple[Row, Result] | None) -> str:
    return f"{found[0].title}: {found[1].median:.2f}" if found else "none"


def _latency(run: dict, rows: list[Row], cells: Cells, threads: int) -> str:
    body = []
    for row in rows:
        line = [row.title]
        for graph in run["graphs"]:
            result, ours = cells.get((row.key, graph["name"], threads)), cells.get(("oltr", graph["name"], threads))
            line.append(_latency_cell(row, result, ours))
        body.append(line)
    head = ["engine"] + [graph["title"] for graph in run["graphs"]]
    titles = {row.key: row.title for row in rows}
    notes = [f"{titles[r.row]}, {r.graph}: {r.note}." for r in cells.values() if r.note and r.threads == threads]
    return (
        f"## Latency, {_threads(threads)}\n\n"
        "Median (minimum) in milliseconds, and oltr's median over this engine's.\n\n"
        + _table(head, body)
        + "".join(f"\n{note}\n" for note in notes)
    )


def _latency_cell(row: Row, result: Result | None, ours: Result | None) -> str:
    if result is None:
        return "–"
    if not result.medians_ms:
        return result.unavailable
    text = f"{result.median:.2f} ({result.minimum:.2f})"
    if row.key.startswith("oltr") or ours is None or not ours.medians_ms:
        return text
    return f"{text}, ×{ours.median / result.median:.2f}"


def _agreement(run: dict, rows: list[Row], cells: Cells) -> str:
    body = []
    for row in rows:
        line = [row.title]
        for graph in run["graphs"]:
            result = cells.get((row.key, graph["name"], run["threads"][0]))
            if result is None or result.cosine is None:
                line.append("–" if result is None else result.unavailable)
            else:
                wrong = "" if result.cosine >= AGREES else ", **differs**"
                line.append(f"{result.cosine:.4f}, {result.same_class}{wrong}")
        body.append(line)
    head = ["engine"] + [graph["title"] for graph in run["graphs"]]
    return (
        "## Agreement of outputs\n\n"
        "Cosine of the logits with the golden ones, which exact integer arithmetic gives (the worst sample), and in\n"
        f"how many samples the same class comes first. A cosine below {AGREES} is marked.\n\n" + _table(head, body)
    )


def _memory(run: dict, rows: list[Row], cells: Cells) -> str:
    threads = run["threads"][0]
    parts = [
        "## Load time, first result, memory\n\n"
        f"With {_threads(threads)}. *Load* is from the file to a session that can run. *First result* is from the\n"
        "start of the process to the first answer. *Peak* is the largest resident size (`VmHWM`) of the process.\n"
        "The first result of peers includes the start of Python and the import of numpy. *Without Python* is the\n"
        "peak less what the process held before it loaded the runtime.\n"
    ]
    for graph in run["graphs"]:
        body = []
        for row in rows:
            result = cells.get((row.key, graph["name"], threads))
            if result is None or result.peak_bytes is None:
                continue
            own = f"{(result.peak_bytes - result.interpreter_bytes) / 2**20:.0f}" if result.interpreter_bytes else ""
            figures = [f"{result.load_ms:.0f}", f"{result.first_ms:.0f}", f"{result.peak_bytes / 2**20:.0f}", own]
            body.append([row.title, *figures])
        head = ["engine", "load, ms", "first result, ms", "peak, MiB", "without Python, MiB"]
        parts.append(f"### {graph['title'][0].upper()}{graph['title'][1:]}\n\n{_table(head, body)}")
    return "\n".join(parts)


def _how(run: dict) -> str:
    facts = [[name, value] for name, value in (run["machine"] | run["versions"]).items()]
    begin, end = run["load"]
    busy = run["cores_busy"]
    facts.append(["load average", f"{begin:.1f} at the start, {end:.1f} at the end"])
    facts.append(["cores at work", f"{busy:.2f} on average, {run['cores_stolen']:.2f} more taken by the hypervisor"])
    facts.append(["priority", f"nice {run['priority']}"])
    quiet = (
        "**The machine was not quiet: other jobs took part of its cores. Figures are too high and ratios rough.**\n\n"
        if busy > 1.5 or begin > 1.5
        else ""
    )
    return (
        "## How this was measured\n\n"
        f"`benches/compare.py` took {run['wall_seconds']:.0f} s. Each engine in turn runs a burst of about\n"
        f"{run['seconds']} s: 3 runs to warm up, then at least 3 that count. After {run['rounds']} such rounds, each\n"
        "beginning with another engine, the median is the median over bursts of a burst's median, and the minimum\n"
        "that of all runs. Every engine is in a process of its own, with as many threads as the table says, and only\n"
        "one works at a time.\n\n" + quiet + _table(["", ""], facts) + f"\n{COMPARED}"
    )


COMPARED = """One inference goes from a float image in memory to logits, distances and features. Each runtime gets the
network in the best int8 form that it takes:

| runtime | form |
| --- | --- |
| oltr, tract, ONNX Runtime, OpenVINO | the same quantised (QDQ) ONNX file |
| LiteRT | a `.tflite`: the float network, converted by onnx2tf, quantised by AI Edge Quantizer on the goldens' images |
| ncnn | what pnnx makes of the float network, in float32, and quantised symmetrically as ncnn's own tools do |

In LiteRT's form norms, softmaxes and distances stay float, as in the QDQ file. ncnn's ranges are the largest absolute
values.

What is uneven, in either direction:

- Peers run inside Python. A call costs some 10 to 30 µs of it, which is in their latency.
- LiteRT takes its image channels last, which saves it a pass that the others make.
- The first line of the tables runs oltr on a float image, as the peers. The second runs it on a camera's bytes, which
  are less work for oltr: normalisation and quantisation are one look-up there. Peers would need a pass before theirs.
- LiteRT and ncnn quantise on their own, over few images, so their outputs differ a little without an error of theirs.
- All networks but the shipped bundle have random weights. They are harder on saturating instructions than trained ones.
- tract's Python package has no setting for threads.
- ONNX Runtime in float32 is there for orientation. The bars are about int8 forms.
"""


def _instruction_sets(run: dict) -> str:
    flags = run["machine"]["instruction sets"]
    vnni = any(flag in flags for flag in ("avx_vnni", "avx512_vnni", "avxvnniint8"))
    what = (
        "This processor multiplies and sums bytes in one instruction (VNNI), so every engine's sums are exact."
        if vnni
        else "This processor has no VNNI. Its one instruction that multiplies uint8 by int8, vpmaddubsw, saturates\n"
        "the sum of two products at 16 bits. Runtimes that use it, such as ONNX Runtime without its exact mode, give\n"
        "other outputs than elsewhere where weights are large: see the table of agreement. oltr uses it where few\n"
        "weights are too large, and multiplies their excess separately. Elsewhere it multiplies in 16 bits (vpmaddwd)\n"
        "or makes one multiplication of two products (Winograd's product of sums)."
    )
    return (
        "## Instruction sets\n\n"
        f"Here: {flags}. oltr ran on: {run['versions']['oltr']}.\n\n{what if 'asimd' not in flags else ''}\n"
    )


def _roofline(run: dict, cells: Cells, peak: float | None) -> str:
    body = []
    for graph in run["graphs"]:
        ours = cells.get(("oltr", graph["name"], 1))
        if ours is None or not ours.medians_ms or not ours.macs:
            continue
        rate = ours.macs / ours.median / 1e6
        line = [graph["title"], f"{ours.macs / 1e6:.0f}", f"{rate:.1f}"]
        body.append(line + ([f"{ours.macs / peak / 1e6:.2f}", f"{rate / peak:.0%}"] if peak else []))
    head = ["graph", "million MAC", "GMAC/s"] + (["least, ms", "of the peak"] if peak else [])
    note = (
        f"The peak of the multiply instruction is {peak:.0f} GMAC/s on one thread (measured apart, by\n"
        "`--peak`). *Least* is the time that the graph's multiplications would take at the peak. A\n"
        "minimal-filtering (Winograd) kernel makes fewer and may go below."
        if peak
        else "The peak of the multiply instruction was not given (`--peak`), so that there is no bound here."
    )
    return f"## Roofline\n\noltr, 1 thread. {note}\n\n" + _table(head, body)


def _table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
