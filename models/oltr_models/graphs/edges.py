"""`QuantizeLinear` and `DequantizeLinear` at their edges: ties, saturation, infinities, axes.

Each graph quantises its input and dequantises the result, so the output is the rounding
that took place. A multiplication by the reciprocal of the scale, rounding half away from
zero or wrapping on overflow all show.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import golden
from .builder import IR_VERSION, OPSET
from .networks import SEED


@dataclass(frozen=True)
class Edge:
    """One quantisation; `scale` is a scalar or, along `axis`, a vector."""

    name: str
    x: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray | None
    axis: int | None = None

    def quantised(self) -> onnx.ModelProto:
        """Quantise and dequantise."""
        parameters = {"scale": self.scale}
        if self.zero_point is not None:
            parameters["zero"] = self.zero_point
        attributes = {} if self.axis is None else {"axis": self.axis}
        nodes = [
            helper.make_node("QuantizeLinear", ["x", *parameters], ["y.q"], name="quantise", **attributes),
            helper.make_node("DequantizeLinear", ["y.q", *parameters], ["y"], name="dequantise", **attributes),
        ]
        graph = helper.make_graph(
            nodes,
            self.name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, self.x.shape)],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in parameters.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, producer_name="oltr", ir_version=IR_VERSION, opset_imports=opsets)

    def golden(self) -> dict[str, np.ndarray]:
        """Input and output by ONNX Runtime, which must agree with the definition."""
        result = golden.goldens(self.quantised(), [{"x": self.x}])[0]
        np.testing.assert_array_equal(result["y"], self.by_definition(), err_msg=self.name)
        return result

    def by_definition(self) -> np.ndarray:
        """ONNX's definition: divide in float32, round half to even, add the zero point, saturate."""
        shape = [1] * self.x.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        zero = np.zeros((), np.uint8) if self.zero_point is None else self.zero_point
        limits = np.iinfo(zero.dtype)
        scale, offset = self.scale.reshape(shape), zero.reshape(shape).astype(np.float32)
        with np.errstate(over="ignore"):  # 3e38 / 0.25 is infinite, and infinity saturates.
            quotient = self.x / scale
        quantised = np.clip(np.rint(quotient) + offset, limits.min, limits.max)
        return (quantised - offset) * scale


def edges() -> list[Edge]:
    """For both types: ties and extremes, and division against reciprocal; axes; no zero point."""
    rng = np.random.default_rng([SEED, zlib.crc32(b"edges")])
    extremes = np.array([0.0, -0.0, 1e-40, -1e-40, 1e9, -1e9, 1e30, -1e30, 3e38, -3e38, np.inf, -np.inf], np.float32)
    ties = np.arange(-300.5, 301.0, 0.5, dtype=np.float32) * np.float32(0.25)
    x = np.concatenate([extremes, ties])[None]
    quarter, awkward = np.float32(0.25), np.float32(0.0273)
    close = _ties_of_division(awkward)[None]
    rows = rng.normal(0.0, 4.0, (1, 5, 7, 3)).astype(np.float32)
    scales = rng.uniform(0.01, 0.05, 5).astype(np.float32)
    return [
        Edge("quantizelinear-u8", x, quarter, np.array(117, np.uint8)),
        Edge("quantizelinear-s8", x, quarter, np.array(-13, np.int8)),
        Edge("quantizelinear-division-u8", close, awkward, np.array(129, np.uint8)),
        Edge("quantizelinear-division-s8", close, awkward, np.array(3, np.int8)),
        Edge("quantizelinear-no-zero-point", x, quarter, None),
        Edge("quantizelinear-axis-u8", rows, scales, np.array([3, 255, 0, 131, 77], np.uint8), axis=1),
        Edge("quantizelinear-axis-s8", rows, scales, np.array([3, -128, 0, 127, -77], np.int8), axis=-3),
    ]


def _ties_of_division(scale: np.float32) -> np.ndarray:
    """Floats beside x.5 scales, those first whose product with 1/scale rounds to another integer."""
    halves = (np.arange(-128, 127) + 0.5).astype(np.float32) * scale
    near = np.concatenate([np.nextafter(halves, np.float32(d)) for d in (-np.inf, np.inf)] + [halves])
    differs = np.rint(near / scale) != np.rint(near * (np.float32(1.0) / scale))
    if not differs.any():
        raise ValueError(f"scale {scale} does not tell division from multiplication")
    return np.concatenate([near[differs], near[~differs]])
