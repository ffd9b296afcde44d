"""What is compared: graphs, their goldens, and how fast oltr has to be on each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

INPUTS = ("image", "input")


@dataclass(frozen=True)
class Graph:
    """A quantised graph with the outputs that exact integer arithmetic gives."""

    name: str
    title: str
    model: Path
    goldens: tuple[Path, ...]
    bar: float | None
    """oltr's median over that of the fastest peer: at most this."""
    bundle: bool = False
    """Has metadata, so that oltr takes camera frames too."""

    def samples(self) -> list[dict[str, np.ndarray]]:
        """For each sample its input (under `input`) and outputs, each with a leading axis of 1."""
        samples = []
        for path in self.goldens:
            with np.load(path) as file:
                arrays = {("input" if name in INPUTS else name): file[name] for name in file}
            count = len(arrays["input"])
            samples += [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]
        return samples


# Name of the file, title, bar. Quick runs leave out those without one.
NETWORKS = [
    ("r10", "OLTR ResNet-10 at 224", 0.85),
    ("mbv2", "OLTR MobileNetV2-like at 224", 0.70),
    ("lite0", "OLTR Lite0-like at 128", 0.60),
    ("mbv2plain", "MobileNetV2 at 224, without OLTR", None),
]


def find(folder: Path, bundle: Path, only: list[str] | None) -> list[Graph]:
    """The graphs in `folder` (made by `python -m oltr_models.graphs`) and the shipped bundle."""
    graphs = []
    for name, title, bar in NETWORKS:
        model = folder / f"{name}.qdq.onnx"
        goldens = tuple(sorted(folder.glob(f"{name}.qdq.[0-9].npz")))
        if model.exists() and goldens:
            graphs.append(Graph(name, title, model, goldens, bar))
    golden = bundle.with_suffix(".golden.npz")
    if bundle.exists() and golden.exists():
        graphs.append(Graph("bundle", "the shipped bundle at 224", bundle, (golden,), 0.70, bundle=True))
    return [graph for graph in graphs if not only or graph.name in only]
