"""`python -m oltr_models.nothing`: teaches a bundle what pictures of nothing look like, so that they lie farther from all it knows.

Foreign pictures that a camera can show, such as outlines on a bare ground, share something with drawn pictures: shapes,
lines, stripes, blots and noise. A line is fitted between the features of the training photos and those of pictures drawn at
random, and the graph's `distances` become

    d_k exp(max(0, strength (margin - w.v - b)))

w.v + b is near 1 for photos and near -1 for drawn pictures. What lies beyond the margin on the side of the photos keeps its
distances bit for bit. No foreign photo is needed, and the constants are the same for all sets (docs/why/open-world.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image, ImageDraw, ImageFilter

from .bundle import Runner
from .cli import prog, run
from .data import load_photo, read_samples, select

PREFIX = "oltr.nothing."
PICTURES = 40  # of each kind
STRENGTH = 0.4
MARGIN = 0.5  # of the line, between the photos at 1 and the drawn pictures at -1
RIDGE = 0.3  # on the weights of the line, for whitened features of length 10

Colour = tuple[int, int, int]


class Artist:
    """Draws pictures at random; equal seeds draw equal pictures."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.kinds = (self.noise, self.grey_noise, self.polygons, self.lines, self.ellipses, self.blots, self.stripes, self.dots,
                      self.gradient, self.hairs)

    def colour(self, white: float) -> Colour:
        """White with this probability, else a grey as often as any colour."""
        if self.rng.random() < white:
            return (255, 255, 255)
        if self.rng.random() < 0.5:
            return (int(self.rng.integers(0, 256)),) * 3
        return tuple(int(x) for x in self.rng.integers(0, 256, 3))

    def canvas(self) -> tuple[Image.Image, ImageDraw.ImageDraw, int, int]:
        """An empty picture of any size."""
        width, height = (int(x) for x in self.rng.integers(60, 320, 2))
        image = Image.new("RGB", (width, height), self.colour(0.3))
        return image, ImageDraw.Draw(image), width, height

    def points(self, width: int, height: int, count: int, spread: float) -> list[tuple[float, float]]:
        """Points in the middle part of a picture."""
        return [tuple(np.array([width, height]) * (0.5 + spread * (self.rng.random(2) - 0.5))) for _ in range(count)]

    def box(self, width: int, height: int) -> list[float]:
        """A rectangle in the middle part of a picture."""
        (a, b), (c, d) = self.points(width, height, 2, 0.9)
        return [min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1]

    def spectrum(self, power: float, channels: int) -> Image.Image:
        """Noise whose amplitude falls with this power of the frequency."""
        width, height = (int(x) for x in self.rng.integers(60, 320, 2))
        square = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.fftfreq(width)[None] ** 2
        square[0, 0] = 1
        planes = [np.fft.ifft2(np.fft.fft2(self.rng.standard_normal((height, width))) / square ** (power / 2)).real for _ in range(channels)]
        noise = np.stack(planes, -1)
        noise = np.clip(127 + 60 * (noise - noise.mean()) / noise.std(), 0, 255).astype(np.uint8)
        return Image.fromarray(np.broadcast_to(noise, (height, width, 3)).copy())

    def noise(self) -> Image.Image:
        return self.spectrum(self.rng.uniform(0, 2.2), 3)

    def grey_noise(self) -> Image.Image:
        return self.spectrum(self.rng.uniform(1, 2.5), 1)

    def polygons(self) -> Image.Image:
        image, draw, width, height = self.canvas()
        for _ in range(self.rng.integers(1, 5)):
            draw.polygon(self.points(width, height, int(self.rng.integers(3, 9)), 0.9), fill=self.colour(0))
        return image

    def lines(self) -> Image.Image:
        image, draw, width, height = self.canvas()
        for _ in range(self.rng.integers(1, 12)):
            draw.line(self.points(width, height, int(self.rng.integers(2, 7)), 1), fill=self.colour(0), width=int(self.rng.integers(1, 6)))
        return image

    def ellipses(self) -> Image.Image:
        image, draw, width, height = self.canvas()
        for _ in range(self.rng.integers(1, 6)):
            filled = self.colour(0) if self.rng.random() < 0.4 else None
            draw.ellipse(self.box(width, height), fill=filled, outline=self.colour(0), width=int(self.rng.integers(1, 8)))
        return image

    def blots(self) -> Image.Image:
        image, draw, width, height = self.canvas()
        for _ in range(self.rng.integers(1, 6)):
            (x, y), radius, flat = self.points(width, height, 1, 0.6)[0], self.rng.uniform(0.05, 0.35) * min(width, height), self.rng.uniform(0.3, 1)
            draw.ellipse([x - radius, y - radius * flat, x + radius, y + radius * flat], fill=self.colour(0))
        return image.filter(ImageFilter.GaussianBlur(self.rng.uniform(1, 8)))

    def mixed(self, share: np.ndarray) -> Image.Image:
        """Two colours, by the share of the second at each place."""
        a, b = np.array(self.colour(0.3)), np.array(self.colour(0))
        return Image.fromarray((a + (b - a) * share[..., None]).astype(np.uint8))

    def stripes(self) -> Image.Image:
        width, height = (int(x) for x in self.rng.integers(60, 320, 2))
        y, x = np.mgrid[:height, :width]
        angle = self.rng.uniform(0, np.pi)
        waves = np.sin((x * np.cos(angle) + y * np.sin(angle)) * self.rng.uniform(0.05, 0.8))
        if self.rng.random() < 0.5:  # squares
            waves = np.sign(waves * np.sin((y * np.cos(angle) - x * np.sin(angle)) * self.rng.uniform(0.05, 0.8)))
        return self.mixed((waves + 1) / 2)

    def dots(self) -> Image.Image:
        image, draw, width, height = self.canvas()
        for x, y in self.points(width, height, int(self.rng.integers(3, 60)), 1):
            radius = self.rng.uniform(0.5, 5)
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=self.colour(0))
        return image

    def gradient(self) -> Image.Image:
        width, height = (int(x) for x in self.rng.integers(60, 320, 2))
        y, x = np.mgrid[:height, :width]
        angle = self.rng.uniform(0, 2 * np.pi)
        slope = x * np.cos(angle) / width + y * np.sin(angle) / height
        image = self.mixed((slope - slope.min()) / (np.ptp(slope) + 1e-9))
        if self.rng.random() < 0.5:
            grain = self.rng.normal(0, self.rng.uniform(2, 30), (height, width, 1))
            image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
        return image

    def hairs(self) -> Image.Image:
        """A thick bent line with thin ones that leave it."""
        image, draw, width, height = self.canvas()
        body = self.points(width, height, int(self.rng.integers(3, 8)), 0.8)
        draw.line(body, fill=self.colour(0), width=int(self.rng.integers(4, 24)), joint="curve")
        for _ in range(self.rng.integers(3, 25)):
            x, y = body[self.rng.integers(len(body))]
            draw.line([(x, y), (x + self.rng.normal(0, width / 6), y + self.rng.normal(0, height / 6))], fill=self.colour(0), width=1)
        return image.filter(ImageFilter.GaussianBlur(self.rng.uniform(0.3, 2)))


