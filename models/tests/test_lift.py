"""Raised logits of rare classes."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import torch

from oltr_models.bundle import Runner
from oltr_models.checkpoint import Checkpoint
from oltr_models.data import Preprocess, read_folder, select
from oltr_models.evaluation import class_indices, run_samples
from oltr_models.export import export
from oltr_models.lift import lift, lifts, table
from oltr_models.network import Architecture, Oltr

from .photos import write_set


class LiftTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        torch.manual_seed(0)
        cls.bundle = cls.folder / "two.onnx"
        net = Oltr(Architecture(64, 2, 8)).eval()
        with torch.no_grad():  # both logits are close, red's is larger for these photos
            net.head.weight[0].lerp_(net.head.weight[1], 0.8)
        checkpoint = Checkpoint(net, Preprocess(64), ["blue", "red"], [1, 40], {})
        export(checkpoint, cls.bundle, "two", {})

    def test_only_classes_below_the_cap_are_raised(self):
        np.testing.assert_allclose(lifts([200, 50, 25, 5], 0.5, 50), [0, 0, np.log(2) / 2, np.log(10) / 2], rtol=1e-6)
        np.testing.assert_array_equal(lifts([200, 50, 25, 5], 0, 50), 0)

    def test_logits_gain_the_bias_and_nothing_else_changes(self):
        model = onnx.load(self.bundle)
        lift(model, 0.75, 20)
        onnx.save(model, self.folder / "lifted.onnx")
        image = np.random.default_rng(0).standard_normal((3, 64, 64), np.float32)
        before, after = (Runner(path)(image) for path in (self.bundle, self.folder / "lifted.onnx"))
        np.testing.assert_allclose(after.pop("logits") - before.pop("logits"), [[0.75 * np.log(20), 0]], atol=1e-5)
        self.assertEqual(before.keys(), after.keys())
        for name, value in before.items():
            np.testing.assert_array_equal(value, after[name])
        with self.assertRaisesRegex(ValueError, "lifted already"):
            lift(model, 0.75, 20)

    def test_the_table_says_what_a_lifted_bundle_would_do(self):
        photos = self.folder / "photos"
        write_set(photos, {"blue": 20, "red": 20})
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(self.bundle, photos, None, 0).splitlines()]
        self.assertEqual(rows[0], ["cap", "share", "top1", "macro", "medium", "few"])
        self.assertEqual([row[:2] for row in rows[2::4]], [["1", "0.0"], ["20", "1.0"], ["50", "1.0"], ["100", "1.0"]])

        model = onnx.load(self.bundle)
        lift(model, 1.0, 100)
        onnx.save(model, self.folder / "most.onnx")
        val = select(read_folder(photos), "val", known=True)
        truth = class_indices(val, ["blue", "red"])
        for row, bundle in ((rows[2], self.bundle), (rows[-1], self.folder / "most.onnx")):
            right = run_samples(Runner(bundle), val, "").label == truth
            self.assertEqual(row[-2:], [f"{right[truth == k].mean():.3f}" for k in (1, 0)])
        self.assertNotEqual(rows[2][2:], rows[-1][2:])

    def test_refuses_what_cannot_be_raised(self):
        for share, cap in ((-0.1, 20), (2.5, 20), (0.5, 0)):
            with self.assertRaisesRegex(ValueError, "share from 0 to 2"):
                lifts([10], share, cap)
        bare = onnx.load(self.bundle)
        del bare.metadata_props[:]
        with self.assertRaisesRegex(ValueError, "no oltr bundle"):
            lift(bare, 0.5, 20)


if __name__ == "__main__":
    unittest.main()
