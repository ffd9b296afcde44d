"""`python -m oltr_models.metric`: gives an int8 bundle distances in the metric of its own training photos.

The graph's `distances` become

    d_k = exp(-beta (ln sum_j exp z_j - mu)) / sqrt(1 + u / n_k) * |M (v - c_k)|

M whitens the scatter of the features within their classes, shrunk towards the identity; c_k lies between the
trained centroid and the mean of the class's n_k training photos; the first factor brings in how much the logits z
find of anything known. Everything else of the graph stays as it is, and the old distances go on serving the
meta-embedding. `oltr refit` makes such a metric from the same photos without Python, and chooses the three numbers that are
options here on the split val (docs/why/open-world.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .bundle import Runner
from .cli import prog, run
from .data import load_photo, read_samples, select
from .nothing import remove

PREFIX = "oltr.metric."
SHRINKAGE = 0.4  # of the scatter towards the identity
TOWARDS_MEAN = 0.75  # share of the class mean in a centroid; the rest is the trained one
UNCERTAINTY = 2.0  # u: photos' worth by which the mean of few photos is uncertain
ENERGY = 0.13  # beta times the temperature of the logits


def energy(logits: np.ndarray) -> np.ndarray:
    """ln sum_j exp z_j of each row."""
    largest = logits.max(1)
    return largest + np.log(np.exp(logits - largest[:, None]).sum(1))


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """What logits are divided by so that probabilities say how often they are right; as `oltr calibrate` finds it."""
    def cost(ln_t: float) -> float:
        scaled = logits / np.exp(ln_t)
        return float((energy(scaled) - scaled[np.arange(len(truth)), truth]).sum() + ln_t**2 / 2)

    golden, low, high = (5**0.5 - 1) / 2, -4.0, 4.0
    for _ in range(40):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if cost(a) <= cost(b) else (a, high)
    return float(f"{np.exp((low + high) / 2):.3e}")


def fit(features: np.ndarray, logits: np.ndarray, truth: np.ndarray, trained: np.ndarray,
        towards_mean: float = TOWARDS_MEAN, uncertainty: float = UNCERTAINTY) -> dict[str, np.ndarray]:
    """The constants of the metric from training photos: features `[N, D]`, logits `[N, K]`, classes `[N]`, and the
    trained centroids `[K, D]`."""
    features, trained = features.astype(np.float64), trained.astype(np.float64)
    classes, dim = trained.shape
    counts = np.bincount(truth, minlength=classes)
    means = np.stack([features[truth == k].mean(0) for k in range(classes)])
    within = features - means[truth]
    # Each class's scatter without the bias of its own mean; a class with one photo has none.
    weight = np.where(counts > 1, counts / np.maximum(counts - 1, 1), 0)[truth]
    scatter = (within * weight[:, None]).T @ within / counts[counts > 1].sum()
    scatter = (1 - SHRINKAGE) * scatter + SHRINKAGE * np.trace(scatter) / dim * np.eye(dim)
    values, vectors = np.linalg.eigh(scatter)
    whitening = (vectors / np.sqrt(values)) @ vectors.T
    centroids = towards_mean * means + (1 - towards_mean) * trained
    # One unit of the metric is one unit of the features for the mean photo, so that both kinds of distances compare.
    own = np.linalg.norm((features - centroids[truth]) @ whitening, axis=1)
    whitening *= np.linalg.norm(features - centroids[truth], axis=1).mean() / own.mean()
    scale = np.abs(whitening).max(0) / 127
    steps = np.clip(np.round(whitening / scale), -127, 127)
    return {
        "steps": steps.astype(np.int8),
        "scale": scale.astype(np.float32),
        # As the graph computes: with the rounded weights.
        "centroids": (centroids @ (steps * scale.astype(np.float32))).astype(np.float32),
        "factor": (1 / np.sqrt(1 + uncertainty / np.maximum(counts, 1)))[None].astype(np.float32),
        "mu": np.array([[energy(logits.astype(np.float64)).mean()]], np.float32),
    }


def trained_centroids(model: onnx.ModelProto) -> np.ndarray:
    """The constant that the graph's distances are taken from."""
    producers = {o: n for n in model.graph.node for o in n.output}
    constants = {i.name: i for i in model.graph.initializer}
    name = "distances.trained" if "distances.trained" in producers else "distances"
    while name in producers and producers[name].op_type != "Sub":
        name = producers[name].input[0]
    found = [i for i in producers[name].input if i in constants] if name in producers else []
    if not found:
        raise ValueError("the distances are not those of a bundle of `python -m oltr_models.export`")
    return numpy_helper.to_array(constants[found[0]])


