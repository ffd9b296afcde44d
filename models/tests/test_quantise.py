"""Weights that are kept as bytes."""

import unittest

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from oltr_models.quantise import store_as_bytes


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


class StoreAsBytesTest(unittest.TestCase):
    def test_a_layer_computes_the_same_to_half_a_step_of_each_output(self):
        rng = np.random.default_rng(0)
        weight = (rng.standard_normal((5, 300)) * np.array([[1e-3], [1], [10], [0.1], [0]])).astype(np.float32)
        graph = helper.make_graph(
            [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 300])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])], [numpy_helper.from_array(weight, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        x = rng.standard_normal((1, 300)).astype(np.float32)
        before, size = run(model, x), model.ByteSize()
        store_as_bytes(model, "w")
        onnx.checker.check_model(model, full_check=True)
        after = run(model, x)
        half_step = np.abs(weight).max(1) / 127 / 2
        self.assertTrue((np.abs(after - before) <= half_step * np.abs(x).sum() + 1e-5).all())
        self.assertTrue((after[0, :4] != before[0, :4]).any())  # it was rounded at all
        self.assertEqual(after[0, 4], 0.0)
        self.assertLess(model.ByteSize(), size - 3 * weight.size * 0.9)


if __name__ == "__main__":
    unittest.main()
