"""A newcomer's run: a folder of four classes becomes an int8 bundle, without an edit."""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import torch
from PIL import Image

from oltr_models import check, export, golden, methods, quantise, softmax, train, trainer
from oltr_models.bundle import Runner, metadata
from oltr_models.augment import random_view
from oltr_models.cache import activations
from oltr_models.checkpoint import Checkpoint
from oltr_models.cli import run
from oltr_models.data import Preprocess, load_photo, read_folder, select
from oltr_models.evaluation import class_indices, run_samples

from .photos import write_set

OLTR = Path(__file__).resolve().parents[2] / "target" / "release" / "oltr"


def command(module, *arguments) -> str:
    """What `python -m` of a module prints on standard output."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", ["", *map(str, arguments)]), contextlib.redirect_stdout(out), \
            contextlib.redirect_stderr(io.StringIO()):
        module.main()
    return out.getvalue()


def oltr(*arguments) -> str:
    """What the runtime prints on standard output; what it complains of, if it fails."""
    done = subprocess.run([OLTR, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"oltr {arguments[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


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

    @unittest.skipUnless(OLTR.exists(), "needs target/release/oltr; build it with cargo build --release")
    def test_the_runtime_calibrates_and_classifies(self):
        test = select(self.samples, "test", known=True)
        labels, calibrated = self.folder / "photos.tsv", self.folder / "calibrated.onnx"
        rows = [f"{s.path.relative_to(self.photos)}\t{s.cls}\tknown\t{s.split}" for s in self.samples]
        labels.write_text("\n".join(("path\tclass\trole\tsplit", *rows)) + "\n")
        oltr("calibrate", "--labels", labels, "--images", self.photos, "--output", calibrated, self.int8_bundle)
        out = oltr("classify", "--json", "--model", calibrated, *(s.path for s in test))
        answers = [json.loads(line) for line in out.splitlines()]
        truth = class_indices(test, ["blue", "green", "grey", "red"])
        self.assertGreaterEqual(np.mean([a["nearest"]["class"] == k for a, k in zip(answers, truth, strict=True)]), 0.8)
        self.assertIn("known", {a["decision"] for a in answers})

    def test_graph_is_plain_qdq_with_a_float_head(self):
        graph = onnx.load(self.int8_bundle).graph
        self.assertEqual({n.domain for n in graph.node}, {""})
        producer = {o: n for n in graph.node for o in n.output}
        for node in graph.node:
            if node.name.startswith(("direct.n", "direct.u", "features", "head.", "logits", "distances")) or node.name == "attention":
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

    def test_an_ablation_shares_stage_1_and_is_only_for_measuring(self):
        out = command(train, *self.train_options, "--ablate", "reachability", "attention", "--report-test")
        self.assertIn("stage1: taken from", out)
        path = self.folder / "work" / "best-without-attention-reachability.pt"
        net = Checkpoint.load(path).net
        self.assertIsNone(net.attention)
        self.assertFalse(net.head.reachability)
        report = json.loads(path.with_suffix(".test.json").read_text())
        self.assertGreaterEqual(report["closed"]["top1"], 0.8)
        with self.assertRaisesRegex(ValueError, "only for measuring"):
            command(export, path, self.folder / "ablated.onnx")

    def test_the_softmax_baseline_reports_what_it_got_right(self):
        command(softmax, *self.train_options[:-3], "--epochs", 1, 12, "--head-rate", 0.02, "--average", 0.5)
        report = json.loads((self.folder / "work" / "softmax.json").read_text())
        self.assertEqual(report["score"], "probability")
        self.assertGreaterEqual(report["closed"]["top1"], 0.7)

    def test_ways_of_quantising_are_compared_by_what_changes(self):
        table = command(methods, self.float_bundle, "--images", self.photos, "--photos", 8).splitlines()
        self.assertEqual(len(table), 2 + len(methods.VARIANTS))
        reference = run_samples(Runner(self.float_bundle), select(self.samples, "val", known=True), "val")
        truth = class_indices(select(self.samples, "val", known=True), ["blue", "green", "grey", "red"])
        same = methods.row("itself", (reference, None), (reference, None), truth)
        self.assertEqual(same, "| itself | 0.0000 | 0.0000 | +0.0000 | - | 0.0000 | 0.0000 |")

    def test_a_second_run_takes_up_the_first(self):
        before = Checkpoint.load(self.folder / "work" / "best.pt").net.state_dict()
        out = command(train, *self.train_options)
        self.assertIn("stage2: taken from", out)
        after = Checkpoint.load(self.folder / "work" / "best.pt").net.state_dict()
        for key, value in before.items():
            np.testing.assert_array_equal(value.numpy(), after[key].numpy(), key)

    def test_a_training_that_was_interrupted_ends_with_the_same_weights(self):
        options = (*self.train_options[:-3], "--epochs", 3, 1)
        evaluate = trainer.Trainer.evaluate
        states = []
        for name, interrupted in (("whole", False), ("torn", True)):
            work = self.folder / name
            here = tuple(work if option == self.folder / "work" else option for option in options)
            if interrupted:
                calls = iter(range(100))

                def torn(*arguments):
                    if next(calls) == 1:  # in the second epoch, before it is saved
                        raise KeyboardInterrupt
                    return evaluate(*arguments)

                with mock.patch.object(trainer.Trainer, "evaluate", torn), self.assertRaises(KeyboardInterrupt):
                    command(train, *here)
            out = command(train, *here)
            self.assertEqual("stage1: resumed after epoch 1" in out, interrupted)
            states.append(Checkpoint.load(work / "best.pt").net.state_dict())
        for key, value in states[0].items():
            np.testing.assert_array_equal(value.numpy(), states[1][key].numpy(), key)

    def test_a_device_that_is_not_there_is_named_before_any_work(self):
        work = self.folder / "elsewhere"
        options = tuple(work if option == self.folder / "work" else option for option in self.train_options)
        for device in ("abacus", *(() if torch.cuda.is_available() else ("cuda",))):
            with self.subTest(device), self.assertRaisesRegex(ValueError, f"--device {device}: PyTorch cannot use it here"):
                command(train, *options, "--device", device)
        self.assertEqual(list(work.iterdir()) if work.exists() else [], [])

    def test_training_computes_on_its_device_and_gives_back_numbers(self):
        """With PyTorch's device of shapes without numbers, on which an operand from elsewhere is an error."""
        args = train.arguments("train", "").parse_args([*map(str, self.train_options)])
        args.epochs, args.sampling, args.ablate = [1, 1], ["photo", "photo"], []
        args.smoothing = 0.0  # older PyTorch cannot smooth labels there
        with contextlib.redirect_stderr(io.StringIO()):
            run_here = trainer.Trainer(args)
        run_here.device = torch.device("meta")
        run_here.net.to("meta")
        run_here.log_prior = torch.zeros(4, device="meta")
        rows = np.arange(5)
        x = run_here.batch(run_here.clean, rows)
        self.assertEqual(run_here.mixed_views(np.random.default_rng(0), rows).device.type, "meta")
        labels, partner = (torch.zeros(5, dtype=torch.int64, device="meta") for _ in range(2))
        for stage in (1, 2):
            self.assertEqual(run_here.loss(x, labels, partner, 0.7, stage).device.type, "meta")

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
        self.assertEqual({k: v.shape for k, v in out.items()}, {"logits": (1, 4), "distances": (1, 4), "features": (1, 32), "attention": (1, 1, 2, 2)})
        self.assertAlmostEqual(float(out["attention"].sum()), 1.0, places=5)
        np.testing.assert_allclose(np.linalg.norm(out["features"]), 10, rtol=1e-4)


