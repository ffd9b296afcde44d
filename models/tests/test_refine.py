"""Bias correction on layers small enough to follow."""

import unittest

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from oltr_models.refine import channel_statistic, correct_biases, equalise, mean_inputs, rounded


def two_layers() -> onnx.ModelProto:
    """A 1x1 convolution, a depthwise one behind it, pooling and a fully connected layer."""
    rng = np.random.default_rng(0)
    shapes = {"a.w": (4, 3, 1, 1), "a.b": (4,), "b.w": (4, 1, 3, 3), "b.b": (4,), "c.w": (5, 4), "c.b": (5,)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["image", "a.w", "a.b"], ["a"], name="a"),
        helper.make_node("Conv", ["a", "b.w", "b.b"], ["b"], name="b", group=4),
        helper.make_node("GlobalAveragePool", ["b"], ["p"], name="p"),
        helper.make_node("Flatten", ["p"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "c.w", "c.b"], ["c"], name="c", transB=1),
    ]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 5])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def inverted_residual() -> onnx.ModelProto:
    """Expand, depthwise and project as in the backbone, with channels of very different reach."""
    rng = np.random.default_rng(2)
    shapes = {"expand.w": (6, 3, 1, 1), "expand.b": (6,), "deep.w": (6, 1, 3, 3), "deep.b": (6,), "project.w": (4, 6, 1, 1), "project.b": (4,)}
    values = {n: 0.2 * rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    values["expand.w"] *= np.geomspace(0.05, 3, 6, dtype=np.float32)[:, None, None, None]
    values |= {"min": np.float32(0), "max": np.float32(6)}
    nodes, x = [], "image"
    for name, group in (("expand", 1), ("deep", 6), ("project", 1)):
        nodes.append(helper.make_node("Conv", [x, name + ".w", name + ".b"], [name], name=name, group=group))
        x = name
        if name != "project":
            nodes.append(helper.make_node("Clip", [name, "min", "max"], [name + ".relu6"], name=name + ".relu6"))
            x = name + ".relu6"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("project", TensorProto.FLOAT, [1, 4, 6, 6])],
                              [numpy_helper.from_array(v, n) for n, v in values.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def outputs(model: onnx.ModelProto) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"image": image[None]})[0] for image in images()])


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [(rng.standard_normal((3, 8, 8)) + [[[5.0]], [[-3.0]], [[2.0]]]).astype(np.float32) for _ in range(4)]


def with_rounded_weights(model: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for initializer in changed.graph.initializer:
        if initializer.name in names:
            weight = rounded(numpy_helper.to_array(initializer).astype(np.float64)).astype(np.float32)
            initializer.CopyFrom(numpy_helper.from_array(weight, initializer.name))
    return changed


class RefineTest(unittest.TestCase):
    def test_rounding_is_symmetric_and_per_channel(self):
        weight = np.array([[1.0, 0.5, -1.27], [0.0, 0.0, 0.0], [254.0, 3.1, 0.0]])
        np.testing.assert_allclose(rounded(weight), [[1.0, 0.5, -1.27], [0, 0, 0], [254.0, 4.0, 0.0]], atol=1e-12)

    def test_corrected_biases_keep_every_mean_output(self):
        for node in ("a", "b", "c"):
            with self.subTest(node):
                model = two_layers()
                before = mean_inputs(model, [node], images())[node]
                spoilt = mean_inputs(with_rounded_weights(model, {node + ".w"}), [node], images())[node]
                correct_biases(model, images(), {node})
                after = mean_inputs(with_rounded_weights(model, {node + ".w"}), [node], images())[node]
                self.assertGreater(np.abs(spoilt - before).max(), 1e-4)
                # The mean over a depthwise window leaves out a border: nearly, not quite, exact.
                self.assertLess(np.abs(after - before).max(), np.abs(spoilt - before).max() * (0.1 if node == "b" else 1e-3))

    def test_other_layers_stay(self):
        model = two_layers()
        correct_biases(model, images(), {"a"})
        for old, new in zip(two_layers().graph.initializer, model.graph.initializer):
            same = np.array_equal(numpy_helper.to_array(old), numpy_helper.to_array(new))
            self.assertEqual(same, new.name != "a.b", new.name)

    def test_equalised_channels_compute_the_same_and_use_their_range(self):
        model = inverted_residual()
        before, narrow = outputs(model), channel_statistic(model, ["expand.relu6"], images(), np.max)["expand.relu6"]
        self.assertEqual(equalise(model, images()), 2)
        after, wide = outputs(model), channel_statistic(model, ["expand.relu6"], images(), np.max)["expand.relu6"]
        np.testing.assert_allclose(after, before, atol=1e-5)
        self.assertLess(narrow.min(), 1.0)
        np.testing.assert_allclose(wide, np.minimum(6.0, np.where(narrow > 0, 8 * narrow, 0)), rtol=1e-4, atol=1e-5)

    def test_a_tensor_with_two_readers_is_not_equalised(self):
        model = inverted_residual()
        model.graph.node.append(helper.make_node("Identity", ["expand.relu6"], ["copy"], name="copy"))
        self.assertEqual(equalise(model, images()), 1)


if __name__ == "__main__":
    unittest.main()
