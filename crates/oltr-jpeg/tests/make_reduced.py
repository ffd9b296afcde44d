"""Makes the pictures in reduced/: JPEGs of all samplings, and what libjpeg-turbo makes of them at each scale.

Needs Pillow, whose draft mode reduces while it decodes. For each NAME.jpg there is NAME.1.ppm, and
NAME.8.ppm where that is the mean of each block: libjpeg-turbo's other sizes take in frequencies that oltr leaves out.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 53, 43


def picture() -> Image.Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    noise = np.random.default_rng(7).normal(0, 20, (HEIGHT, WIDTH, 3))
    waves = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)], axis=-1) * 90 + 128
    return Image.fromarray(np.clip(waves + noise, 0, 255).astype(np.uint8))


def main() -> None:
    folder = Path(__file__).parent / "reduced"
    folder.mkdir(exist_ok=True)
    image = picture()
    variants = {
        "444": (image, {"subsampling": 0}),
        "422": (image, {"subsampling": 1}),
        "420": (image, {"subsampling": 2}),
        "progressive": (image, {"subsampling": 2, "progressive": True}),
        "gray": (image.convert("L"), {}),
        "restart": (image, {"subsampling": 2, "restart_marker_blocks": 1}),
    }
    for name, (picture_, options) in variants.items():
        buffer = io.BytesIO()
        picture_.save(buffer, "JPEG", quality=85, **options)
        (folder / f"{name}.jpg").write_bytes(buffer.getvalue())
        for factor in (1, 8) if name in ("gray", "422", "444") else (1,):
            reduced = Image.open(io.BytesIO(buffer.getvalue()))
            size = (-(-WIDTH // factor), -(-HEIGHT // factor))
            if factor > 1:
                reduced.draft(reduced.mode, (WIDTH // factor, HEIGHT // factor))
            assert reduced.size == size, (reduced.size, size)
            reduced.convert("RGB").save(folder / f"{name}.{factor}.ppm")


if __name__ == "__main__":
    main()
