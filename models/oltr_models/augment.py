"""Random views of a training photo, each drawn from a seed so that a run can be repeated."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance

from .data import Preprocess

AREA = (0.45, 1.0)  # share of the photo that a view shows
ASPECT = (0.75, 1.33)  # stretch of a view's shape
JITTER = 0.3  # brightness, contrast and saturation change by up to this share
GREY = 0.1  # chance of a grey view


def random_view(image: Image.Image, preprocess: Preprocess, rng: np.random.Generator, turn: bool = False) -> np.ndarray:
    """A random crop, flip and colour of an upright photo as the network's input `[3, S, S]`.

    `turn` also turns it by quarters, for subjects that have no upright side.
    """
    box = _random_box(*image.size, rng)
    if preprocess.resize == "pad":  # the crop keeps its shape, as the whole photo will
        left, top, right, bottom = (round(edge) for edge in box)
        image = preprocess.resized(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
    else:
        image = image.resize((preprocess.size,) * 2, Image.Resampling.BILINEAR, box=box)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if turn:
        for _ in range(rng.integers(4)):
            image = image.transpose(Image.Transpose.ROTATE_90)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1 - JITTER, 1 + JITTER))
    if rng.random() < GREY:
        image = image.convert("L").convert("RGB")
    return preprocess.normalised(image)


def _random_box(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A box (left, top, right, bottom) of random area and shape within the photo."""
    share = rng.uniform(*AREA)
    aspect = np.exp(rng.uniform(*np.log(ASPECT)))
    w = min(np.sqrt(share * aspect), 1.0) * width
    h = min(np.sqrt(share / aspect), 1.0) * height
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return left, top, left + w, top + h
