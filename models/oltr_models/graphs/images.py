"""Seeded random images that look a little like photos: smooth shading, a few shapes, grain."""

import numpy as np

# ImageNet statistics on the 0..255 scale, RGB.
MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)


def photo(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One uint8 image `[height, width, 3]`."""
    image = np.zeros((height, width, 3))
    # Octaves of interpolated noise: coarse shading dominates, as in photos.
    for cells, strength in ((2, 70.0), (4, 40.0), (9, 20.0)):
        grid = rng.normal(size=(cells + 1, cells + 1, 3))
        image += strength * _enlarge(grid, height, width)
    y, x = np.mgrid[0:height, 0:width]
    y, x = y / height, x / width
    for _ in range(4):
        centre_y, centre_x = rng.uniform(0.1, 0.9, size=2)
        radius_y, radius_x = rng.uniform(0.08, 0.35, size=2)
        inside = ((y - centre_y) / radius_y) ** 2 + ((x - centre_x) / radius_x) ** 2 < 1.0
        image[inside] = 0.5 * image[inside] + rng.normal(0.0, 80.0, size=3)
    image += rng.normal(0.0, 4.0, size=image.shape)
    image = image * rng.uniform(0.5, 1.2) + rng.uniform(50.0, 200.0, size=3)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def retake(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The same scene once more: moved a little, brighter or darker, with new grain."""
    reach = max(1, min(image.shape[:2]) // 100)
    moved = np.roll(image, tuple(rng.integers(-reach, reach + 1, size=2)), axis=(0, 1)).astype(np.float64)
    moved = moved * rng.uniform(0.92, 1.08) + rng.normal(0.0, 4.0, size=image.shape)
    return np.clip(np.round(moved), 0, 255).astype(np.uint8)


def tensor(image: np.ndarray) -> np.ndarray:
    """The network's input: normalised float32 `[1, 3, height, width]`."""
    normalised = (image.astype(np.float32) - MEAN) / STD
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def _enlarge(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Interpolate a coarse grid `[n, n, c]` smoothly to `[height, width, c]`."""
    return np.einsum("yi,xj,ijc->yxc", _smooth_weights(height, len(grid)), _smooth_weights(width, len(grid)), grid)


def _smooth_weights(size: int, knots: int) -> np.ndarray:
    """Cosine interpolation from `knots` grid points to `size` pixels, `[size, knots]`."""
    position = np.linspace(0.0, knots - 1.0, size)
    distance = np.minimum(np.abs(position[:, None] - np.arange(knots)[None]), 1.0)
    return 0.5 * (1.0 + np.cos(np.pi * distance))
