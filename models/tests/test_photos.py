"""The program's photos against Pillow's, over generated variants of every format.

Right is what `ImageOps.exif_transpose(image).convert("RGB")` gives: to the last bit for lossless formats and for JPEG,
within WORST and MEAN for lossy WebP. A variant that Pillow reads may be refused where `Variant.refusal` says why. What Pillow
refuses may be refused or read; where there is a `reference`, read as that. A variant with `must_refuse` lacks data that Pillow would
replace by gray, or is of a kind that is not read; a picture of it is an error.

`DECODE_PHOTO` names the program examples/decode_photo; without it that of target/release or target/debug is taken.
"""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
import unittest
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .photo_formats import formats
from .photo_variants import (
    Variant,
    jpeg_by_pillow,
    jpeg_colours,
    jpeg_damage,
    jpeg_of_two,
    jpeg_scans,
    jpeg_tables,
    orientations,
)

TARGET = Path(__file__).resolve().parents[2] / "target"
WORST, MEAN = 4, 0.6
CHUNK = 200
# Its decoder is libjpeg-turbo's to the bit.
JPEG = b"\xff\xd8"
DIGITS = str.maketrans("", "", "0123456789")
# Earlier releases of Pillow know fewer ways to say which way up a photo is.
ORIENTATIONS_SINCE = 13


def program() -> Path | None:
    places = [
        os.environ.get("DECODE_PHOTO"),
        TARGET / "release/examples/decode_photo",
        TARGET / "debug/examples/decode_photo",
    ]
    return next((Path(p) for p in places if p and Path(p).is_file()), None)


def by_pillow(data: bytes) -> np.ndarray | None:
    """The pixels that Pillow gives; None where it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    except Exception:  # noqa: BLE001 (whatever Pillow raises, it gives no picture)
        return None


def by_oltr(variants: list[Variant]) -> list[np.ndarray | str]:
    """For each variant its pixels or why there are none."""
    results: list[np.ndarray | str] = []
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(variants), CHUNK):
            paths = []
            for number, variant in enumerate(variants[first : first + CHUNK]):
                paths.append(Path(folder) / str(number))
                paths[-1].write_bytes(variant.data)
            out = io.BytesIO(subprocess.run([program(), *paths], stdout=subprocess.PIPE, check=True).stdout)
            for _ in paths:
                line = out.readline().decode()
                if line != "P6\n":
                    results.append(line.strip())
                    continue
                width, height = map(int, out.readline().split())
                out.readline()
                results.append(np.frombuffer(out.read(width * height * 3), np.uint8).reshape(height, width, 3))
    return results


def compare(variant: Variant, given: np.ndarray | str, right: np.ndarray | None) -> tuple[str, str]:
    """A verdict of one word, and what there is to say of it."""
    if isinstance(given, str):
        if right is None and variant.reference is None:
            return "refused as by Pillow", given
        refused = variant.refusal is not None and variant.refusal in given
        return ("refused", given) if refused else ("different", f"refused: {given}")
    if variant.must_refuse:
        return "different", "read, although it must be refused"
    if right is None:
        return "read, not by Pillow", ""
    if given.shape != right.shape:
        return "different", f"{given.shape[1]}x{given.shape[0]}, not {right.shape[1]}x{right.shape[0]}"
    off = np.abs(given.astype(int) - right.astype(int))
    lossy = variant.lossy and not variant.data.startswith(JPEG)
    worst, mean = (WORST, MEAN) if lossy else (1, 1) if variant.level else (0, 0)
    if off.max() > worst or off.mean() > mean:
        return "different", f"by up to {off.max()}, {off.mean():.3f} in the mean"
    return "equal", ""


class PhotosTest(unittest.TestCase):
    @unittest.skipIf(program() is None, "examples/decode_photo is not built")
    def test_photos_are_what_pillow_makes_of_them(self):
        variants = [
            v
            for part in (
                jpeg_scans,
                jpeg_colours,
                jpeg_tables,
                jpeg_by_pillow,
                jpeg_of_two,
                jpeg_damage,
                orientations,
                formats,
            )
            for v in part()
        ]
        self.assertEqual(len(variants), len({v.name for v in variants}))
        counts, reasons, complaints = Counter(), Counter(), []
        old = int(Image.__version__.split(".")[0]) < ORIENTATIONS_SINCE
        for variant, given in zip(variants, by_oltr(variants), strict=True):
            if old and variant.name.startswith("orientation/"):
                counts["not compared: this Pillow is too old"] += 1
                continue
            right = by_pillow(variant.data)
            if right is None and variant.reference is not None:
                right = by_pillow(variant.reference)
            verdict, message = compare(variant, given, right)
            counts[verdict] += 1
            if verdict == "refused":
                reasons[message.split(": ", 2)[-1].translate(DIGITS)] += 1
            if os.environ.get("VERBOSE") == verdict:
                print(variant.name, message)
            if verdict == "different":
                complaints.append(f"{variant.name}: {message}")
        print(
            f"\n{len(variants)} photos against Pillow {Image.__version__}: "
            + ", ".join(f"{n} {k}" for k, n in counts.most_common())
            + ("" if counts["different"] else ", 0 different")
        )
        print(
            "Refused, of what Pillow reads or fills up:"
            + "".join(f"\n{n:6} {reason}" for reason, n in reasons.most_common())
        )
        self.assertEqual(complaints, [], "\n".join(complaints))


if __name__ == "__main__":
    unittest.main()
