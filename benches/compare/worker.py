"""A process with one peer in it: `python -m compare.worker PEER MODEL THREADS SAMPLES.npz BEGIN`.

Loads, answers once, and then does what lines on its input say:

    run WARMUP COUNT SECONDS   COUNT runs after WARMUP others, fewer if they take longer than SECONDS
    outputs FILE.npz           outputs for every sample, as `NAME.INDEX`
    memory                     peak of resident memory

Every answer is one line of JSON. `BEGIN` is the reading of the monotonic clock when the process
was started, in nanoseconds.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from .peers import PEERS

# At least this many, however long they take.
LEAST_RUNS = 3


def main() -> None:
    kind, model, threads, samples, begin = sys.argv[1:]
    # Runtimes print: what they say must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields: object) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    with np.load(samples) as file:
        images = [file[name] for name in sorted(file)]
    interpreter = peak_bytes()
    loading = time.perf_counter_ns()
    peer = PEERS[kind](Path(model), int(threads))
    loaded = time.perf_counter_ns()
    peer.feed(images[0])
    peer.run()
    answer(
        load_ms=(loaded - loading) / 1e6,
        first_ms=(time.monotonic_ns() - int(begin)) / 1e6,
        interpreter_bytes=interpreter,
    )
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "run":
            answer(times_ms=burst(peer, *map(float, arguments)))
        elif command == "outputs":
            arrays = {}
            for index, image in enumerate(images):
                peer.feed(image)
                peer.run()
                arrays |= {f"{name}.{index}": array for name, array in peer.outputs().items()}
            np.savez(arguments[0], **arrays)
            peer.feed(images[0])
            answer()
        elif command == "memory":
            answer(peak_bytes=peak_bytes())


def burst(peer, warmup: float, count: float, seconds: float) -> list[float]:
    """Times of runs, in milliseconds."""
    begin = time.perf_counter_ns()
    for done in range(int(warmup)):
        if done == 0 or time.perf_counter_ns() - begin < seconds * 1e9:
            peer.run()
    times: list[float] = []
    begin = now = time.perf_counter_ns()
    while len(times) < count and (len(times) < LEAST_RUNS or now - begin < seconds * 1e9):
        before = time.perf_counter_ns()
        peer.run()
        now = time.perf_counter_ns()
        times.append((now - before) / 1e6)
    return times


def peak_bytes() -> int:
    """`VmHWM` of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not tell the peak of resident memory")


if __name__ == "__main__":
    main()
