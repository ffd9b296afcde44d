#!/usr/bin/env python3
"""Writes cross/order.ld, which has the linker lay the functions that the program runs side by side (see cross/build).

    cross/order.py      on x86-64: builds the program, and runs it under qemu-user, which tells what is executed

Functions are listed by the crate that they were compiled with and by name, without the hashes that compilers put into
both, so that other compilers' programs are ordered too. To be run again when dependencies or a large part of the code
have changed: a function that is not listed only lies elsewhere.
"""

import os
import re
import subprocess
import tempfile
from bisect import bisect_left
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/oltr"
SCRIPT = ROOT / "cross/order.ld"

# What a line of the script is worth in bytes of code beside those that are executed: the linker compares each with
# every section, some 5 ms for one.
LINE = 1500

HEAD = """/* Code that the program runs, side by side. Written by cross/order.py; cross/build hands it to the linker. */
SECTIONS
{
    .text.run :
    {
"""
TAIL = """        /* What begins a program, and the standard library's, whose names have its compiler's hashes within. */
        *(.text.main .text.startup .text.startup.* .text._R* .text.unlikely._R*)
        /* Kernels for processors that were not at hand. */
        *oltr-*.rcgu.o(.text._ZN4oltr4int87kernels* .text.*oltr..int8..kernels..*)
    }
}
INSERT BEFORE .text;
"""
# What the end of the script takes by itself.
TAKEN = re.compile(r"\.text\.(main$|startup|(unlikely\.)?_R)")


def build(map_file):
    """Builds the program; the linker tells in `map_file` what it consists of."""
    arguments = ["-Clink-arg=-Wl,-Map=" + str(map_file)]
    subprocess.run(["cargo", "rustc", "--release", "--locked", "--bin", "oltr", "--", *arguments], cwd=ROOT, check=True)


def sections(map_file):
    """(address, bytes, file pattern, name) of each section of code, from a map of lld's."""
    line = re.compile(r"\s*([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+ {9}(\S+?):\((\.text\.\S+)\)$")
    for match in filter(None, map(line.match, map_file.read_text().splitlines())):
        file = Path(match[3]).name
        if file.startswith(("oltr-", "liboltr-")):
            # The library is an archive of objects that are named like the program's own.
            pattern = "*oltr-*.rcgu.o"
        else:
            pattern = "*" + re.sub(r"-[0-9a-f]{16}\..*", "-*:*", file)
        yield int(match[1], 16), int(match[2], 16), pattern, match[4]


def executed(work, main):
    """Addresses of instructions that a load, photos and frames execute, where the function main lies at `main`."""
    photo = "examples/photos/cup.jpg"
    jpeg = work / "frames.jpg"
    jpeg.write_bytes((ROOT / photo).read_bytes() * 3)
    raw = work / "frames.raw"
    raw.write_bytes(bytes(range(32, 224)) * (640 * 480 * 6 // 192))
    runs = [["classify", photo], ["classify", "--json", photo], ["stream", "--threads", "2", str(jpeg)]]
    for pixels in ("rgb24", "yuv420p"):
        source = ["--format", pixels, "--size", "640x480", str(raw)]
        runs.append(["stream", "--json", "--model", "models/everyday.onnx", *source])
    addresses, log = set(), work / "log"
    for run in runs:
        command = ["qemu-x86_64", "-cpu", "max", "-d", "in_asm", "-D", str(log), str(PROGRAM), *run]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OLTR_ISA": "avx2"})
        text = log.read_text()
        # Where the system loaded the program.
        base = int(re.search(r"^IN: main\s*\n0x([0-9a-f]+):", text, re.M)[1], 16) - main
        addresses.update(int(address, 16) - base for address in re.findall(r"^0x([0-9a-f]+):", text, re.M))
    return sorted(addresses)


def without_hash(name):
    return re.sub(r"17h[0-9a-f]{16}E(\.llvm\.\d+)?$", "17h", name)


def prefixes(names, all_bytes, run_bytes, depth=0):
    """The prefixes that take what is executed of `names` (sorted) at the least cost: lines, and bytes that are not."""
    if not any(run_bytes[name] for name in names):
        return 0, []
    first, last = names[0], names[-1]
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    whole = LINE + sum(all_bytes[name] - run_bytes[name] for name in names), [first[:depth]]
    if len(names) == 1:
        return whole
    groups = defaultdict(list)
    for name in names:
        groups[name[depth : depth + 1]].append(name)
    # A name that the others begin with cannot be had alone.
    if "" in groups:
        return whole
    parts = [prefixes(group, all_bytes, run_bytes, depth + 1) for group in groups.values()]
    cost = sum(part[0] for part in parts)
    return whole if whole[0] <= cost else (cost, [prefix for part in parts for prefix in part[1]])


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        build(work / "map")
        code = list(sections(work / "map"))
        start = next((address for address, _, _, name in code if name == ".text.main"), None)
        if start is None:
            raise SystemExit("order.py: the linker wrote no map that is like lld's; make it the linker (-fuse-ld=lld)")
        addresses = executed(work, start)
    all_bytes, run_bytes = defaultdict(Counter), defaultdict(Counter)
    for address, size, file, name in code:
        if TAKEN.match(name):
            continue
        name = without_hash(name)
        all_bytes[file][name] += size
        first = bisect_left(addresses, address)
        if first < len(addresses) and addresses[first] < address + size:
            run_bytes[file][name] += size
    lines = []
    for file in sorted(run_bytes):
        _, found = prefixes(sorted(all_bytes[file]), all_bytes[file], run_bytes[file])
        lines += [f"        {file}({prefix}*)\n" for prefix in found]
    SCRIPT.write_text(HEAD + "".join(lines) + TAIL)
    run, of = (sum(sum(file.values()) for file in bytes.values()) for bytes in (run_bytes, all_bytes))
    print(f"{SCRIPT.relative_to(ROOT)}: {len(lines)} lines for {run} of {of} bytes")


if __name__ == "__main__":
    main()
