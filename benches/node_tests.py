#!/usr/bin/env python3
"""Runs the ONNX package's own node tests (onnx.backend.test) through `oltr verify` and counts, by operator, what is right,
wrong and refused: as they are, and with the operator between QuantizeLinear and DequantizeLinear as uint8 and int8.

    python -m venv nodes && nodes/bin/pip install onnx onnxruntime numpy
    nodes/bin/python benches/node_tests.py --oltr target/release/oltr [--only Conv,Resize] [--forms plain,u8,s8]
        [--report docs/reference/operators.md | --compare docs/reference/operators.md]

Networks of oltr read and compute float tensors, and constants are in their file. So the first input of a test stays one,
through a Cast where it holds no floats; the others become constants; results are cast to float. Quantised forms compare
with ONNX Runtime's unoptimised run, and may differ by one step of the result. Exit code 1 if anything is wrong, or if
--compare finds other counts than the page has, which was written with the same versions of both packages.
"""

import argparse
import collections
import re
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent
ort.set_default_logger_severity(4)
FORMS = {"plain": None, "u8": np.uint8, "s8": np.int8}
VERSIONS = f"onnx {onnx.__version__}, onnxruntime {ort.__version__}"
# What a test may be off by where it says nothing.
RELATIVE, ABSOLUTE = 1e-3, 1e-5


def main() -> int:
    options = parser().parse_args()
    known = operators()
    jobs, counts, told = [], collections.defaultdict(collections.Counter), collections.defaultdict(collections.Counter)
    unknown = collections.Counter()
    for case in cases():
        ops = {name(node) for node in case.model.graph.node}
        if options.only and not ops & set(options.only.split(",")):
            continue
        if not ops <= known:
            unknown.update(ops - known)
            continue
        jobs += [(case, form) for form in options.forms.split(",")]
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(options.jobs) as pool:
        result = lambda job: (job, outcome(job, Path(work), options.oltr))
        for (case, form), (verdict, reason) in pool.map(result, jobs):
            op = name(case.model.graph.node[-1])
            if verdict:
                counts[op][form, verdict] += 1
            if verdict == "wrong":
                print(f"wrong: {case.name} ({form}): {reason}", flush=True)
            if verdict == "refused":
                told[op][kind_of(reason)] += 1
                if options.verbose:
                    print(f"refused: {case.name} ({form}): {reason}", flush=True)
    wrong = sum(n for c in counts.values() for (_, verdict), n in c.items() if verdict == "wrong")
    for form in options.forms.split(","):
        total = collections.Counter()
        for c in counts.values():
            total.update({verdict: n for (f, verdict), n in c.items() if f == form})
        print(f"{form}: " + ", ".join(f"{total[v]} {v}" for v in ("right", "wrong", "refused")))
    if options.report:
        options.report.write_text(report(counts, told, unknown, options))
    changed = options.compare and differs(options.compare.read_text(), report(counts, told, unknown, options))
    return int(wrong > 0 or bool(changed))


def differs(page: str, now: str) -> bool:
    """Whether the counts of the page are others than now, of the same versions; says which."""
    if VERSIONS not in page:
        print(f"NOT COMPARED: the page is not of {VERSIONS}")
        return False
    counts = lambda text: {line for line in text.splitlines() if line.startswith("| ")}
    for sign, lines in (("-", counts(page) - counts(now)), ("+", counts(now) - counts(page))):
        for line in sorted(lines):
            print(sign, line)
    return counts(page) != counts(now)


def cases():
    """The node tests of the installed package that come with their model and data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [c for c in collect_testcases(None) if c.model is not None and len(c.data_sets) > 0]


def operators() -> set[str]:
    """The operators that oltr's check lets in."""
    source = (ROOT / "src/model/check.rs").read_text()
    table = re.search(r"const OPERATORS.*?= \[(.*?)^\];", source, re.M | re.S)[1]
    return {word for text in re.findall(r'"(.*?)"', table, re.S) for word in text.replace("\\", " ").split()}


