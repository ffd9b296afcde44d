"""A classifier fitted anew to a bundle's own features."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import torch

from oltr_models import refit
from oltr_models.backbone import pretrained
from oltr_models.bundle import Runner, classifier
from oltr_models.checkpoint import Checkpoint
from oltr_models.data import Preprocess, load_photo, read_folder, select
from oltr_models.evaluation import class_indices, run_samples
from oltr_models.export import export
from oltr_models.head import COSINE_SCALE
from oltr_models.lift import lift
from oltr_models.network import Architecture, Oltr

from .photos import write_set


class RefitTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        cls.photos, cls.before, cls.after = folder / "photos", folder / "before.onnx", folder / "after.onnx"
        write_set(cls.photos, {"blue": 30, "green": 6, "red": 12})
        torch.manual_seed(0)
        net = Oltr(Architecture(64, 3, 64)).eval()
        net.backbone = pretrained().eval()
        checkpoint = Checkpoint(net, Preprocess(64), ["blue", "green", "red"], [22, 4, 8], {})
        export(checkpoint, cls.before, "three", {})
        arguments = ["", cls.before, cls.after, "--images", cls.photos, "--few", 4, "--views", 3, "--steps", 600, "--rate", 0.1]
        with mock.patch("sys.argv", [str(a) for a in arguments]):
            with contextlib.redirect_stdout(io.StringIO()):
                refit.main()

    def test_finds_classes_that_a_random_classifier_does_not(self):
        val = select(read_folder(self.photos), "val", known=True)
        truth = class_indices(val, ["blue", "green", "red"])
        right = [(run_samples(Runner(path), val, "").label == truth).mean() for path in (self.before, self.after)]
        self.assertLess(right[0], 0.8)
        self.assertGreater(right[1], 0.9)

    def test_changes_nothing_but_the_logits(self):
        image = np.random.default_rng(0).standard_normal((3, 64, 64), np.float32)
        before, after = Runner(self.before)(image), Runner(self.after)(image)
        self.assertGreater(np.abs(before.pop("logits") - after.pop("logits")).max(), 0.1)
        self.assertEqual(before.keys(), after.keys())
        for name, value in before.items():
            np.testing.assert_array_equal(value, after[name])
        weight = onnx.numpy_helper.to_array(classifier(onnx.load(self.after))[1])
        np.testing.assert_allclose(np.linalg.norm(weight, axis=0), COSINE_SCALE, rtol=1e-5)

    def test_rare_classes_come_with_views_and_photos_are_what_the_classifier_sees(self):
        model = onnx.load(self.before)
        x, classes = refit.embeddings(model, self.photos, None, few=4, views=3, turn=False, seed=0)
        train = select(read_folder(self.photos), "train", known=True)
        counts = np.bincount(class_indices(train, ["blue", "green", "red"]))
        self.assertEqual(list(np.bincount(classes)), [counts[0], 4 * counts[1], counts[2]])
        weight = onnx.numpy_helper.to_array(classifier(model)[1])
        runner = Runner(self.before)
        for row, sample in ((0, train[0]), (counts[0], train[counts[0]])):
            logits = runner(runner.preprocess(load_photo(sample.path)))["logits"][0]
            np.testing.assert_allclose(x[row] @ weight, logits, rtol=1e-4, atol=1e-4)
        green = x[classes == 1][:4]
        self.assertEqual(len(np.unique(green.round(5), axis=0)), 4)

    def test_refuses_lifted_logits(self):
        model = onnx.load(self.before)
        lift(model, 0.5, 20)
        with self.assertRaisesRegex(ValueError, "lifted already"):
            refit.embeddings(model, self.photos, None, 4, 1, False, 0)


if __name__ == "__main__":
    unittest.main()
