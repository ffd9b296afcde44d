#!/usr/bin/env python3
"""Bounds of the inner loops on ARM cores, by LLVM's models of their pipelines: no measurement, and memory is free.

    cross/count/bounds.py PROGRAM     the kernels' own program for aarch64, as cross/count/kernels builds it

Takes the innermost loops of the kernels' functions out of the program (objdump), and asks llvm-mca-19 how many cycles
an iteration takes. Prints, for the largest loops of each kernel, instructions, multiply-accumulates and the bounds.
"""

import re
import subprocess
import sys

# Multiply-accumulates of an instruction on full vectors.
MACS = {"smmla": 32, "sdot": 16, "smull": 8, "smlal": 8, "smull2": 8, "smlal2": 8}
# 16-bit operands give half as many.
WIDE = re.compile(r"\.4s, v\d+\.[48]h")
# The second model is of the Neoverse N1, the same core as the Cortex-A76; the A76's own model is an older core's. In
# the same way the Neoverse N2 stands for the Cortex-A710. The Neoverse V1 is its own.
CORES = {
    "cortex-a72": ["-mcpu=cortex-a72"],
    "cortex-a76": ["-mcpu=neoverse-n1", "-mattr=+dotprod"],
    "cortex-a710": ["-mcpu=neoverse-n2"],
    "neoverse-v1": ["-mcpu=neoverse-v1"],
}
# Loops of a kernel that are shown: its whole tiles, not those at the edges.
LARGEST = 4
LINE = re.compile(r"^\s*([0-9a-f]+):\t(.*)$")
BRANCH = re.compile(r"^(b\.\w+|cbn?z|tbn?z)\b.*\s([0-9a-f]+)(?:\s|$)")


def functions(program):
    """Name and lines (address, instruction) of each function of the kernels."""
    listing = subprocess.run(["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", "-C", program],
                             capture_output=True, text=True, check=True).stdout
    for part in re.split(r"\n\n", listing):
        head = re.match(r"[0-9a-f]+ <(.*)>:", part)
        if head and "kernels::aarch64::" in head[1]:
            lines = [LINE.match(line) for line in part.splitlines()[1:]]
            yield head[1], [(int(m[1], 16), m[2].split("//")[0].strip()) for m in lines if m]


def loops(lines):
    """The innermost loops: the instructions between a branch back and its target, if no other branch lies between."""
    place = {address: i for i, (address, _) in enumerate(lines)}
    for i, (address, text) in enumerate(lines):
        branch = BRANCH.match(re.sub(r"\s*<.*", "", text))
        start = place.get(int(branch[2], 16)) if branch else None
        if start is not None and start < i:
            body = [text for _, text in lines[start:i + 1]]
            if not any(re.match(r"(b|b\.\w+|cbn?z|tbn?z|bl|ret)\b", text) for text in body[:-1]):
                yield body


def macs(body):
    total = 0
    for text in body:
        name = text.split()[0]
        if name in MACS:
            total += MACS[name] // (2 if WIDE.search(text) else 1)
    return total


def cycles(body, options):
    """Cycles of an iteration in the long run; None if the core lacks an instruction."""
    source = "\n".join(re.sub(r"\s[0-9a-f]+ <.*|(?<=^b\.ne)\s.*", " .", text) for text in body)
    run = subprocess.run(["llvm-mca-19", "-mtriple=aarch64-linux-gnu", "-iterations=200", *options],
                         input=source, capture_output=True, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", run.stdout)
    return int(total[1]) / 200 if total and run.returncode == 0 else None


def main():
    rows = {}
    for name, lines in functions(sys.argv[1]):
        kernel = name.split("kernels::aarch64::")[1].split("::")[0]
        for body in loops(lines):
            if macs(body) >= 32:
                rows[(kernel, len(body), macs(body))] = body
    print(f"{'kernel':10} {'instructions':>12} {'MAC':>5} {'MAC/instruction':>15}"
          + "".join(f" {core + ', MAC/cycle':>23}" for core in CORES))
    shown = {}
    for (kernel, count, products), body in sorted(rows.items(), key=lambda row: (row[0][0], -row[0][2])):
        shown[kernel] = shown.get(kernel, 0) + 1
        if shown[kernel] > LARGEST:
            continue
        bounds = [cycles(body, options) for options in CORES.values()]
        columns = "".join(f" {products / bound:23.1f}" if bound else f" {'-':>23}" for bound in bounds)
        print(f"{kernel:10} {count:12} {products:5} {products / count:15.2f}{columns}")


if __name__ == "__main__":
    main()
