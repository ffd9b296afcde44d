"""Synthetic photo sets for the tests: colours stand for classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (60, 180, 60), "grey": (120, 120, 120), "red": (200, 50, 40)}


def write_photo(path: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (60, 40)) -> None:
    """A noisy photo of one colour."""
    noise = np.random.default_rng(seed).integers(-30, 30, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)


def write_set(folder: Path, counts: dict[str, int]) -> None:
    """One subfolder a class with that many photos."""
    for cls, count in counts.items():
        for index in range(count):
            write_photo(folder / cls / f"{index}.png", COLOURS[cls], index)
