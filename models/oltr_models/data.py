"""Labelled photos and the preprocessing that every bundle carries.

A photo set is a `.tsv` or `.csv` with a header and at least the columns `path`, `class`, `role` (`known` or
`unknown`) and `split` (`train`, `val`, `test`), or simply a folder with one subfolder a class (all
classes known; the split is drawn from a seed, unless folders `train`, `val` and `test` on top say it).

Preprocessing, the same on every runtime:

1. decode; apply the EXIF orientation; 8-bit RGB (an alpha channel is dropped);
2. one antialiased bilinear resize (Pillow's convolution, 8-bit in and out) to `size` x `size`:
   * `shorter-side`: of the centred square box with side `size * min(w, h) / resize_to` source
     pixels (a float box, so resize and centre crop are one operation);
   * `stretch`: of the whole photo;
   * `pad`: of the whole photo so that the longer side is `size`, centred on `pad_color`;
3. `(x - mean) / std` per channel, on the 0..255 scale, channels first.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image, ImageOps

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
RESIZE_MODES = ("shorter-side", "pad", "stretch")
SPLITS = ("train", "val", "test")
SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test"}


class DataError(ValueError):
    """The labels or photos cannot be used; the message says which and what to do."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """One labelled photo."""

    path: Path
    cls: str
    known: bool
    split: str


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """How a photo becomes the network's input: `oltr.preprocess` of the bundle."""

    size: int
    resize: str = "shorter-side"
    resize_to: int = 0
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    pad_color: tuple[int, int, int] = (127, 127, 127)

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_MODES:
            raise DataError(f"unknown resize {self.resize!r}; use one of {', '.join(RESIZE_MODES)}")
        if self.resize_to == 0:
            object.__setattr__(self, "resize_to", self.size)
        if self.resize == "shorter-side" and self.resize_to < self.size:
            raise DataError(f"resize_to {self.resize_to} is below the input size {self.size}; raise it")

    def to_json(self) -> dict:
        """The value of the metadata key `oltr.preprocess`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> Preprocess:
        """The inverse of `to_json`."""
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return cls(**fields)

    def crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The source rectangle (left, top, right, bottom) that is resized, in source pixels."""
        if self.resize != "shorter-side":
            return 0.0, 0.0, float(width), float(height)
        side = self.size * min(width, height) / self.resize_to
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side

    def resized(self, image: Image.Image) -> Image.Image:
        """The `size` x `size` 8-bit RGB image that is then normalised."""
        if self.resize != "pad":
            box = self.crop_box(*image.size)
            return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        longer = max(image.size)
        # Half up, not Python's half to even: the rule that is plain in any language.
        width, height = (max(1, math.floor(s * self.size / longer + 0.5)) for s in image.size)
        canvas = Image.new("RGB", (self.size, self.size), tuple(self.pad_color))
        inner = image.resize((width, height), Image.Resampling.BILINEAR)
        canvas.paste(inner, ((self.size - width) // 2, (self.size - height) // 2))
        return canvas

    def normalised(self, image: Image.Image) -> np.ndarray:
        """A `size` x `size` image as float32 `[3, size, size]`."""
        pixels = np.asarray(image, np.float32)
        pixels = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def __call__(self, image: Image.Image) -> np.ndarray:
        """An upright RGB photo as the network's input, float32 `[3, size, size]`."""
        return self.normalised(self.resized(image))


def load_photo(path: Path) -> Image.Image:
    """An upright 8-bit RGB photo; raises `DataError` naming the file if it cannot be decoded."""
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # convert() would saturate 16-bit grey, not scale it
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: no such photo; check --images and the path column") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable photo ({error}); remove or repair it") from error


def rows_of(file: TextIO) -> csv.DictReader:
    """The rows of a table by its header, whichever of tab, comma and semicolon is between its columns."""
    header = file.readline()
    file.seek(0)
    return csv.DictReader(file, delimiter=next((mark for mark in "\t,;" if mark in header), "\t"))


def read_labels(labels: Path, images: Path) -> list[Sample]:
    """The samples of a `.tsv` or `.csv`; `images` is the folder that its paths start from."""
    with open(labels, encoding="utf-8-sig", newline="") as file:
        rows = rows_of(file)
        missing = {"path", "class", "role", "split"} - set(rows.fieldnames or ())
        if missing:
            raise DataError(f"{labels}: no column {', '.join(sorted(missing))}; the header needs path, class, role, split")
        samples = []
        for number, row in enumerate(rows, start=2):
            if row["role"] not in ("known", "unknown") or row["split"] not in SPLITS:
                raise DataError(f"{labels}:{number}: role must be known or unknown, split train, val or test")
            samples.append(Sample(images / row["path"], row["class"], row["role"] == "known", row["split"]))
    return _checked(samples, labels)


def read_folder(images: Path, seed: int = 0, val: float = 0.15, test: float = 0.15) -> list[Sample]:
    """The samples of a folder with one subfolder a class, split at random class by class.

    Each class keeps at least one photo for training and, from three photos on, one in each split. Folders `train`, `val`
    and `test` on top of those of the classes say the split themselves.
    """
    on_top = {p.name: p for p in images.iterdir() if p.is_dir() and not p.name.startswith(".")}
    if on_top and on_top.keys() <= SPLIT_FOLDERS.keys():
        return _checked([Sample(photo, folder.name, True, SPLIT_FOLDERS[name])
                         for name, top in sorted(on_top.items())
                         for folder in sorted(p for p in top.iterdir() if p.is_dir())
                         for photo in sorted(folder.rglob("*")) if photo.suffix.lower() in IMAGE_SUFFIXES], images)
    rng = np.random.default_rng(seed)
    samples = []
    for folder in sorted(p for p in images.iterdir() if p.is_dir()):
        photos = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not photos:
            raise DataError(f"{folder}: a class without photos; add some or remove the folder")
        spare = len(photos) - 1
        n_val = min(max(1, round(val * len(photos))), spare)
        n_test = min(max(1, round(test * len(photos))), spare - n_val)
        splits = ["val"] * n_val + ["test"] * n_test + ["train"] * (len(photos) - n_val - n_test)
        for photo, split in zip(rng.permutation(photos), splits):
            samples.append(Sample(Path(photo), folder.name, True, split))
    return _checked(samples, images)


def read_samples(images: Path, labels: Path | None, seed: int = 0) -> list[Sample]:
    """`read_labels` where there is a table, else `read_folder`, of `labels` if that is a folder."""
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; --images names the folder with the photos")
    if labels and not labels.is_dir():
        return read_labels(labels, images)
    return read_folder(labels or images, seed)


def write_labels(samples: list[Sample], images: Path, path: Path) -> None:
    """Writes down which photo is in which split, as a table that `read_labels` and `oltr evaluate` read."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(("path", "class", "role", "split"))
        for s in sorted(samples, key=lambda s: str(s.path)):
            rows.writerow((s.path.relative_to(images).as_posix(), s.cls, "known" if s.known else "unknown", s.split))


def class_ids(samples: list[Sample]) -> list[str]:
    """The known classes in the order of the logits: sorted by id."""
    return sorted({s.cls for s in samples if s.known})


def train_counts(samples: list[Sample], classes: list[str]) -> list[int]:
    """Training photos of each class, in the order of `classes`."""
    counts = Counter(s.cls for s in samples if s.known and s.split == "train")
    return [counts[c] for c in classes]


def remarks(samples: list[Sample]) -> list[str]:
    """What is allowed but weakens the figures, for the one who trains."""
    result = []
    seen = {split: {s.cls for s in samples if s.known and s.split == split} for split in SPLITS}
    for split in ("val", "test"):
        absent = sorted(seen["train"] - seen[split])
        if absent:
            result.append(f"no photo in {split} of {', '.join(absent)}: figures there say nothing about them")
    both = {s.cls for s in samples if not s.known and s.split == "val"} & {s.cls for s in samples if not s.known and s.split == "test"}
    if both:
        result.append(f"unknown in val and in test: {', '.join(sorted(both))}; a threshold calibrated on the one looks better on the other than it is")
    return result


def select(samples: list[Sample], split: str, known: bool) -> list[Sample]:
    """The samples of one split and role."""
    return [s for s in samples if s.split == split and s.known == known]


def read_names(path: Path | None) -> dict[str, str]:
    """Names for people by class id, from a `.tsv` with the columns `id` and `name`."""
    if path is None:
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {row["id"]: row["name"] for row in rows_of(file)}


def read_class_table(path: Path, expected: int) -> list[dict]:
    """The value of `oltr.classes` from a `.tsv` with `id` and maybe `name` and `train_count`, in the
    order of the logits."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = rows_of(file)
        if "id" not in (rows.fieldnames or ()):
            raise DataError(f"{path}: no column id; the header needs id, and may have name and train_count")
        try:
            table = [{"id": row["id"], "name": row.get("name") or row["id"], "train_count": int(row.get("train_count") or 0)}
                     for row in rows]
        except ValueError:
            raise DataError(f"{path}: train_count has to be a whole number") from None
    if len(table) != expected:
        raise DataError(f"{path}: {len(table)} classes, but the network has {expected}")
    if len({row["id"] for row in table}) != expected:
        raise DataError(f"{path}: an id stands twice")
    return table


def _checked(samples: list[Sample], source: Path) -> list[Sample]:
    known = class_ids(samples)
    if len(known) < 2:
        raise DataError(f"{source}: {len(known)} known class(es); at least two are needed")
    untrained = [c for c, n in zip(known, train_counts(samples, known)) if n == 0]
    if untrained:
        raise DataError(f"{source}: known classes without a training photo: {', '.join(untrained)}; "
                        "move photos to the split train or give them the role unknown")
    both = {s.cls for s in samples if not s.known} & set(known)
    if both:
        raise DataError(f"{source}: classes that are both known and unknown: {', '.join(sorted(both))}")
    if any(not s.known and s.split == "train" for s in samples):
        raise DataError(f"{source}: unknown photos in the split train; nothing may be trained on them")
    return samples
