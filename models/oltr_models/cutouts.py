"""`python -m oltr_models.cutouts`: cuts the subjects of training photos from their grounds, for `train --foreign-grounds`.

OpenCV's GrabCut, which takes colours at the photo's border for ground and those at its middle for the subject. Photos in which it
finds no subject that stands free of the border get no mask. Masks from elsewhere serve as well: a grey PNG of the photo's size,
white where the subject is, named like the photo with `.mask.png` behind.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from .cli import prog, run
from .data import DataError, load_photo, read_samples, select
from .grounds import mask_of

BORDER = 1 / 12  # of a side: ground for certain
MIDDLE = 0.08  # half axes of the ellipse that is subject for certain, and of the one that probably is, in sides
PROBABLE = (0.32, 0.28)
ROUNDS = 4
AREA = (0.06, 0.5)  # share of the photo that a subject takes
SOFT = 1.2  # pixels by which the edge is blurred


def cut_out(photo: np.ndarray) -> np.ndarray | None:
    """The subject of an RGB photo as a mask of bytes; None where none stands free."""
    import cv2

    height, width = photo.shape[:2]
    dy, dx = max(2, round(height * BORDER)), max(2, round(width * BORDER))
    if height <= 4 * dy or width <= 4 * dx:
        return None
    marks = np.full((height, width), cv2.GC_BGD, np.uint8)
    marks[dy:-dy, dx:-dx] = cv2.GC_PR_BGD
    middle = (width // 2, height // 2)
    cv2.ellipse(marks, middle, (round(width * PROBABLE[0]), round(height * PROBABLE[1])), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(marks, middle, (round(width * MIDDLE), round(height * MIDDLE)), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.setRNGSeed(1)
    cv2.grabCut(photo, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    subject = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.uint8)
    count, pieces, boxes, _ = cv2.connectedComponentsWithStats(subject)
    if count < 2:
        return None
    largest = 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())
    x, y, w, h, area = boxes[largest]
    free = x > dx and y > dy and x + w < width - dx and y + h < height - dy
    if not free or not AREA[0] <= area / (height * width) <= AREA[1]:
        return None
    mask = cv2.morphologyEx((pieces == largest).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return cv2.GaussianBlur(cv2.dilate(mask, np.ones((3, 3), np.uint8)) * 255, (0, 0), SOFT)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog=prog("cutouts"), description="Cut the subjects of training photos from their grounds. Needs OpenCV: "
                                          "pip install opencv-python-headless.",
        epilog="example: python -m oltr_models.cutouts --images photos --labels fish.tsv work/cutouts")
    parser.add_argument("target", type=Path, help="folder for the masks")
    parser.add_argument("--images", type=Path, required=True, help="folder with the photos")
    parser.add_argument("--labels", type=Path, help="labels file; else one subfolder a class in --images")
    args = parser.parse_args()
    try:
        import cv2  # noqa: F401
    except ImportError:
        raise DataError("cutouts needs OpenCV: pip install opencv-python-headless") from None
    samples, found = select(read_samples(args.images, args.labels), "train", True), 0
    for sample in tqdm(samples, desc="cut", unit="photo"):
        mask = cut_out(np.asarray(load_photo(sample.path)))
        if mask is None:
            continue
        target = mask_of(args.target, sample.path, args.images)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
        found += 1
    print(f"{args.target}: {found} masks of {len(samples)} training photos")


if __name__ == "__main__":
    run(main)
