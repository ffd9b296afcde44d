"""Bursts of all engines in turn, so that what slows the machine for a while slows all of them.

An engine is oltr (a process a burst: it loads, warms up, reports) or a peer (a process that
stays and runs bursts when told). Only one of them works at a time.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .peers import FALLBACK

WARMUP = 3
LEAST_RUNS, MOST_RUNS = 3, 500
# Between bursts: the threads of some runtimes spin for a while before they sleep.
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Row:
    """A line of the tables: an engine and the form of the network it runs."""

    key: str
    title: str
    form: str
    """A method of `forms.Forms`, or `bundle`."""
    peer: bool = True
    """Counts among the peers that oltr is compared with."""


@dataclass
class Result:
    """What one engine did on one graph with one number of threads."""

    row: str
    graph: str
    threads: int
    medians_ms: list[float] = field(default_factory=list)
    """One a burst."""
    minima_ms: list[float] = field(default_factory=list)
    load_ms: float | None = None
    first_ms: float | None = None
    peak_bytes: int | None = None
    interpreter_bytes: int = 0
    cosine: float | None = None
    """Of the logits with the golden ones, the worst sample."""
    same_class: str = ""
    macs: int = 0
    unavailable: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.medians_ms)

    @property
    def minimum(self) -> float:
        return min(self.minima_ms)


class EngineError(Exception):
    """An engine does not run a model."""


class Engine(ABC):
    """Something that runs bursts. Fills in its `result`."""

    def __init__(self, result: Result):
        self.result = result

    @abstractmethod
    def start(self) -> None:
        """Loads, answers once, compares with the goldens."""

    @abstractmethod
    def burst(self, seconds: float) -> None:
        """One burst of about this length."""

    def stop(self) -> None:  # noqa: B027
        """Ends what `start` began, if that goes on."""

    def compare(self, computed: list[dict[str, np.ndarray]], samples: list[dict[str, np.ndarray]]) -> None:
        """Worst cosine of the logits, and in how many samples the same class comes first."""
        cosines, same = [], 0
        for ours, golden in zip(computed, samples, strict=True):
            a, b = (np.ravel(x["logits"]).astype(np.float64) for x in (ours, golden))
            cosines.append(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
            same += int(a.argmax() == b.argmax())
        self.result.cosine = min(cosines)
        self.result.same_class = f"{same}/{len(samples)}"


class Oltr(Engine):
    """`oltr bench` and `oltr verify`."""

    def __init__(self, result: Result, binary: Path, model: Path, goldens: list[Path], samples: list[dict]):
        super().__init__(result)
        self.binary, self.model, self.goldens, self.samples = binary, model, goldens, samples

    def start(self) -> None:
        report = self._bench(1, 0)
        self.result.load_ms, self.result.first_ms = report["load_ms"], report["first_result_ms"]
        self.result.macs = sum(step["macs"] for step in self._bench(1, 0, "--profile")["profile"])
        computed = []
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "outputs.npz"
            for golden in self.goldens:
                # Exits 1 where outputs differ more than it likes: that is reported here.
                self._oltr("verify", "--output", str(out), str(self.model), str(golden), may_fail=True)
                with np.load(out) as file:
                    arrays = {name: file[name] for name in file}
                count = len(arrays["logits"])
                computed += [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]
        self.compare(computed, self.samples)

    def burst(self, seconds: float) -> None:
        expected = self.result.median if self.result.medians_ms else self._bench(LEAST_RUNS, 1)["latency_ms"]["median"]
        runs = min(MOST_RUNS, max(LEAST_RUNS, int(seconds * 1e3 / expected)))
        report = self._bench(runs, WARMUP)
        self.result.medians_ms.append(report["latency_ms"]["median"])
        self.result.minima_ms.append(report["latency_ms"]["min"])
        self.result.peak_bytes = max(self.result.peak_bytes or 0, report["peak_rss_bytes"])

    def _bench(self, runs: int, warmup: int, *more: str) -> dict:
        count = ["--runs", str(runs), "--warmup", str(warmup), "--threads", str(self.result.threads)]
        return json.loads(self._oltr("bench", "--json", *count, *more, str(self.model)))

    def _oltr(self, *arguments: str, may_fail: bool = False) -> str:
        run = subprocess.run([str(self.binary), *arguments], capture_output=True, text=True)
        if run.returncode != 0 and not may_fail:
            raise EngineError((run.stderr.strip().splitlines() or ["no message"])[-1])
        return run.stdout


class Worker(Engine):
    """A peer in a process of its own, see `worker`."""

    def __init__(self, result: Result, kind: str, model: Path, images: Path, samples: list[dict]):
        super().__init__(result)
        self.kind, self.model, self.images, self.samples = kind, model, images, samples

    def start(self) -> None:
        try:
            self._start()
        except EngineError as error:
            if self.kind not in FALLBACK:
                raise
            self.result.note = f"{FALLBACK[self.kind]}, for {self.kind} does not start ({error})"
            self.kind = FALLBACK[self.kind]
            self._start()

    def _start(self) -> None:
        arguments = [self.kind, str(self.model), str(self.result.threads), str(self.images), str(time.monotonic_ns())]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "compare.worker", *arguments],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        started = self._answer()
        self.result.load_ms, self.result.first_ms = started["load_ms"], started["first_ms"]
        self.result.interpreter_bytes = started["interpreter_bytes"]
        # In the order of the graph.
        names = [name for name in self.samples[0] if name != "input"]
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "outputs.npz"
            self._tell(f"outputs {out}")
            with np.load(out) as file:
                computed = [self._outputs(file, names, index) for index in range(len(self.samples))]
        self.compare(computed, self.samples)

    def burst(self, seconds: float) -> None:
        times = self._tell(f"run {WARMUP} {MOST_RUNS} {seconds}")["times_ms"]
        self.result.medians_ms.append(statistics.median(times))
        self.result.minima_ms.append(min(times))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.result.peak_bytes = self._tell("memory")["peak_bytes"]
            self.process.stdin.close()
            self.process.wait()

    def _tell(self, line: str) -> dict:
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or [f"exit {self.process.returncode}"])[-1]
            raise EngineError(last[:200])
        return json.loads(line)

    @staticmethod
    def _outputs(file, names: list[str], index: int) -> dict[str, np.ndarray]:
        keys = [key for key in file if key.endswith(f".{index}")]
        own = {key.removesuffix(f".{index}"): file[key] for key in keys}
        return {name: own[name] if name in own else own[f"out{i}"] for i, name in enumerate(names)}


def interleaved(engines: list[Engine], rounds: int, seconds: float) -> list[Engine]:
    """Starts all, then bursts of each in turn, beginning with another one every round.

    Returns those that ran to the end; the others have said why not in their `result`.
    """
    running = []
    for engine in engines:
        if _guarded(engine, engine.start):
            running.append(engine)
    try:
        for number in range(rounds):
            first = number % max(1, len(running))
            for engine in running[first:] + running[:first]:
                time.sleep(PAUSE_SECONDS)
                if not _guarded(engine, engine.burst, seconds):
                    running = [other for other in running if other is not engine]
    finally:
        for engine in running:
            _guarded(engine, engine.stop)
    return running


def _guarded(engine: Engine, action, *arguments: float) -> bool:
    try:
        action(*arguments)
    except (EngineError, KeyError, ValueError) as error:
        engine.result.unavailable = f"does not run: {error}"
        return False
    return True
