#!/usr/bin/env python3
"""The motion gate beside OpenCV's MOG2: the same frames, one core, in turn, in one run.

    cargo build --release -p oltr-scenes --example pace
    benches/scenes.py target/release/examples/pace VIDEO.y4m... [--frames 120] [--rounds 7] [--report docs/results/scenes.md]

VIDEO is YUV 4:2:0 of 8 bits, as `ffmpeg -i clip.mp4 -vf scale=640:480 -pix_fmt yuv420p -f yuv4mpegpipe VIDEO.y4m` makes it.
Needs NumPy and opencv-python-headless. All programs are bound to one core and OpenCV to one thread. Frames are read and, for
OpenCV, made BGR before the clock starts; it counts time on the processor, so that what else the machine does disturbs little.
Each program sees the frames forwards and backwards, so that there is no leap. `pace` is the gate and the tracker together;
of MOG2 only what moves is found.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from compare import machine  # noqa: E402

PASSES = 4
COLUMNS = 160
LAYOUTS = {"420", "420jpeg", "420mpeg2", "420paldv"}


def read(path: str, most: int) -> list[np.ndarray]:
    """The first frames as planes of luma and chroma below each other, as OpenCV has them."""
    frames = []
    with open(path, "rb") as file:
        head = file.readline().decode("ascii").split()
        if head[:1] != ["YUV4MPEG2"]:
            sys.exit(f"{path} is no yuv4mpegpipe: make it as the head of this program says")
        fields = {field[0]: field[1:] for field in head[1:]}
        width, height = int(fields["W"]), int(fields["H"])
        if fields.get("C", "420") not in LAYOUTS or width % 2 or height % 2:
            sys.exit(f"{path} is not 4:2:0 of 8 bits with even sides: give -pix_fmt yuv420p to ffmpeg")
        size = width * height * 3 // 2
        while len(frames) < most and file.readline().startswith(b"FRAME"):
            data = file.read(size)
            if len(data) == size:
                frames.append(np.frombuffer(data, np.uint8).reshape(height * 3 // 2, width))
    if not frames:
        sys.exit(f"{path} has no frames")
    return frames


def gate(pace: str, path: str, frames: int) -> float:
    """Milliseconds of a processor that a frame takes the gate and the tracker."""
    out = subprocess.run([pace, path, str(frames), str(PASSES)], capture_output=True, text=True, check=True).stdout
    return float(out.split(",")[1].split()[0])


def mog2(frames: list[np.ndarray], prepare: Callable[[np.ndarray], np.ndarray]) -> float:
    """The same for MOG2 with what must be done to a frame before."""
    subtractor = cv2.createBackgroundSubtractorMOG2()
    begin = time.process_time()
    for number in range(PASSES):
        for frame in frames if number % 2 == 0 else frames[::-1]:
            subtractor.apply(prepare(frame))
    return (time.process_time() - begin) * 1e3 / (PASSES * len(frames))


def compare(args: argparse.Namespace, path: str) -> tuple[str, dict[str, list[float]]]:
    planes = read(path, args.frames)
    height, width = planes[0].shape[0] * 2 // 3, planes[0].shape[1]
    pictures = [cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420) for frame in planes]
    grays = [frame[:height] for frame in planes]
    small = (COLUMNS, round(COLUMNS * height / width))
    programs: dict[str, Callable[[], float]] = {
        "gate and tracker": lambda: gate(args.pace, path, len(planes)),
        "MOG2, BGR": lambda: mog2(pictures, lambda frame: frame),
        "MOG2, grey": lambda: mog2(grays, lambda frame: frame),
        f"MOG2, BGR, reduced to {small[0]}×{small[1]} before": lambda: mog2(
            pictures, lambda frame: cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(args.rounds):
        for name, program in programs.items():
            times[name].append(program())
    return f"{Path(path).stem}, {width}×{height}", times


def report(results: list[tuple[str, dict[str, list[float]]]], args: argparse.Namespace) -> str:
    facts = machine.describe()
    medians = [(name, {key: statistics.median(values) for key, values in times.items()}) for name, times in results]
    shares = [own["gate and tracker"] / own[key] for _, own in medians for key in own if key.endswith("before")]
    whole = [own["gate and tracker"] / own["MOG2, BGR"] for _, own in medians]
    lines = [
        "# The motion gate beside MOG2",
        "",
        "<!-- Written by benches/scenes.py: edits are lost. -->",
        "",
        "*In short.* On one core the gate and the tracker of `stream --things` take "
        f"{min(whole):.2f} to {max(whole):.2f} of the time of OpenCV's MOG2 on the same frames,",
        f"and {min(shares):.2f} to {max(shares):.2f} of that of MOG2 on frames that are reduced to "
        f"{COLUMNS} columns first, as the gate reduces them.",
        "",
        f"{facts['processor']}; {facts['instruction sets']}. {facts['date']}. OpenCV {cv2.__version__}.",
        f"Milliseconds of the processor a frame: medians of {args.rounds} rounds in which the programs take turns on one core, "
        "and the least and most of them.",
        f"The load of the machine by others was {os.getloadavg()[2]:.1f} (15 minutes) at the end.",
        "",
        "| clip | program | ms a frame | least to most | gate by it |",
        "|---|---|---|---|---|",
    ]
    for (name, times), (_, own) in zip(results, medians, strict=True):
        for key, values in times.items():
            share = own["gate and tracker"] / own[key]
            lines.append(f"| {name} | {key} | {own[key]:.3f} | {min(values):.3f} to {max(values):.3f} | {share:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pace", help="the built example")
    parser.add_argument("videos", nargs="+", metavar="VIDEO.y4m")
    parser.add_argument("--frames", type=int, default=120, help="of each video [120]")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--report", type=Path, help="where the page goes [it is printed]")
    parser.add_argument("--must", type=float, metavar="SHARE", help="fail where the gate takes more than so much of MOG2")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    results = [compare(args, path) for path in args.videos]
    text = report(results, args)
    if args.report:
        args.report.write_text(text)
    print(text, end="")
    if args.must is not None:
        for name, times in results:
            own = statistics.median(times["gate and tracker"])
            for key, values in times.items():
                if key.startswith("MOG2") and own > args.must * statistics.median(values):
                    sys.exit(f"{name}: the gate takes {own / statistics.median(values):.2f} of {key}, more than {args.must}")


if __name__ == "__main__":
    main()
