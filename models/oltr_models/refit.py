"""`python -m oltr_models.refit`: the classifier of a trained bundle, fitted anew to all training photos.

Two stages of training see each photo a few times; the classifier, one matrix, can see it a hundred times for next to
nothing once the network before it stands still (decoupled training: Kang et al., "Decoupling representation and
classifier for long-tailed recognition", ICLR 2020). Only the cosine classifier's weights change: features and
distances stay, so what is open stays open. Classes are drawn so that the tail comes more often, and classes with few
photos are seen in random views too. `lift` may follow.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F
from tqdm import tqdm

from .augment import random_view
from .bundle import Runner, classifier
from .cli import prog, run
from .data import load_photo, read_samples, select
from .evaluation import class_indices
from .head import COSINE_SCALE
from .trainer import SAMPLING

BATCH = 256


def embeddings(model: onnx.ModelProto, images: Path, labels: Path | None, few: int, views: int, turn: bool,
               seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the classifier gets for each training photo, `[n, D]`, and the photos' classes. Classes with up to `few`
    photos come with as many random views of each photo."""
    source = classifier(model)[0].input[0]
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.append(helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, None))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probed.onnx"
        onnx.save(probed, path)
        runner = Runner(path)
    samples = select(read_samples(images, labels, seed), "train", known=True)
    truth = class_indices(samples, [c["id"] for c in runner.classes])
    counts = np.bincount(truth, minlength=len(runner.classes))
    found, classes = [], []
    for index, (sample, k) in enumerate(zip(tqdm(samples, desc="embed", unit="photo"), truth)):
        photo = load_photo(sample.path)
        inputs = [runner.preprocess(photo)]
        for view in range(views if counts[k] <= few else 0):
            inputs.append(random_view(photo, runner.preprocess, np.random.default_rng((seed, view, index)), turn))
        found += [runner(x)[source][0] for x in inputs]
        classes += [k] * len(inputs)
    return np.stack(found), np.array(classes)


def fit(x: np.ndarray, labels: np.ndarray, start: np.ndarray, power: float, steps: int, rate: float, smoothing: float,
        seed: int) -> np.ndarray:
    """The cosine classifier's weights `[D, K]`, from those of `start` on; `power` as in `SAMPLING`."""
    rng = np.random.default_rng(seed)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
    shares = np.bincount(labels).astype(float)[labels] ** -power
    shares /= shares.sum()
    weight = torch.tensor(start.T, dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=rate)
    for step in tqdm(range(steps), desc="refit", unit="batch"):
        optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        rows = torch.from_numpy(rng.choice(len(labels), BATCH, p=shares))
        logits = inputs[rows] @ (COSINE_SCALE * F.normalize(weight)).T
        optimiser.zero_grad()
        F.cross_entropy(logits, targets[rows], label_smoothing=smoothing).backward()
        optimiser.step()
    return (COSINE_SCALE * F.normalize(weight)).detach().numpy().T


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("refit"), description="Fit the classifier of a bundle anew to all training photos.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="example: python -m oltr_models.refit work/mine.float.onnx work/mine.refit.onnx --images photos --labels photos.tsv")
    parser.add_argument("source", type=Path, help="bundle, float or int8")
    parser.add_argument("target", type=Path, help="bundle to write")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help=".tsv or .csv with path, class, role, split, or a folder; else one subfolder a class in --images")
    parser.add_argument("--sampling", choices=tuple(SAMPLING), default="root", help="each photo as often (photo), each class (class), or between")
    parser.add_argument("--steps", type=int, default=1500, help=f"batches of {BATCH} photos")
    parser.add_argument("--rate", type=float, default=0.02, help="learning rate at the start")
    parser.add_argument("--smoothing", type=float, default=0.1, help="label smoothing")
    parser.add_argument("--few", type=int, default=40, help="photos of a class up to which it gets views")
    parser.add_argument("--views", type=int, default=4, help="random views of each photo of such a class")
    parser.add_argument("--turn", action="store_true", help="views turned by quarters too")
    parser.add_argument("--seed", type=int, default=0, help="of the split of a folder, views and sampling")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the fit")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = onnx.load(args.source)
    weights = classifier(model)[1]
    x, labels = embeddings(model, args.images, args.labels, args.few, args.views, args.turn, args.seed)
    fitted = fit(x, labels, numpy_helper.to_array(weights), SAMPLING[args.sampling], args.steps, args.rate, args.smoothing, args.seed)
    weights.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(fitted), weights.name))
    onnx.save(model, args.target)
    print(args.target)


if __name__ == "__main__":
    run(main)
