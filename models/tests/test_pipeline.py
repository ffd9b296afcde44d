"""A newcomer's run: a folder of four classes becomes an int8 bundle, without an edit."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx

from oltr_models import check, export, golden, quantise, train
from oltr_models.bundle import Runner, metadata
from oltr_models.cache import activations
from oltr_models.checkpoint import Checkpoint
from oltr_models.data import Preprocess, load_photo, read_folder, select
from oltr_models.evaluation import class_indices, run_samples

from .photos import write_set


def command(module, *arguments) -> str:
    """What `python -m` of a module prints on standard output."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", ["", *map(str, arguments)]), contextlib.redirect_stdout(out), \
            contextlib.redirect_stderr(io.StringIO()):
        module.main()
    return out.getvalue()


class PipelineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        cls.photos = cls.folder / "photos"
        write_set(cls.photos, {"blue": 30, "green": 10, "grey": 5, "red": 3})
        cls.train_options = ("--images", cls.photos, "--work", cls.folder / "work", "--size", 64, "--dim", 32, "--views", 1,
                             "--frozen-blocks", 15, "--epochs", 1, 1)
        command(train, *cls.train_options)
        cls.float_bundle, cls.int8_bundle = cls.folder / "four.float.onnx", cls.folder / "four.onnx"
        names = cls.folder / "names.tsv"
        names.write_text("id\tname\nred\tcherry red\n")
        command(export, cls.folder / "work" / "best.pt", cls.float_bundle, "--names", names)
        command(quantise, cls.float_bundle, cls.int8_bundle, "--images", cls.photos, "--photos", 8)
        cls.samples = read_folder(cls.photos)

    def test_bundle_carries_the_metadata_of_the_contract(self):
        values = metadata(onnx.load(self.int8_bundle))
        self.assertEqual(values["version"], "1")
        self.assertEqual(values["name"], "four")
        classes = json.loads(values["classes"])
        self.assertEqual([c["id"] for c in classes], ["blue", "green", "grey", "red"])
        self.assertEqual([c["name"] for c in classes], ["blue", "green", "grey", "cherry red"])
        self.assertEqual(classes[0]["train_count"], 22)
        rule = json.loads(values["open"])
        self.assertEqual(rule["rule"], "reachability")
        self.assertGreaterEqual(rule["calibration"]["known_accepted"], 0.95)
        self.assertEqual(json.loads(values["preprocess"])["size"], 64)

    def test_bundle_names_the_colours(self):
        test = select(self.samples, "test", known=True)
        answers = run_samples(Runner(self.int8_bundle), test, "test")
        truth = class_indices(test, ["blue", "green", "grey", "red"])
        self.assertGreaterEqual((answers.label == truth).mean(), 0.8)

    def test_graph_is_plain_qdq_with_a_float_head(self):
        graph = onnx.load(self.int8_bundle).graph
        self.assertEqual({n.domain for n in graph.node}, {""})
        producer = {o: n for n in graph.node for o in n.output}
        for node in graph.node:
            if node.name.startswith(("direct.n", "direct.u", "features", "head.", "logits", "distances")):
                self.assertNotIn("QuantizeLinear", node.op_type)
                sources = {producer[i].op_type for i in node.input if i in producer}
                self.assertNotIn("DequantizeLinear", sources, node.name)
        self.assertNotIn("Clip", {n.op_type for n in graph.node})  # absorbed in the quantised ranges
        weights = {i.name: i for i in graph.initializer}
        conv = next(n for n in graph.node if n.name == "backbone.block1.depthwise")
        quantised = weights[producer[conv.input[1]].input[0]]
        scale = weights[producer[conv.input[1]].input[1]]
        self.assertEqual(quantised.data_type, onnx.TensorProto.INT8)
        self.assertEqual(list(scale.dims), [96])  # one scale a channel

    def test_check_compares_both(self):
        report = check.check({"float": self.float_bundle, "int8": self.int8_bundle}, self.photos, None, "test", 0)
        self.assertLess(report["drift"]["reachability_median"], 0.2)
        self.assertEqual(report["known"], len(select(self.samples, "test", known=True)))
        self.assertEqual(set(check.losses(report)), {"top1"})

    def test_golden_repeats(self):
        target = self.folder / "golden.npz"
        photo = self.samples[0].path
        command(golden, self.int8_bundle, photo, target)
        arrays = np.load(target)
        again = Runner(self.int8_bundle)(arrays["image"][0])
        for name in ("logits", "distances", "features"):
            np.testing.assert_array_equal(arrays[name], again[name])

    def test_a_second_run_takes_up_the_first(self):
        before = Checkpoint.load(self.folder / "work" / "best.pt").net.state_dict()
        out = command(train, *self.train_options)
        self.assertIn("stage 2: taken from", out)
        after = Checkpoint.load(self.folder / "work" / "best.pt").net.state_dict()
        for key, value in before.items():
            np.testing.assert_array_equal(value.numpy(), after[key].numpy(), key)

    def test_calibration_uses_training_photos_of_every_class(self):
        chosen = quantise.calibration_samples(self.samples, 8, seed=0)
        self.assertEqual({s.split for s in chosen}, {"train"})
        self.assertEqual(len({s.cls for s in chosen}), 4)
        self.assertEqual(len({s.path for s in chosen}), len(chosen))

    def test_cache_is_made_anew_when_the_photos_change(self):
        net = Checkpoint.load(self.folder / "work" / "best.pt").net.backbone
        path = self.folder / "cache.npy"
        with contextlib.redirect_stderr(io.StringIO()):
            first = np.array(activations(path, net, 1, self.samples[:3], Preprocess(64), None, 0, "a"))
            other = np.array(activations(path, net, 1, self.samples[3:6], Preprocess(64), None, 0, "b"))
        self.assertEqual(first.shape, other.shape)
        self.assertFalse(np.array_equal(first, other))

    def test_names_what_is_wrong(self):
        for content in (b"no checkpoint", b"hi\n", b""):
            (self.folder / "bad.pt").write_bytes(content)
            with self.subTest(content), self.assertRaisesRegex(ValueError, "bad.pt: not a PyTorch file"):
                Checkpoint.load(self.folder / "bad.pt")
        plain = self.folder / "plain.onnx"
        model = onnx.load(self.float_bundle)
        del model.metadata_props[:]
        onnx.save(model, plain)
        with self.assertRaisesRegex(ValueError, "plain.onnx: no oltr metadata"):
            Runner(plain)

    def test_load_photo_is_what_the_runner_sees(self):
        runner = Runner(self.float_bundle)
        out = runner(runner.preprocess(load_photo(self.samples[0].path)))
        self.assertEqual({k: v.shape for k, v in out.items()}, {"logits": (1, 4), "distances": (1, 4), "features": (1, 32)})
        np.testing.assert_allclose(np.linalg.norm(out["features"]), 10, rtol=1e-4)


if __name__ == "__main__":
    unittest.main()