def install(model: onnx.ModelProto, constants: dict[str, np.ndarray], beta: float) -> None:
    """Puts the metric behind the graph's `features` and `logits`; what was put there before is replaced, and a factor of
    `oltr_models.nothing` is taken out."""
    graph = model.graph
    remove(model)
    for nodes in (graph.node, graph.initializer):
        names = [n.output[0] if hasattr(n, "output") else n.name for n in nodes]
        for index in reversed(range(len(nodes))):
            if names[index].startswith(PREFIX) or names[index] == "distances" and "distances.trained" in names:
                del nodes[index]
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == "distances":
                    names[index] = "distances.trained"
    dim, classes = constants["steps"].shape[0], constants["centroids"].shape[0]

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, PREFIX + name))
        return PREFIX + name

    def node(op: str, inputs: list[str], output: str, **attributes) -> str:
        name = PREFIX + output
        graph.node.append(helper.make_node(op, inputs, [output if output == "distances" else name], name=name, **attributes))
        return name

    weights = [constant("steps", constants["steps"]), constant("scale", constants["scale"]), constant("zero", np.zeros(dim, np.int8))]
    axis = constant("axis", np.array([1], np.int64))
    whitened = node("MatMul", ["features", node("DequantizeLinear", weights, "whitening", axis=1)], "whitened")
    difference = node("Sub", [whitened, constant("centroids", constants["centroids"])], "difference")
    square = node("ReduceSum", [node("Mul", [difference, difference], "squares"), axis], "square", keepdims=0)
    length = node("Reshape", [node("Sqrt", [square], "length"), constant("shape", np.array([1, classes], np.int64))], "row")
    length = node("Mul", [length, constant("factor", constants["factor"])], "sure")
    largest = node("ReduceMax", ["logits"], "largest", axes=[1], keepdims=1)
    power = node("Exp", [node("Sub", ["logits", largest], "below")], "power")
    sum_ = node("Log", [node("ReduceSum", [power, axis], "powers", keepdims=1)], "log")
    surplus = node("Sub", [node("Add", [largest, sum_], "energy"), constant("mu", constants["mu"])], "surplus")
    exponent = node("Mul", [surplus, constant("beta", np.array([[-beta]], np.float32))], "exponent")
    node("Mul", [length, node("Exp", [exponent], "surprise")], "distances")
    onnx.checker.check_model(model)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("metric"), description="Give a bundle distances in the metric of its training photos.",
        epilog="example: python -m oltr_models.metric work/fish.int8.onnx fish.onnx --images photos --labels fish.tsv")
    parser.add_argument("bundle", type=Path, help="int8 bundle, as `quantise` writes it")
    parser.add_argument("target", type=Path, help="bundle to write; calibrate it anew, with `oltr calibrate`")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help=".tsv with path, class, role, split; else one subfolder a class")
    parser.add_argument("--towards-mean", type=float, default=TOWARDS_MEAN, help="share of the class mean in a centroid (default: %(default)s)")
    parser.add_argument("--uncertainty", type=float, default=UNCERTAINTY, help="of the mean of few photos (default: %(default)s)")
    parser.add_argument("--energy", type=float, default=ENERGY, help="beta times the temperature (default: %(default)s)")
    args = parser.parse_args()
    runner, model = Runner(args.bundle), onnx.load(args.bundle)
    ids = [c["id"] for c in runner.classes]
    of = {}
    for split in ("train", "val"):
        samples = select(read_samples(args.images, args.labels), split, True)
        outputs = [runner(runner.preprocess(load_photo(s.path))) for s in samples]
        of[split] = {n: np.concatenate([o[n] for o in outputs]) for n in ("features", "logits")}
        of[split]["truth"] = np.array([ids.index(s.cls) for s in samples])
    t = temperature(of["val"]["logits"].astype(np.float64), of["val"]["truth"])
    constants = fit(**of["train"], trained=trained_centroids(model), towards_mean=args.towards_mean, uncertainty=args.uncertainty)
    install(model, constants, args.energy / t)
    onnx.save(model, args.target)
    print(f"{args.target}: temperature {t}, beta {args.energy / t:.3f}; calibrate it: oltr calibrate --split val")


if __name__ == "__main__":
    run(main)