class ViewTest(unittest.TestCase):
    def view(self, mode: str, seed: int, turn: bool = False) -> np.ndarray:
        """A view, `[3, 32, 32]`, of a photo twice as wide as high, dark above and bright below."""
        pixels = np.zeros((20, 40, 3), np.uint8)
        pixels[10:] = 200
        return random_view(Image.fromarray(pixels), Preprocess(32, mode, pad_color=(127, 127, 127)), np.random.default_rng(seed), turn)

    def test_padded_views_keep_their_shape(self):
        for seed in range(8):
            border = self.view("pad", seed)[:, [0, -1]]  # the rows above and below a wide crop
            self.assertLess(np.abs(border).max(), 0.35)  # the border's grey is 0, give or take the change of brightness
            self.assertGreater(np.abs(self.view("stretch", seed)[:, [0, -1]]).max(), 0.35)

    def test_turned_views_show_every_side_up(self):
        def bright_side(view: np.ndarray) -> int:
            return int(np.argmax([view[0, :8].mean(), view[0, -8:].mean(), view[0, :, :8].mean(), view[0, :, -8:].mean()]))

        self.assertEqual({bright_side(self.view("stretch", seed, turn=True)) for seed in range(40)}, {0, 1, 2, 3})
        self.assertEqual({bright_side(self.view("stretch", seed)) for seed in range(40)}, {1})


class BadPhotosTest(unittest.TestCase):
    def test_a_corrupt_photo_ends_training_with_its_name(self):
        with tempfile.TemporaryDirectory() as folder:
            photos = Path(folder) / "photos"
            write_set(photos, {"red": 3, "green": 3})
            (photos / "red" / "torn.png").write_bytes((photos / "red" / "0.png").read_bytes()[:300])
            with self.assertRaises(SystemExit) as ended, contextlib.redirect_stderr(io.StringIO()):
                with mock.patch.object(sys, "argv", ["", "--images", str(photos), "--work", folder + "/work", "--size", "64"]):
                    run(train.main)
            self.assertRegex(str(ended.exception), r"^error: .*torn\.png: not a readable photo .*; remove or repair it$")


if __name__ == "__main__":
    unittest.main()
