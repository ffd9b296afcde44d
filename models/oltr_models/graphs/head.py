"""Modulated attention and the open-world head, as standard operators.

The same formulas are written in several ways (`Gemm` or `MatMul` with `Add`; distances by
`Mul`, `Pow` or `ReduceL2`; pooling global or by kernel), because exporters do.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .builder import GraphBuilder


@dataclass(frozen=True)
class HeadStyle:
    """How one network writes its head."""

    classes: int
    fc: int | None
    """Width of the feature layer, or None where the pooled map is the direct feature."""
    dense: Literal["Gemm", "MatMul"]
    squares: Literal["Mul", "Pow", "ReduceL2"]


def modulated_attention(graph: GraphBuilder, f: str, dense: Literal["Gemm", "MatMul"]) -> str:
    """`f + MA ⊙ SA` on a map `[1, C, H, W]`: self-attention masked by a spatial softmax."""
    _, channels, height, width = graph.shape(f)
    half, positions = channels // 2, height * width
    # Scores are sums over C/2 products: this gain gives them a spread of 1.5.
    gain = 1.5**0.5 / half**0.25

    def projection(name: str, gain: float) -> str:
        x = graph.conv(f"attention.{name}", f, half, 1, gain=gain)
        return _reshape(graph, f"attention.{name}.flat", x, (1, half, positions))

    theta = graph.node("Transpose", "attention.theta.t", projection("theta", gain), perm=[0, 2, 1])
    phi = projection("phi", gain)
    g = graph.node("Transpose", "attention.g.t", projection("g", 1.0), perm=[0, 2, 1])
    scores = graph.node("MatMul", "attention.scores", theta, phi)
    weights = graph.node("Softmax", "attention.softmax", scores, axis=-1)
    mixed = graph.node("MatMul", "attention.mix", weights, g)
    mixed = graph.node("Transpose", "attention.mix.t", mixed, perm=[0, 2, 1])
    mixed = _reshape(graph, "attention.mix.map", mixed, (1, half, height, width))
    # MA is about 1/positions everywhere: the gain lets the attention matter beside f.
    self_attention = graph.conv("attention.m", mixed, channels, 1, gain=0.5 * positions, bias=False)

    flat = graph.node("Flatten", "spatial.flat", f, axis=1)
    layer = graph.gemm if dense == "Gemm" else graph.matmul
    spatial = layer("spatial.fc", flat, positions)
    spatial = graph.node("Softmax", "spatial.softmax", spatial, axis=1)
    spatial = _reshape(graph, "spatial.map", spatial, (1, 1, height, width))
    modulation = graph.node("Mul", "attention.modulate", self_attention, spatial)
    return graph.node("Add", "attention.add", f, modulation)


def open_world_head(graph: GraphBuilder, f: str, style: HeadStyle) -> None:
    """Pool, direct feature, dynamic meta-embedding, cosine classifier.

    Makes the tensors `features` `[1, D]`, `distances` `[1, K]` and `logits` `[1, K]`.
    """
    v = _direct_feature(graph, f, style)
    centroids, classifier = _classes(graph, graph.values(v), style.classes)
    memory = graph.constant("memory.centroids", centroids)

    distances = _distances(graph, v, memory, style.squares)
    nearest = graph.node("ReduceMin", "reachability.min", distances, axes=[1], keepdims=1)
    # Guard d_min = 0: the logits then take their limit instead of 0 · ∞.
    guarded = graph.node("Max", "reachability.guard", nearest, graph.constant("reachability.eps", np.float32(1e-6)))
    ten = graph.constant("reachability.ten", np.float32(10.0))
    reachability = graph.node("Div", "reachability.div", ten, guarded)

    layer = graph.gemm if style.dense == "Gemm" else graph.matmul
    hallucinated = layer("hallucinator", v, style.classes, gain=2.0)
    weights = graph.node("Softmax", "hallucinator.softmax", hallucinated, axis=1)
    recalled = graph.node("MatMul", "memory.recall", weights, memory)
    selector = layer("selector", v, graph.shape(v)[1], gain=0.5)
    selector = graph.node("Tanh", "selector.tanh", selector)
    infused = graph.node("Mul", "meta.infuse", selector, recalled)
    embedding = graph.node("Add", "meta.add", v, infused)
    embedding = graph.node("Mul", "meta.scale", reachability, embedding)

    norm = _norm(graph, "cosine.norm", embedding, style.squares)
    one = graph.constant("cosine.one", np.float32(1.0))
    squashed = graph.node("Div", "cosine.squash", embedding, graph.node("Add", "cosine.add", norm, one))
    cosines = graph.node("MatMul", "cosine.classify", squashed, graph.constant("cosine.weight", classifier.T))
    sixteen = graph.constant("cosine.sixteen", np.float32(16.0))
    graph.node("Mul", "cosine.scale", cosines, sixteen, output="logits")


def plain_classifier(graph: GraphBuilder, features: str, classes: int) -> None:
    """An ordinary `Gemm` to `logits` `[1, K]`: about 10 for the class of a sample, less for the others."""
    seen = np.concatenate(graph.values(features))
    _, rows = _classes(graph, [seen], classes)
    mean = seen.mean(axis=0)
    rows *= 10.0 / np.linalg.norm(seen - mean, axis=1).mean()
    weight = graph.constant("classifier.weight", rows)
    bias = graph.constant("classifier.bias", (-rows @ mean).astype(np.float32))
    graph.node("Gemm", "classifier", features, weight, bias, output="logits", transB=1)


def float_nodes(*, keep_activations: bool) -> list[str]:
    """Nodes of the head that a quantiser must leave in float.

    Distances, norms and the cosine classifier always; with `keep_activations` softmax,
    tanh and what they feed too, as this project's bundles are quantised. Without it they
    are quantised, as happens to whoever only protects the distances.
    """
    prefixes = ["distance.", "reachability.", "meta.", "cosine."]
    if keep_activations:
        prefixes += ["attention.softmax", "spatial.softmax", "hallucinator.softmax", "selector.tanh", "memory."]
    return prefixes


def _direct_feature(graph: GraphBuilder, f: str, style: HeadStyle) -> str:
    height, width = graph.shape(f)[2:]
    if style.squares == "Pow":
        pooled = graph.node("AveragePool", "pool", f, kernel_shape=[height, width])
    else:
        pooled = graph.node("GlobalAveragePool", "pool", f)
    if style.fc is None:
        return graph.node("Flatten", "feature.flat", pooled, axis=1, output="features")
    flat = graph.node("Flatten", "feature.flat", pooled, axis=1)
    layer = graph.gemm if style.dense == "Gemm" else graph.matmul
    return graph.node("Relu", "feature.relu", layer("feature.fc", flat, style.fc), output="features")


def _classes(graph: GraphBuilder, features: list[np.ndarray], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroids and unit classifier rows `[K, D]`: one class near each sample, the rest near nothing.

    A frame that resembles a sample then has a nearest centroid and a clear argmax.
    """
    seen = np.concatenate(features)
    mean, spread = seen.mean(axis=0), seen.std(axis=0)
    centroids = mean + spread * graph.rng.normal(size=(classes, seen.shape[1]))
    places = graph.rng.permutation(classes)[: len(seen)]
    centroids[places] = seen + 0.2 * (centroids[places] - mean)
    # What all features share tells classes apart badly: a trained classifier ignores it.
    common = mean / np.linalg.norm(mean)
    rows = centroids - mean
    rows -= np.outer(rows @ common, common)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return centroids.astype(np.float32), rows.astype(np.float32)