def name(node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def outcome(job, work: Path, oltr: str):
    """What became of a test in a form, and why; neither where the form does not apply."""
    case, form = job
    try:
        made = model(case, FORMS[form])
    except Exception:  # what ONNX Runtime cannot run in this form is no test of it
        return None, ""
    if made is None:
        return None, ""
    graph, inputs, golden, (relative, absolute) = made
    stem = work / f"{case.name}.{form}"
    file, data, out = (stem.with_name(stem.name + end) for end in (".onnx", ".npz", ".out.npz"))
    onnx.save(graph, file)
    np.savez(data, **{key: np.asarray(value, order="C") for key, value in {**inputs, **golden}.items()})
    command = [oltr, "verify", str(file), str(data), "--output", str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "wrong", "no answer within two minutes"
    finally:
        file.unlink()
        data.unlink()
    if done.returncode < 0 or "panicked" in done.stderr:
        return "wrong", f"it crashed: {done.stderr.strip()[-200:]}"
    if not out.exists():
        return "refused", " ".join(done.stderr.split())
    found = np.load(out)
    try:
        for key, expected in golden.items():
            ours = found[key].reshape(expected.shape)
            if not np.allclose(ours, expected, rtol=relative, atol=absolute, equal_nan=True):
                with np.errstate(invalid="ignore"):
                    return "wrong", f"'{key}' differs by up to {np.nanmax(np.abs(ours - expected)):.4g}"
    except ValueError as error:
        return "wrong", f"another shape: {error}"
    finally:
        found.close()
        out.unlink()
    return "right", ""


def model(case, quantised):
    """The test as a network with one float input: its model, input, golden results and tolerances."""
    graph = onnx.ModelProto.FromString(case.model.SerializeToString())
    g = graph.graph
    given, expected = case.data_sets[0]
    given = {i.name: numpy(v) for i, v in zip(g.input, given)}
    expected = {o.name: numpy(v) for o, v in zip(g.output, expected)}
    if any(v is None for v in [*given.values(), *expected.values()]) or not given:
        return None
    first = next((i.name for i in g.input if given[i.name].dtype == np.float32), g.input[0].name)
    for key, value in given.items():
        if key != first:
            g.initializer.append(numpy_helper.from_array(value, key))
    x = given[first]
    before, after = [], []
    kind = g.input[[i.name for i in g.input].index(first)].type.tensor_type.elem_type
    del g.input[:]
    g.input.append(helper.make_tensor_value_info(first, TensorProto.FLOAT, x.shape))
    if kind != TensorProto.FLOAT:
        if quantised:
            return None
        before.append(helper.make_node("Cast", [first], [first + "_cast"], to=kind))
        rename(g, first, first + "_cast")
    outputs = list(g.output)
    if quantised and any(o.type.tensor_type.elem_type != TensorProto.FLOAT for o in outputs):
        return None
    if quantised and (version(graph) < 10 or any("Quantize" in n.op_type for n in g.node)):
        return None
    del g.output[:]
    steps = {}
    if quantised:
        before += qdq(g, first, first + "_dq", x, quantised)[0]
        rename(g, first, first + "_dq")
    for o in outputs:
        value, old = expected[o.name], o.name
        if quantised:
            nodes, steps[old] = qdq(g, old + "_float", old, value, quantised)
            rename_output(g, old, old + "_float")
            after += nodes
        elif o.type.tensor_type.elem_type != TensorProto.FLOAT:
            rename_output(g, old, old + "_typed")
            after.append(helper.make_node("Cast", [old + "_typed"], [old], to=TensorProto.FLOAT))
        g.output.append(helper.make_tensor_value_info(old, TensorProto.FLOAT, value.shape))
    nodes = [*before, *g.node, *after]
    del g.node[:]
    g.node.extend(nodes)
    x = x.astype(np.float32)
    if not quantised:
        tolerance = (max(case.rtol or 0, RELATIVE), max(case.atol or 0, ABSOLUTE))
        return graph, {first: x}, {k: v.astype(np.float32) for k, v in expected.items()}, tolerance
    # Where ONNX Runtime is not ONNX without quantisation, it is no judge of it with quantisation.
    plain = run(case.model, given)
    if not all(np.allclose(plain[k], v, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True) for k, v in expected.items()):
        return None
    golden = run(graph, {first: x})
    return graph, {first: x}, golden, (0.0, 1.01 * max(steps.values()))


def run(graph, inputs):
    """ONNX Runtime's results, unoptimised."""
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs)))


