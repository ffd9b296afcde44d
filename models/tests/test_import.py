"""Checkpoints in the published layout, with random weights, against the NumPy reference."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import torch

from oltr_models import import_checkpoint
from oltr_models.bundle import Runner, metadata
from oltr_models.published import CheckpointError, load_published

from . import published_reference

RESNET10, RESNET152 = (1, 1, 1, 1), (3, 8, 36, 3)


def published_shapes(blocks: tuple[int, ...], bottleneck: bool, attention: bool, dim: int | None) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of `feat_model`, without the prefix."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_and_norm(conv: str, norm: str, outputs: int, inputs: int, k: int) -> None:
        shapes[conv + ".weight"] = (outputs, inputs, k, k)
        shapes.update({f"{norm}.{n}": (outputs,) for n in ("weight", "bias", "running_mean", "running_var")})
        shapes[norm + ".num_batches_tracked"] = ()

    conv_and_norm("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, count in enumerate(blocks, start=1):
        inner = 32 * 2**stage
        outputs = inner * (4 if bottleneck else 1)
        for index in range(count):
            name = f"layer{stage}.{index}."
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            widths = (inputs, inner, inner, outputs) if bottleneck else (inputs, inner, outputs)
            for i, k in enumerate(kernels, start=1):
                conv_and_norm(f"{name}conv{i}", f"{name}bn{i}", widths[i], widths[i - 1], k)
            if index == 0 and (stage > 1 or inputs != outputs):
                conv_and_norm(name + "downsample.0", name + "downsample.1", outputs, inputs, 1)
            inputs = outputs
    if attention:
        for name in ("g", "theta", "phi"):
            shapes[f"modulatedatt.{name}.weight"] = (inputs // 2, inputs, 1, 1)
            shapes[f"modulatedatt.{name}.bias"] = (inputs // 2,)
        shapes["modulatedatt.conv_mask.weight"] = (inputs, inputs // 2, 1, 1)
        shapes["modulatedatt.fc_spatial.weight"] = (49, 49 * inputs)
        shapes["modulatedatt.fc_spatial.bias"] = (49,)
    if dim:
        shapes["fc_add.weight"], shapes["fc_add.bias"] = (dim, inputs), (dim,)
    return shapes


def random_tensor(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """Values of a size that keeps the signal alive through the layers and every part in play."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    if name.endswith("running_var"):
        return torch.from_numpy(rng.uniform(0.5, 1.5, shape).astype(np.float32))
    if len(shape) == 1:
        around = 1.0 if name.endswith("weight") else 0.0
        spread = 0.5 if "bn3" in name or "bn2" in name else 0.1
        return torch.from_numpy((around + spread * rng.standard_normal(shape)).astype(np.float32))
    fan_in = float(np.prod(shape[1:]))
    gain = 0.3 if name.startswith("modulatedatt.theta") else 1.0
    return torch.from_numpy((gain * np.sqrt(2 / fan_in) * rng.standard_normal(shape, np.float32)).astype(np.float32))


def random_checkpoint(blocks=RESNET10, bottleneck=False, attention=True, dim: int | None = 512, classes: int = 20) -> dict:
    """A dictionary as the published code saves it after stage 2."""
    rng = np.random.default_rng(7)
    shapes = published_shapes(blocks, bottleneck, attention, dim)
    features = {"module." + name: random_tensor(name, shape, rng) for name, shape in shapes.items()}
    d = dim or 512 * (4 if bottleneck else 1)
    of_classifier = {"fc_hallucinator.weight": (classes, d), "fc_hallucinator.bias": (classes,), "fc_selector.weight": (d, d),
                     "fc_selector.bias": (d,), "cosnorm_classifier.weight": (classes, d)}
    classifier = {"module." + name: random_tensor(name, shape, rng) for name, shape in of_classifier.items()}
    # The published code may save a NumPy number, or a Python one.
    return {"epoch": 60, "best_epoch": 57, "best_acc": np.float64(0.35), "state_dict_best": {"feat_model": features, "classifier": classifier},
            "centroids": torch.from_numpy(np.abs(rng.standard_normal((classes, d))).astype(np.float32))}


class ImportTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.source, self.target = self.folder / "final_model_checkpoint.pth", self.folder / "official.float.onnx"

    def imported(self, checkpoint: dict, *options) -> Runner:
        """The bundle that the command makes of a checkpoint."""
        torch.save(checkpoint, self.source)
        arguments = ["", str(self.source), str(self.target), *map(str, options)]
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(io.StringIO()):
            import_checkpoint.main()
        return Runner(self.target)

    def assert_computes(self, checkpoint: dict):
        image = np.random.default_rng(1).standard_normal((3, 224, 224), np.float32)
        got = self.imported(checkpoint)(image)
        want = published_reference.forward(image, checkpoint)
        self.assertEqual(got.keys(), want.keys())
        for name, expected in want.items():
            self.assertEqual(got[name].shape, expected.shape)
            self.assertGreater(np.std(expected), 0)
            np.testing.assert_allclose(got[name], expected, rtol=0, atol=1e-3 * np.abs(expected).max(), err_msg=name)

    def test_resnet10_with_attention(self):
        self.assert_computes(random_checkpoint())

    def test_the_accuracy_may_be_any_plain_number(self):
        for accuracy in (0.35, 1, np.float32(0.35), None):
            torch.save({**random_checkpoint(), "best_acc": accuracy}, self.source)
            load_published(self.source)

    def test_attention_under_its_early_name(self):
        checkpoint = random_checkpoint()
        features = checkpoint["state_dict_best"]["feat_model"]
        renamed = {k.replace("modulatedatt.", "selfatt."): v for k, v in features.items()}
        torch.save({**checkpoint, "state_dict_best": {**checkpoint["state_dict_best"], "feat_model": renamed}}, self.source)
        self.assertIsNotNone(load_published(self.source).attention)

    def test_resnet10_without_attention_and_feature_layer(self):
        self.assert_computes(random_checkpoint(attention=False, dim=None))

    def test_bottlenecks_of_every_stage(self):
        self.assert_computes(random_checkpoint((2, 1, 1, 1), bottleneck=True))

    @unittest.skipUnless(os.environ.get("OLTR_SLOW_TESTS"), "takes a minute and a gigabyte; set OLTR_SLOW_TESTS=1")
    def test_resnet152_of_places(self):
        self.assert_computes(random_checkpoint(RESNET152, bottleneck=True, classes=365))

    def test_bundle_carries_classes_preprocessing_and_the_published_rule(self):
        table = self.folder / "classes.tsv"
        table.write_text("id\tname\ttrain_count\n" + "".join(f"n{k:02}\tthing {k}\t{k}\n" for k in range(20)))
        self.imported(random_checkpoint(), "--classes", table, "--name", "imagenet-lt")
        values = metadata(onnx.load(self.target))
        self.assertEqual(values["name"], "imagenet-lt")
        self.assertEqual(json.loads(values["classes"])[19], {"id": "n19", "name": "thing 19", "train_count": 19})
        preprocess = json.loads(values["preprocess"])
        self.assertEqual((preprocess["size"], preprocess["resize"], preprocess["resize_to"]), (224, "shorter-side", 256))
        self.assertAlmostEqual(preprocess["mean"][0], 0.485 * 255)
        rule = json.loads(values["open"])
        self.assertEqual((rule["rule"], rule["probability"]), ("max-probability", 0.1))

    def test_table_of_another_number_of_classes_is_refused(self):
        table = self.folder / "classes.tsv"
        table.write_text("id\none\ntwo\n")
        with self.assertRaisesRegex(ValueError, "classes.tsv: 2 classes, but the network has 20"):
            self.imported(random_checkpoint(), "--classes", table)

    def assert_refused(self, content: object, message: str):
        torch.save(content, self.source)
        with self.assertRaisesRegex(CheckpointError, f"final_model_checkpoint.pth: .*{message}"):
            load_published(self.source)

    def test_names_what_is_missing(self):
        for part, name in (("feat_model", "layer3.0.bn2.running_mean"), ("feat_model", "modulatedatt.conv_mask.weight"),
                           ("classifier", "fc_selector.bias")):
            checkpoint = random_checkpoint()
            del checkpoint["state_dict_best"][part]["module." + name]
            with self.subTest(name):
                self.assert_refused(checkpoint, f"{part} lacks {name}")

    def test_names_wrong_shapes_and_values(self):
        for part, name, value, message in (
                ("feat_model", "fc_add.weight", torch.zeros(512, 511), "fc_add.weight is 512x511, not 512x512"),
                ("classifier", "cosnorm_classifier.weight", torch.zeros(20, 3), "cosnorm_classifier.weight is 20x3, not 20x512"),
                ("feat_model", "bn1.bias", torch.full((64,), float("nan")), "bn1.bias has values that are not finite")):
            checkpoint = random_checkpoint()
            checkpoint["state_dict_best"][part]["module." + name] = value
            with self.subTest(name):
                self.assert_refused(checkpoint, message)

    def test_names_what_it_does_not_know(self):
        checkpoint = random_checkpoint()
        checkpoint["state_dict_best"]["feat_model"]["module.fc_channel.weight"] = torch.zeros(1)
        self.assert_refused(checkpoint, "feat_model has unknown tensors: fc_channel.weight")

    def test_refuses_what_is_no_stage_2_checkpoint(self):
        stage1 = random_checkpoint()
        stage1["state_dict_best"]["classifier"] = {"module.fc.weight": torch.zeros(20, 512), "module.fc.bias": torch.zeros(20)}
        for content, message in (([1, 2], "holds list"), ({"epoch": 1}, "no state_dict_best.feat_model"), (stage1, "stage 1"),
                                 (random_checkpoint() | {"centroids": None}, "no centroids")):
            with self.subTest(message):
                self.assert_refused(content, message)

    def test_unpickles_nothing_but_plain_values(self):
        self.assert_refused({"state_dict_best": tempfile.TemporaryDirectory}, "not a PyTorch checkpoint")
        for content in (b"no checkpoint", b""):
            self.source.write_bytes(content)
            with self.assertRaisesRegex(CheckpointError, "not a PyTorch checkpoint"):
                load_published(self.source)


if __name__ == "__main__":
    unittest.main()
