"""Makes the expected pixels beside this file with Pillow: `python make_goldens.py`.

Every case is a source picture that the test draws by the same rule, a way of resizing, and what Pillow makes of it:
the raw RGB bytes of the square, in `NAME.rgb`. The steps are those of the training code, written out again.
"""

import json
import math
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

FOLDER = Path(__file__).parent

# name, mode, size, resize_to, (width, height) of the source, channels
CASES = [
    ("down", "shorter-side", 32, None, (123, 77), 3),
    ("down-crop", "shorter-side", 28, 32, (97, 130), 3),
    ("down-much", "shorter-side", 24, 27, (640, 360), 3),
    ("up", "shorter-side", 48, None, (13, 17), 3),
    ("up-crop", "shorter-side", 40, 46, (31, 19), 3),
    ("same", "shorter-side", 32, None, (32, 32), 3),
    ("same-crop", "shorter-side", 20, 32, (41, 32), 3),
    ("odd", "shorter-side", 31, 37, (63, 65), 3),
    ("pixel", "shorter-side", 16, 18, (1, 1), 3),
    ("line", "shorter-side", 16, None, (200, 1), 3),
    ("stretch-down", "stretch", 32, None, (150, 61), 3),
    ("stretch-up", "stretch", 40, None, (9, 33), 3),
    ("stretch-line", "stretch", 16, None, (1, 300), 3),
    ("pad-down", "pad", 32, None, (100, 55), 3),
    ("pad-up", "pad", 33, None, (7, 16), 3),
    ("pad-half", "pad", 10, None, (20, 9), 3),
    ("pad-line", "pad", 24, None, (1, 500), 3),
    ("gray-down", "shorter-side", 32, 36, (75, 111), 1),
    ("gray-pad", "pad", 32, None, (50, 90), 1),
]
PAD_COLOR = (12, 127, 250)


def source(width: int, height: int, channels: int) -> np.ndarray:
    """Noise, edges and full range: the upper bits of a linear congruential sequence, every third row black or white."""
    state = width * 65537 + height * 257 + channels
    values = np.empty(width * height * channels, np.uint8)
    for i in range(values.size):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = state >> 24
    values = values.reshape(height, width, channels)
    values[::3] = np.where(values[::3] < 128, 0, 255)
    return values


def expected(image: Image.Image, mode: str, size: int, resize_to: int) -> Image.Image:
    width, height = image.size
    if mode == "stretch":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    if mode == "shorter-side":
        side = size * min(width, height) / resize_to
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    longer = max(width, height)
    width, height = (max(1, math.floor(s * size / longer + 0.5)) for s in image.size)
    square = Image.new("RGB", (size, size), PAD_COLOR)
    square.paste(image.resize((width, height), Image.Resampling.BILINEAR), ((size - width) // 2, (size - height) // 2))
    return square


def main() -> None:
    cases = []
    for name, mode, size, resize_to, (width, height), channels in CASES:
        pixels = source(width, height, channels)
        image = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]).convert("RGB")
        (FOLDER / f"{name}.rgb").write_bytes(expected(image, mode, size, resize_to or size).tobytes())
        cases.append(
            {
                "name": name,
                "preprocess": {
                    "size": size,
                    "resize": mode,
                    **({"resize_to": resize_to} if resize_to else {}),
                    "mean": [127, 127, 127],
                    "std": [128, 128, 128],
                    "pad_color": list(PAD_COLOR),
                },
                "width": width,
                "height": height,
                "channels": channels,
            }
        )
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    (FOLDER / "cases.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases by Pillow {PIL.__version__}")


if __name__ == "__main__":
    main()
