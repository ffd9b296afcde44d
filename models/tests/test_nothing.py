"""What pictures of nothing look like."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oltr_models.bundle import Runner
from oltr_models.nothing import PICTURES, fit, install, pictures, remove, whitening

METADATA = {
    "oltr.format": "1",
    "oltr.name": "two",
    "oltr.classes": '[{"id":"a","name":"a","train_count":5},{"id":"b","name":"b","train_count":5}]',
    "oltr.preprocess": '{"size":2,"resize":"stretch","mean":[127.0,127.0,127.0],"std":[128.0,128.0,128.0]}',
}


def graph() -> onnx.ModelProto:
    """Features are the twelve numbers of a picture of 2 x 2; distances their sum of squares, twice."""
    nodes = [helper.make_node("Flatten", ["image"], ["features"], name="f"),
             helper.make_node("Mul", ["features", "features"], ["square"], name="s"),
             helper.make_node("MatMul", ["square", "two"], ["distances"], name="d"),
             helper.make_node("DequantizeLinear", ["oltr.metric.steps", "oltr.metric.scale", "oltr.metric.zero"], ["w"], name="w", axis=1),
             helper.make_node("MatMul", ["features", "w"], ["logits"], name="l")]
    constants = {"two": np.ones((12, 2), np.float32), "oltr.metric.steps": np.diag(np.arange(1, 13)).astype(np.int8),
                 "oltr.metric.scale": np.full(12, 0.5, np.float32), "oltr.metric.zero": np.zeros(12, np.int8)}
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("logits", 12), ("distances", 2), ("features", 12))]
    made = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 2, 2])], outputs,
                             [numpy_helper.from_array(v, n) for n, v in constants.items()])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in METADATA.items():
        model.metadata_props.add(key=key, value=value)
    return model


class NothingTest(unittest.TestCase):
    def test_pictures_are_the_same_for_a_seed_and_of_ten_kinds(self):
        first, again, other = pictures(0), pictures(0), pictures(1)
        self.assertEqual(len(first), 10 * PICTURES)
        self.assertTrue(all(a.mode == "RGB" and a.tobytes() == b.tobytes() for a, b in zip(first, again)))
        self.assertGreater(sum(a.tobytes() != b.tobytes() for a, b in zip(first, other)), 390)
        self.assertEqual(len({a.tobytes() for a in first}), len(first))

    def test_the_line_moves_what_looks_drawn_and_leaves_photos(self):
        rng = np.random.default_rng(0)
        known, drawn = rng.standard_normal((60, 12)) + 5 * np.eye(12)[0], rng.standard_normal((40, 12)) - 5 * np.eye(12)[0]
        truth = np.repeat([0, 1], [50, 10])
        weights, constant = fit(known, truth, drawn, np.eye(12), 0.4, 0.0)
        self.assertLess((known @ weights + constant).max(), 0)
        self.assertGreater((drawn @ weights + constant).min(), 0)
        # Twice the strength is twice the weights; a larger margin a larger constant.
        twice, more = fit(known, truth, drawn, np.eye(12), 0.8, 0.0), fit(known, truth, drawn, np.eye(12), 0.4, 0.5)
        np.testing.assert_allclose(twice[0], 2 * weights, rtol=1e-5)
        self.assertAlmostEqual(more[1] - constant, 0.2, places=6)
        # Each class counts alike: ten photos of b as much as fifty of a.
        once = fit(known, np.zeros(60, int), drawn, np.eye(12), 0.4, 0.0)
        self.assertGreater(abs(once[0] - weights).max(), 1e-4)

    def test_distances_grow_beyond_the_line_alone_and_again_replaces(self):
        with tempfile.TemporaryDirectory() as folder:
            plain, path = Path(folder) / "plain.onnx", Path(folder) / "it.onnx"
            model = graph()
            onnx.save(model, plain)
            np.testing.assert_allclose(whitening(model), np.diag(np.arange(1, 13) / 2))
            weights = np.zeros(12, np.float32)
            weights[0] = 1
            for constant in (3.0, -0.5):  # the second time in place of the first
                install(model, weights, constant)
                onnx.save(model, path)
                before, after = Runner(plain), Runner(path)
                for x in (-1.0, 0.5, 1.0):
                    image = np.full((3, 2, 2), 0.25, np.float32)
                    image[0, 0, 0] = x
                    expected = before(image)["distances"] * np.exp(max(0.0, x + constant))
                    np.testing.assert_allclose(after(image)["distances"], expected, rtol=1e-6)
                    if x + constant <= 0:
                        np.testing.assert_array_equal(after(image)["distances"], before(image)["distances"])
                    np.testing.assert_array_equal(after(image)["features"], before(image)["features"])

    def test_without_it_the_graph_is_as_before(self):
        model, before = graph(), graph()
        install(model, np.ones(12, np.float32), 1.0)
        self.assertNotEqual(model, before)
        remove(model)
        self.assertEqual(model, before)
        remove(model)  # nothing to remove
        self.assertEqual(model, before)

    def test_a_bundle_without_a_metric_is_refused(self):
        model = graph()
        del model.graph.initializer[1]
        with self.assertRaisesRegex(ValueError, "oltr_models.metric"):
            whitening(model)


if __name__ == "__main__":
    unittest.main()