def _distances(graph: GraphBuilder, v: str, memory: str, squares: str) -> str:
    width = graph.shape(v)[1]
    row = _reshape(graph, "distance.row", v, (1, 1, width))
    difference = graph.node("Sub", "distance.sub", row, memory)
    return _norm(graph, "distance.norm", difference, squares, keepdims=0, output="distances")


def _norm(
    graph: GraphBuilder, name: str, x: str, squares: str, *, keepdims: int = 1, output: str | None = None
) -> str:
    """Euclidean norm over the last axis, in one of its usual writings."""
    last = len(graph.shape(x)) - 1
    if squares == "ReduceL2":
        return graph.node("ReduceL2", f"{name}.l2", x, axes=[last], keepdims=keepdims, output=output)
    if squares == "Pow":
        squared = graph.node("Pow", f"{name}.square", x, graph.constant(f"{name}.two", np.float32(2.0)))
    else:
        squared = graph.node("Mul", f"{name}.square", x, x)
    axes = graph.constant(f"{name}.axes", np.array([last], dtype=np.int64))
    total = graph.node("ReduceSum", f"{name}.sum", squared, axes, keepdims=keepdims)
    return graph.node("Sqrt", f"{name}.sqrt", total, output=output)


def _reshape(graph: GraphBuilder, name: str, x: str, shape: tuple[int, ...]) -> str:
    return graph.node("Reshape", name, x, graph.constant(f"{name}.shape", np.array(shape, dtype=np.int64)))