def pictures(seed: int = 0) -> list[Image.Image]:
    """PICTURES of each kind."""
    artist = Artist(seed)
    return [kind() for kind in artist.kinds for _ in range(PICTURES)]


def fit(known: np.ndarray, truth: np.ndarray, drawn: np.ndarray, whitening: np.ndarray, strength: float = STRENGTH,
        margin: float = MARGIN) -> tuple[np.ndarray, float]:
    """Weights `[D]` and a constant so that max(0, weights.v + constant) is what is added to ln d: from the features of
    training photos `[N, D]`, their classes, the features of drawn pictures, and the whitening of the metric."""
    of_class = 1 / np.bincount(truth)[truth]  # so that common classes do not decide alone
    share = np.concatenate([of_class / of_class.sum(), np.full(len(drawn), 1 / len(drawn))])
    value = np.concatenate([np.ones(len(known)), -np.ones(len(drawn))])
    rows = np.concatenate([known, drawn]).astype(np.float64) @ whitening
    rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
    penalty = RIDGE * np.eye(rows.shape[1])
    penalty[-1, -1] = 0
    line = np.linalg.solve((rows * share[:, None]).T @ rows + penalty, (rows * share[:, None]).T @ value)
    return (-strength * whitening @ line[:-1]).astype(np.float32), float(strength * (margin - line[-1]))