def qdq(g, x, y, values, dtype):
    """A quantisation of `x` that covers `values`; its nodes and its step."""
    finite = values[np.isfinite(values)]
    low, high = min(0.0, float(finite.min(initial=0))), max(0.0, float(finite.max(initial=0)))
    step = np.float32(max(high - low, 1e-3) / 255)
    info = np.iinfo(dtype)
    zero = int(np.clip(round(info.min - low / float(step)), info.min, info.max))
    g.initializer.append(numpy_helper.from_array(np.asarray(step), y + "_scale"))
    g.initializer.append(numpy_helper.from_array(np.asarray(zero, dtype), y + "_zero"))
    parameters = [y + "_scale", y + "_zero"]
    nodes = [
        helper.make_node("QuantizeLinear", [x, *parameters], [y + "_q"]),
        helper.make_node("DequantizeLinear", [y + "_q", *parameters], [y]),
    ]
    return nodes, float(step)


def numpy(value):
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    if isinstance(value, (list, dict)) or value is None:
        return None
    value = np.asarray(value)
    return value if value.dtype.kind in "fiub" else None


def rename(g, old, new):
    for node in g.node:
        node.input[:] = [new if i == old else i for i in node.input]


def rename_output(g, old, new):
    rename(g, old, new)
    for node in g.node:
        node.output[:] = [new if o == old else o for o in node.output]


def version(graph) -> int:
    return next((o.version for o in graph.opset_import if o.domain in ("", "ai.onnx")), 0)


def kind_of(reason: str) -> str:
    """A refusal without what is of one test alone: the node's own words."""
    reason = re.sub(r"/\S*\.(onnx|npz)", "FILE", reason)
    reason = re.sub(r"^(oltr: |error: |Error: )*(cannot load )?FILE:? ?", "", reason)
    reason = re.sub(r"'[^']*'", "…", reason)
    return reason[:160]


def report(counts, told, unknown, options) -> str:
    lines = [
        "# ONNX's node tests by operator",
        "",
        "*In short*: what oltr computes of ONNX's own tests of single operators is right, or refused with a reason.",
        "",
        f"`benches/node_tests.py` writes this page ({VERSIONS}). It runs the tests that come with the onnx package through",
        "`oltr verify`:",
        "as they are, and between QuantizeLinear and DequantizeLinear as uint8 and int8, where the operator takes that.",
        "Right means within the test's tolerance, in quantised forms within one step of ONNX Runtime's unoptimised run.",
        "What is refused is refused when the model is loaded, with the reason; nothing falls silent.",
        "",
        "| operator | plain: right / wrong / refused | uint8 | int8 |",
        "|---|---|---|---|",
    ]
    for op, c in sorted(counts.items()):
        cells = []
        for form in FORMS:
            numbers = [c[form, verdict] for verdict in ("right", "wrong", "refused")]
            cells.append(" / ".join(map(str, numbers)) if any(numbers) else "")
        lines.append(f"| {op} | " + " | ".join(cells) + " |")
    lines += ["", "## What is refused, and why", ""]
    for op, reasons in sorted(told.items()):
        for reason, count in reasons.most_common():
            text = reason.replace("|", "\\|").replace("<", "&lt;")
            lines.append(f"- {op}, {count} ×: {text}")
    lines += ["", "## Operators that oltr does not have", ""]
    lines.append("Their tests were not run: " + ", ".join(f"{op} ({n})" for op, n in sorted(unknown.items())) + ".")
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--oltr", default="target/release/oltr", help="the program")
    p.add_argument("--only", help="tests of these operators, separated by commas")
    p.add_argument("--forms", default=",".join(FORMS), help="plain, u8, s8")
    p.add_argument("--jobs", type=int, default=2, help="runs at a time")
    p.add_argument("--report", type=Path, help="write a page of Markdown")
    p.add_argument("--compare", type=Path, help="fail where counts are not those of this page")
    p.add_argument("--verbose", action="store_true", help="print each refusal")
    return p


if __name__ == "__main__":
    sys.exit(main())
