"""Subjects on the grounds of other photos."""

from __future__ import annotations

import importlib.util
import tempfile
import unittest
from pathlib import Path

import numpy as np
from PIL import Image

from oltr_models.data import DataError, Sample
from oltr_models.grounds import Grounds, mask_of

SIDE = 60


def photo(ground: int, subject: int) -> np.ndarray:
    """A square of one colour in the middle of another, with a little noise."""
    pixels = np.full((SIDE, SIDE, 3), ground, np.int16)
    pixels[20:40, 20:40] = subject
    noise = np.random.default_rng(ground).integers(-3, 4, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


class GroundsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.images, self.cutouts = Path(folder.name) / "images", Path(folder.name) / "cutouts"
        self.samples = []
        for name, ground, subject in (("a/1.png", 20, 200), ("a/2.png", 120, 250), ("b/1.png", 70, 10)):
            path = self.images / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo(ground, subject)).save(path)
            self.samples.append(Sample(path, name[0], True, "train"))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[20:40, 20:40] = 255
        for sample in self.samples[:2]:
            target = mask_of(self.cutouts, sample.path, self.images)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(target)

    def views(self, share: float, number: int, count: int = 40) -> list[np.ndarray]:
        grounds = Grounds(self.cutouts, self.images, self.samples, share)
        path = self.samples[number].path
        with Image.open(path) as image:
            return [np.asarray(grounds.view(image.copy(), path, np.random.default_rng(i))) for i in range(count)]

    def test_the_subject_stays_and_the_ground_is_that_of_a_photo(self):
        own = photo(20, 200)
        seen = set()
        for view in self.views(1, 0):
            np.testing.assert_array_equal(view[20:40, 20:40], own[20:40, 20:40])
            seen.add(round(float(view[:15].mean()) / 10) * 10)
        self.assertEqual(seen, {20, 120})  # never the subject of the other, never a photo without a mask

    def test_the_share_is_that_of_the_views(self):
        for share, low, high in ((0, 0, 0), (0.5, 10, 30), (1, 40, 40)):
            changed = sum((view != photo(20, 200)).any() for view in self.views(share, 0))
            self.assertTrue(low <= changed <= high, f"{changed} of 40 at {share}")

    def test_a_photo_without_a_mask_stays(self):
        for view in self.views(1, 2, 5):
            np.testing.assert_array_equal(view, photo(70, 10))

    def test_what_does_not_fit_is_said(self):
        with self.assertRaisesRegex(DataError, "--cutouts"):
            Grounds(None, self.images, self.samples, 0.5)
        with self.assertRaisesRegex(DataError, "no mask"):
            Grounds(self.images, self.images, self.samples, 0.5)
        with self.assertRaisesRegex(DataError, "from 0 to 1"):
            Grounds(self.cutouts, self.images, self.samples, 2)
        Image.new("L", (3, 3)).save(mask_of(self.cutouts, self.samples[0].path, self.images))
        with self.assertRaisesRegex(DataError, "make it anew"):
            self.views(1, 0)

    @unittest.skipIf(importlib.util.find_spec("cv2") is None, "OpenCV is not installed")
    def test_a_subject_is_cut_from_its_ground(self):
        from oltr_models.cutouts import cut_out

        mask = cut_out(photo(20, 200))
        self.assertGreater(mask[22:38, 22:38].min(), 200)
        self.assertLess(mask[:14].max(), 20)
        # Nothing that stands free, and nothing at all.
        wide = photo(20, 20)
        wide[20:40] = 200
        self.assertIsNone(cut_out(wide))
        self.assertIsNone(cut_out(np.zeros((5, 5, 3), np.uint8)))


if __name__ == "__main__":
    unittest.main()
