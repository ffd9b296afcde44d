"""Subjects on the grounds of other photos.

A camera that finds what moves cuts it from a ground that no training photo shows, and a network that was trained on
photos of one ground takes part of it for the subject. Views in which a subject lies on another photo's ground take that
away. `cutouts` says what the subject of a photo is: `Grounds` reads its masks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .data import DataError, Sample, load_photo

SUFFIX = ".mask.png"
PATCH = (0.3, 0.5)  # of a photo's sides: a corner of it is the ground of another one
FREE = 32  # of 255: as much of a subject may be in that corner, at its blurred edge


def mask_of(cutouts: Path, photo: Path, images: Path) -> Path:
    """Where the mask of a photo lies: as the photo lies in `images`."""
    relative = photo.relative_to(images)
    return cutouts / relative.with_name(relative.name + SUFFIX)


class Grounds:
    """The masks of the photos that have one, and the chance that a view has a foreign ground."""

    def __init__(self, cutouts: Path | None, images: Path, samples: list[Sample], share: float):
        if cutouts is None:
            raise DataError("--foreign-grounds needs --cutouts, a folder that `oltr-models cutouts` makes")
        if not 0 <= share <= 1:
            raise DataError(f"--foreign-grounds {share}: must be from 0 to 1")
        self.cutouts, self.images, self.share = cutouts, images, share
        self.paths = [s.path for s in samples if mask_of(cutouts, s.path, images).is_file()]
        self.known = set(self.paths)
        if not self.paths:
            raise DataError(f"{cutouts}: has no mask of any training photo; `oltr-models cutouts` makes them")

    def key(self) -> dict:
        """What a cache of views depends on."""
        return {"cutouts": str(self.cutouts), "photos": len(self.paths), "share": self.share}

    def view(self, photo: Image.Image, path: Path, rng: np.random.Generator) -> Image.Image:
        """The photo at `path`, its subject perhaps on the ground of another photo."""
        if rng.random() >= self.share or path not in self.known:
            return photo
        mask = self._mask(path)
        if mask.size != photo.size:
            raise DataError(f"{mask_of(self.cutouts, path, self.images)}: is {mask.size}, the photo {photo.size}; make it anew")
        return Image.composite(photo, self._ground(photo.size, rng), mask)

    def _mask(self, path: Path) -> Image.Image:
        with Image.open(mask_of(self.cutouts, path, self.images)) as file:
            return file.convert("L")

    def _ground(self, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
        """A corner of a random photo, where its subject is not."""
        path = self.paths[rng.integers(len(self.paths))]
        other, subject = load_photo(path), self._mask(path)
        for most in (PATCH[1], PATCH[1], PATCH[0]):
            width, height = (max(1, round(side * rng.uniform(PATCH[0], most))) for side in other.size)
            left, top = ((0, side - part)[rng.integers(2)] for side, part in zip(other.size, (width, height)))
            box = (left, top, left + width, top + height)
            if subject.crop(box).getextrema()[1] <= FREE:
                break
        patch = other.crop(box)
        if rng.random() < 0.5:
            patch = patch.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return patch.resize(size, Image.Resampling.BICUBIC)
