#!/usr/bin/env python3
"""Photos a second, beside Python with Pillow and ONNX Runtime: generated photos, all programs in turn, in one run.

    benches/photos.py PROGRAM [--before PROGRAM] [--photos 300] [--rounds 5] [--report docs/results/photos.md]

PROGRAM is a built oltr. Needs Pillow, NumPy and onnxruntime. What is compared answers alike: the built-in bundle on every
photo of a folder, on two cores. (a) decodes a photo whole and resizes it as training did; (b) asks Pillow's draft mode for
the smallest size that is not below the network's. Both run as two processes, half of the photos each, as Python must.

Wall-clock times on a machine that does other things say little by themselves: the median of the rounds is given, and the
CPU time, which is less disturbed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image, features

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "models/everyday.onnx"
SIZES = {"12 MP": (4000, 3000), "24 MP": (6000, 4000), "2 MP": (1632, 1224)}
QUALITIES = range(88, 96)
SCENES = 6
# How often the memory of a running program is read.
POLL_S = 0.01


def scene(width: int, height: int, seed: int) -> Image.Image:
    """Several octaves of noise, a little of it in each pixel as a sensor has it."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 120, np.float32)
    for cells, strength in [(4, 60), (16, 40), (64, 25), (256, 12), (1024, 6)]:
        rows = cells * height // width + 2
        for channel in range(3):
            small = random.normal(0, strength, (rows, cells)).astype(np.float32)
            picture[:, :, channel] += np.asarray(Image.fromarray(small).resize((width, height), Image.BICUBIC))
    picture += random.normal(0, 4, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def make(folder: Path, width: int, height: int, count: int) -> None:
    """`count` JPEGs (4:2:0): a few scenes, in all qualities, each shifted by some columns."""
    made = 0
    for seed in range(SCENES):
        picture = scene(width, height, seed)
        for number in range(seed, count, SCENES):
            shifted = Image.fromarray(np.roll(np.asarray(picture), 8 * number, axis=1))
            quality = QUALITIES[number % len(QUALITIES)]
            shifted.save(folder / f"{number:04}.jpg", quality=quality, subsampling=2)
            made += 1
    assert made == count


def classify_by_python(paths: list[str], draft: bool) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(BUNDLE), options, providers=["CPUExecutionProvider"])
    settings = json.loads(session.get_modelmeta().custom_metadata_map["oltr.preprocess"])
    assert settings["resize"] == "stretch"
    size = settings["size"]
    mean, std = (np.array(settings[key], np.float32) for key in ("mean", "std"))
    for path in paths:
        image = Image.open(path)
        if draft:
            image.draft("RGB", (size, size))
        pixels = np.asarray(image.convert("RGB").resize((size, size), Image.BILINEAR), np.float32)
        session.run(None, {"image": ((pixels - mean) / std).transpose(2, 0, 1)[None]})


def by_python(folder: Path, draft: bool) -> None:
    paths = sorted(str(p) for p in folder.glob("*.jpg"))
    parts = [multiprocessing.Process(target=classify_by_python, args=(paths[i::2], draft)) for i in (0, 1)]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
        assert part.exitcode == 0