def whitening(model: onnx.ModelProto) -> np.ndarray:
    """The matrix that `metric` put into the bundle."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    steps, scale = constants.get("oltr.metric.steps"), constants.get("oltr.metric.scale")
    if steps is None or scale is None:
        raise ValueError("the bundle has no metric yet; give it one with `python -m oltr_models.metric`")
    return steps.astype(np.float64) * scale


def remove(model: onnx.ModelProto) -> None:
    """Takes the factor out of a bundle, if it has one: its distances are those of before again."""
    graph = model.graph
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if any(name.startswith(PREFIX) for name in node.output) and PREFIX + "before" not in node.output or PREFIX + "factor" in node.input:
            del graph.node[index]
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name.startswith(PREFIX):
            del graph.initializer[index]
    _rename(model, PREFIX + "before", "distances")


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def install(model: onnx.ModelProto, weights: np.ndarray, constant: float) -> None:
    """Puts the factor behind the graph's `distances`; one that was put there before is replaced."""
    graph = model.graph
    remove(model)
    _rename(model, "distances", PREFIX + "before")

    def constant_of(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, PREFIX + name))
        return PREFIX + name

    def node(op: str, inputs: list[str], output: str) -> str:
        name = output if output == "distances" else PREFIX + output
        graph.node.append(helper.make_node(op, inputs, [name], name=PREFIX + output))
        return name

    product = node("MatMul", ["features", constant_of("weights", weights[:, None].astype(np.float32))], "product")
    beyond = node("Add", [product, constant_of("constant", np.array([[constant]], np.float32))], "beyond")
    factor = node("Exp", [node("Relu", [beyond], "excess")], "factor")
    node("Mul", [PREFIX + "before", factor], "distances")
    onnx.checker.check_model(model)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("nothing"), description="Teach a bundle what pictures of nothing look like.",
        epilog="example: python -m oltr_models.nothing fish.onnx fish.onnx --images photos --labels fish.tsv")
    parser.add_argument("bundle", type=Path, help="bundle with a metric, as `python -m oltr_models.metric` or `oltr refit` writes it")
    parser.add_argument("target", type=Path, help="bundle to write; calibrate it anew, with `oltr calibrate`")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help=".tsv with path, class, role, split; else one subfolder a class")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="of the factor (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=MARGIN, help="between photos at 1 and drawn pictures at -1 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn pictures (default: %(default)s)")
    args = parser.parse_args()
    runner, model = Runner(args.bundle), onnx.load(args.bundle)
    matrix = whitening(model)
    ids = [c["id"] for c in runner.classes]
    samples = select(read_samples(args.images, args.labels), "train", True)
    known = np.concatenate([runner(runner.preprocess(load_photo(s.path)))["features"] for s in samples])
    drawn = np.concatenate([runner(runner.preprocess(p))["features"] for p in pictures(args.seed)])
    weights, constant = fit(known, np.array([ids.index(s.cls) for s in samples]), drawn, matrix, args.strength, args.margin)
    install(model, weights, constant)
    onnx.save(model, args.target)
    touched = float((known @ weights + constant > 0).mean()), float((drawn @ weights + constant > 0).mean())
    print(f"{args.target}: moves {touched[0]:.1%} of the training photos and {touched[1]:.1%} of the drawn pictures; calibrate it: oltr calibrate --split val")


if __name__ == "__main__":
    run(main)
