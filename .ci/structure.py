#!/usr/bin/env python3
"""Finds what Cargo does not: circles of imports between the files of a crate, files that are too long to read, and tract
outside the folder that may name it.

A file uses each file that it names by a path, and its own submodules, which it declares. A circle through one of these
is one; only that a submodule uses what the modules around it hold is none. Tests do not count. Prints what is wrong, with
exit code 1.
"""

import re
import sys
from pathlib import Path

MAX_LINES = 600
TESTS = re.compile(r"^#\[cfg\(test\)\]\n(?:#\[.*\]\n)*(?:pub )?mod \w+(?:;| \{.*?^\}$)", re.M | re.S)
PATH = re.compile(r"(?<![\w:])(?:crate|super|self|[a-z]\w*)(?:::\w+)*(?:::\{)?")


def paths(code):
    """All paths of `code`, those in braces with what stands before the brace: `a::{b, c::{d}}` has a, a::b, a::c::d."""
    found, before, at = [], [[]], 0
    while match := re.compile(r"[{}]|" + PATH.pattern).search(code, at):
        at, text = match.end(), match[0]
        if text == "{":
            before.append([])
        elif text == "}":
            before = before[:-1] or [[]]
        else:
            path = before[-1] + text.removesuffix("::{").split("::")
            found.append(path)
            if text.endswith("{"):
                before.append(path)
    return found


def files(source):
    """The code of each file of a crate by the path of its module, without comments, strings and tests."""
    code = {}
    for file in sorted(source.rglob("*.rs")):
        module = file.relative_to(source).with_suffix("").parts
        if not {"lib", "main", "tests", "testing"} & set(module):
            text = TESTS.sub("", file.read_text())
            if text.count("\n") > MAX_LINES:
                yield f"{file}: {text.count(chr(10))} lines of code; at most {MAX_LINES} can be read in one go"
            code[module] = re.sub(r'//.*|"(?:\\.|[^"\\])*"', "", text)
            if module[0] != "model" and re.search(r"\b(?:tract|prost)(?:_\w+)?::", code[module]):
                yield f"{file}: names tract, which only model does"
    uses = {module: {u for p in paths(text) if (u := target(p, module, code))} for module, text in code.items()}
    while free := [m for m in uses if not uses[m] & uses.keys()]:
        for module in free:
            del uses[module]
    while loose := [m for m in uses if not any(m in used for used in uses.values())]:
        for module in loose:
            del uses[module]
    if uses:
        yield f"{source}: circles of imports among " + ", ".join("::".join(m) for m in uses)


def target(path, module, code):
    """The file that `path` in `module` leads to; none for the module itself and those around it."""
    if path[0] == "crate":
        path = path[1:]
    elif path[0] in ("super", "self"):
        up = path.count("super")
        path = list(module[: len(module) - up]) + [p for p in path if p not in ("super", "self")]
    else:
        path = list(module) + path
    homes = (tuple(path[:n]) for n in range(len(path), 0, -1))
    home = next((h for h in homes if h in code), module)
    return None if home == module[: len(home)] else home


root = Path(__file__).resolve().parent.parent
wrong = [w for source in [root / "src", *sorted(root.glob("crates/*/src")), *sorted(root.glob("bindings/*/src"))] for w in files(source)]
print("\n".join(wrong) or "No circles of imports, no long files.")
sys.exit(bool(wrong))