def peak_of(pid: int) -> int:
    """The peak of memory in KiB of the largest process among `pid` and its children so far; 0 where they have ended.

    What the system counts at a program's end (`ru_maxrss`) begins with the size of the process that started it, this one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return max(own, *(peak_of(int(child)) for child in children)) if children else own


def measure(command: list[str]) -> tuple[float, float, int]:
    """Seconds, CPU seconds and the peak of memory in KiB; of programs with children that of the largest process."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, peak_of(process.pid))
        time.sleep(POLL_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, peak


def programs(args: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    oltr = [args.program, "classify", "--json", "-q"]
    own = {
        "oltr, exact, 2 jobs": [*oltr, "--jobs", "2", "--decode", "exact", str(folder)],
        "oltr, exact, 1 job": [*oltr, "--jobs", "1", "--decode", "exact", str(folder)],
        "oltr, fast, 2 jobs": [*oltr, "--jobs", "2", "--decode", "fast", str(folder)],
    }
    if args.before:
        own["oltr, before"] = [args.before, "classify", "--json", "-q", str(folder)]
    python = [sys.executable, __file__, "--as-python"]
    return own | {
        "(a) Pillow, whole": [*python, "whole", str(folder)],
        "(b) Pillow, draft": [*python, "draft", str(folder)],
    }


def compare(args: argparse.Namespace, folder: Path, count: int) -> dict[str, dict[str, float]]:
    runs: dict[str, list[tuple[float, float, int]]] = {}
    for round_ in range(args.rounds):
        for name, command in programs(args, folder).items():
            runs.setdefault(name, []).append(measure(command))
            print(f"  round {round_ + 1}: {name}: {count / runs[name][-1][0]:.1f}/s", file=sys.stderr)
    return {
        name: {
            "rate": count / statistics.median(r[0] for r in results),
            "cpu_ms": 1000 * statistics.median(r[1] for r in results) / count,
            "peak_mib": max(r[2] for r in results) / 1024,
        }
        for name, results in runs.items()
    }


def report(all_results: dict[str, tuple[int, dict[str, dict[str, float]]]], args: argparse.Namespace) -> str:
    cpu = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), platform.machine())
    import onnxruntime

    lines = [
        "# Photos a second",
        "",
        "<!-- Written by benches/photos.py: edits are lost. -->",
        "",
        "*In short*",
        "",
    ]
    count, results = all_results["12 MP"]
    ratio = lambda a, b: results[a]["rate"] / results[b]["rate"]  # noqa: E731
    of_cpu = lambda a, b: results[b]["cpu_ms"] / results[a]["cpu_ms"]  # noqa: E731
    exact, fast, whole, draft = "oltr, exact, 2 jobs", "oltr, fast, 2 jobs", "(a) Pillow, whole", "(b) Pillow, draft"
    lines += [
        f"- 12-megapixel photos, two cores: exact decoding is {ratio(exact, whole):.1f} times as fast as two Python processes that",
        f"  decode whole photos ({of_cpu(exact, whole):.1f} times by CPU time), fast decoding {ratio(fast, draft):.1f} times as fast as two that use Pillow's",
        f"  draft mode ({of_cpu(fast, draft):.1f} times by CPU time).",
        f"- Two jobs are {ratio(exact, 'oltr, exact, 1 job'):.2f} times as fast as one.",
        "",
        f"{cpu}, {os.cpu_count()} cores; {date.today()}. Pillow {Image.__version__} with libjpeg-turbo {features.version('libjpeg_turbo')}, ONNX Runtime",
        f"{onnxruntime.__version__}. Medians of {args.rounds} rounds in which the programs take turns; a round begins with starting the program and",
        f"loading the model. The load of the machine by others was {os.getloadavg()[2]:.1f} (15 minutes) at the end, its own included.",
    ]
    for name, (count, results) in all_results.items():
        lines += [
            "",
            f"## {count} photos of {name}",
            "",
            "| program | photos a second | CPU, ms a photo | peak memory of a process, MiB |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {program} | {r['rate']:.1f} | {r['cpu_ms']:.1f} | {r['peak_mib']:.1f} |" for program, r in results.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default=str(ROOT / "target/release/oltr"))
    parser.add_argument("--before", help="an earlier program, to compare with")
    parser.add_argument("--photos", type=int, default=300, help="of 12 megapixels; a third of 24, as many of 2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--folder", type=Path, help="where the photos are made and kept [default: a temporary folder]")
    parser.add_argument("--as-python", nargs=2, metavar=("HOW", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_python:
        by_python(Path(args.as_python[1]), args.as_python[0] == "draft")
        return
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, (width, height) in SIZES.items():
            folder = (args.folder or Path(temporary)) / f"{width}x{height}"
            count = args.photos // 3 if name == "24 MP" else args.photos
            if len(list(folder.glob("*.jpg"))) != count:
                folder.mkdir(parents=True, exist_ok=True)
                # In a process of its own, which gives its memory back.
                making = multiprocessing.Process(target=make, args=(folder, width, height, count))
                making.start()
                making.join()
                assert making.exitcode == 0
            print(name, file=sys.stderr)
            results[name] = (count, compare(args, folder, count))
    text = report(results, args)
    print(text)
    if args.report:
        args.report.write_text(text)


if __name__ == "__main__":
    main()
