#!/usr/bin/env python3
"""Makes the two sample photos of examples/photos that no camera took: moon.jpg and motorbike.jpg.

    python make_samples.py moon ../../examples/photos/moon.jpg
    python make_samples.py motorbike motorcycle_jarno_vasama_.png ../../examples/photos/motorbike.jpg

The moon is computed here. The motorbike is a drawing in the public domain by Jarno Vasama from the Open Clip Art
Library (Debian package openclipart-png, transportation/motorcycle_jarno_vasama_.png). Needs NumPy and Pillow.
"""

import sys

import numpy as np
from PIL import Image, ImageFilter

SIDE = 512
QUALITY = 90


def moon(target: str) -> None:
    """A plain with craters in low sunlight; the same picture every time."""
    random = np.random.default_rng(1969)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    height = np.zeros((SIDE, SIDE))
    # Few large craters and many small ones, the large ones first, in the flat light of a far-off lens.
    radii = np.sort(3.0 * (1 - random.random(500)) ** -0.5)[::-1].clip(3, 12)
    for radius in radii:
        cx, cy = random.random(2) * (SIDE + 2 * radius) - radius
        r = np.hypot(x - cx, y - cy) / radius
        bowl = np.where(r < 1, (r**2 - 1) * 0.45, 0)
        rim = 0.12 * np.exp(-(((r - 1) / 0.22) ** 2))
        height += radius * (bowl + rim)
    dust = random.standard_normal((SIDE, SIDE))
    dy, dx = np.gradient(height + 0.25 * dust)
    sun = np.array([-0.8, -0.35, 0.55])
    shade = (-dx * sun[0] - dy * sun[1] + sun[2]) / np.sqrt(dx**2 + dy**2 + 1)
    grey = (80 + 70 * shade.clip(0, 1.2) / 1.2).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(grey).filter(ImageFilter.GaussianBlur(1.2))
    picture.convert("RGB").save(target, quality=QUALITY)


def motorbike(drawing: str, target: str) -> None:
    """The drawing, cut out and mirrored, before a grey ground, as soft as a lens would make it."""
    bike = Image.open(drawing).convert("RGBA")
    bike = bike.crop(bike.getchannel("A").getbbox()).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    margin = max(bike.size) // 5
    picture = Image.new("RGBA", (bike.width + 2 * margin, bike.height + 2 * margin), "#a9b4bd")
    picture.alpha_composite(bike, (margin, margin))
    picture = picture.convert("RGB").resize((640, picture.height * 640 // picture.width), Image.Resampling.BICUBIC)
    picture.filter(ImageFilter.GaussianBlur(1.5)).save(target, quality=QUALITY)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["moon", target]:
            moon(target)
        case ["motorbike", drawing, target]:
            motorbike(drawing, target)
        case _:
            sys.exit(__doc__)
