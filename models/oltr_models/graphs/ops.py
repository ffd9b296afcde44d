"""One tiny graph per quantised operator, as ONNX Runtime's quantiser writes it in QOperator form.

Values cover the full range of their type, zero points are odd and not 0, outputs saturate
now and then. Graphs take and give float: `QuantizeLinear`, the operator, `DequantizeLinear`.
The input floats are exact multiples of the scale, so every runtime starts from equal integers.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import golden
from .builder import IR_VERSION, OPSET
from .networks import SEED

STANDARD_OP = {
    "QLinearConv": "Conv",
    "QLinearMatMul": "MatMul",
    "QLinearAdd": "Add",
    "QLinearMul": "Mul",
    "QGemm": "Gemm",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearAveragePool": "AveragePool",
    "QLinearConcat": "Concat",
    "QLinearSigmoid": "Sigmoid",
    "QLinearSoftmax": "Softmax",
    "QLinearLeakyRelu": "LeakyRelu",
}
WITH_WEIGHTS = ("QLinearConv", "QLinearMatMul", "QGemm")
ONNX_DOMAIN = ("QLinearConv", "QLinearMatMul")
# Attributes that only the quantised operator has.
OWN_ATTRIBUTES = ("channels_last", "opset")


@dataclass(frozen=True)
class Operand:
    """A quantised tensor; activations are graph inputs, constants are initializers."""

    values: np.ndarray
    scale: np.ndarray
    """float32, a scalar or one per channel."""
    zero_point: np.ndarray | None
    """None where the optional input is left out (then it is 0)."""
    constant: bool = False
    axis: int = 0
    """The axis of a scale that is not a scalar."""

    def real(self) -> np.ndarray:
        """What the integers stand for, float32."""
        shape = [1] * self.values.ndim
        if self.scale.ndim:
            shape[self.axis] = -1
        zero = np.int32(0) if self.zero_point is None else self.zero_point.astype(np.int32)
        return (self.values.astype(np.int32) - zero.reshape(shape)).astype(np.float32) * self.scale.reshape(shape)


@dataclass(frozen=True)
class Operator:
    """One quantised operator with its operands."""

    name: str
    op: str
    operands: list[Operand]
    dtype: type
    """Type of the output, uint8 or int8."""
    attributes: dict = field(default_factory=dict)
    bias: np.ndarray | None = None
    """int32, for convolutions and QGemm."""
    output: tuple[np.ndarray, np.ndarray] | None = None
    """Scale and zero point; None for QGemm's float output."""

    def quantised(self) -> onnx.ModelProto:
        """The graph with the quantised operator."""
        graph = _Graph(self)
        domain = "" if self.op in ONNX_DOMAIN else "com.microsoft"
        graph.add(self.op, self._ordered(graph), "y.q" if self.output else "y", domain=domain, **self.attributes)
        if self.output:
            graph.add("DequantizeLinear", ["y.q", "y.scale", "y.zero"], "y")
        return graph.model()

    def dequantised(self, *, requantised: bool = True) -> onnx.ModelProto:
        """The same by definition: dequantise, the float operator, and, if wanted, quantise."""
        graph = _Graph(self)
        attributes = {k: v for k, v in self.attributes.items() if k not in OWN_ATTRIBUTES}
        inputs = [graph.constant(f"x{i}.real", operand.real()) for i, operand in enumerate(self.operands)]
        if self.bias is not None:
            scale = self.operands[0].scale * self.operands[1].scale * np.float32(attributes.get("alpha", 1.0))
            inputs.append(graph.constant("bias.real", self.bias.astype(np.float32) * scale))
        requantised = requantised and self.output is not None
        graph.add(STANDARD_OP[self.op], inputs, "y.real" if requantised else "y", **attributes)
        if requantised:
            graph.add("QuantizeLinear", ["y.real", "y.scale", "y.zero"], "y.q")
            graph.add("DequantizeLinear", ["y.q", "y.scale", "y.zero"], "y")
        return graph.model()

    def feeds(self) -> dict[str, np.ndarray]:
        """The float inputs."""
        return {f"x{i}": operand.real() for i, operand in enumerate(self.operands) if not operand.constant}

    def golden(self) -> dict[str, np.ndarray]:
        """Inputs and output by ONNX Runtime, which must agree with the definition up to one step.

        It has no exact way to multiply int8 by int8 on x86 without VNNI, so an int8 case with
        weights is run as its uint8 twin: all activations and their zero points 128 higher,
        which changes neither what goes in nor what comes out.
        """
        golden.session(self.quantised(), exact=False)  # Fails if ONNX Runtime refuses the graph.
        twin = self._unsigned() if self.op in WITH_WEIGHTS and self.dtype is np.int8 else self
        result = golden.goldens(twin.quantised(), [self.feeds()])[0]
        definition = golden.outputs(golden.session(self.dequantised(), optimised=False), {})["y"]
        step = self.output[0] if self.output else 1e-5
        if result["y"].shape != definition.shape or np.abs(result["y"] - definition).max() > 1.001 * step:
            raise ValueError(f"{self.name}: ONNX Runtime differs from the operator's definition")
        return result

    def _unsigned(self) -> "Operator":
        def raised(values: np.ndarray) -> np.ndarray:
            return (values.astype(np.int32) + 128).astype(np.uint8)

        operands = [
            operand
            if operand.constant
            else replace(operand, values=raised(operand.values), zero_point=raised(operand.zero_point))
            for operand in self.operands
        ]
        scale, zero_point = self.output
        return replace(self, operands=operands, dtype=np.uint8, output=(scale, raised(zero_point)))

    def _ordered(self, graph: "_Graph") -> list[str]:
        triples = [graph.operand(i) for i in range(len(self.operands))]
        flat = [name for triple in triples for name in triple]
        bias = [graph.constant("bias", self.bias)] if self.bias is not None else [""]
        output = ["y.scale", "y.zero"] if self.output else []
        match self.op:
            case "QLinearConcat":
                return output + flat
            case "QGemm":
                return flat + bias + output
            case "QLinearConv" if self.bias is not None:
                return flat + output + bias
            case _:
                return flat + output


class _Graph:
    """Collects nodes and initializers around one operator."""

    def __init__(self, operator: Operator):
        self.operator = operator
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        if operator.output:
            self.constant("y.scale", operator.output[0])
            self.constant("y.zero", operator.output[1])

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = array
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}.{op}", **attributes))

    def operand(self, index: int) -> tuple[str, str, str]:
        """Tensor, scale and zero point of an operand, quantising it if it is a graph input."""
        operand, name = self.operator.operands[index], f"x{index}"
        scale = self.constant(f"{name}.scale", operand.scale)
        zero = self.constant(f"{name}.zero", operand.zero_point) if operand.zero_point is not None else ""
        if operand.constant:
            return self.constant(f"{name}.q", operand.values), scale, zero
        self.add("QuantizeLinear", [name, scale, zero] if zero else [name, scale], f"{name}.q")
        return f"{name}.q", scale, zero

    def model(self) -> onnx.ModelProto:
        used = {name for node in self.nodes for name in node.input}
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in self.operator.feeds().items()
            if name in used
        ]
        graph = helper.make_graph(
            self.nodes,
            self.operator.name,
            inputs,
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items() if name in used],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, producer_name="oltr", ir_version=IR_VERSION, opset_imports=opsets)


def operators() -> list[Operator]:
    """Every operator, each with output scales that fit its values."""
    cases: list[Operator] = []
    for suffix, dtype in (("u8", np.uint8), ("s8", np.int8)):
        cases += _of_type(suffix, dtype)
    return [_scaled(case) for case in cases + _unusual()]


def _of_type(suffix: str, dtype: type) -> list[Operator]:
    """What exists for uint8 and for int8 activations alike."""

    def case(name: str, op: str, operands: Callable[[np.random.Generator], list[Operand]], **rest) -> Operator:
        name = f"{name}-{suffix}"
        return Operator(name, op, operands(_rng(name)), dtype, **rest)

    def x(rng: np.random.Generator, *shape: int) -> Operand:
        return _activation(rng, dtype, shape)

    pool = dict(kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], channels_last=0)
    return [
        case(
            "qlinearconv",
            "QLinearConv",
            lambda r: [x(r, 1, 5, 9, 8), _weight(r, (7, 5, 3, 3))],
            bias=_bias(f"conv-{suffix}", 7),
            attributes=dict(kernel_shape=[3, 3], strides=[2, 1], pads=[1, 0, 2, 1]),
        ),
        case(
            "qlinearconv-1x1-nobias",
            "QLinearConv",
            lambda r: [x(r, 1, 19, 5, 7), _weight(r, (13, 19, 1, 1))],
        ),
        case(
            "qlinearconv-depthwise",
            "QLinearConv",
            lambda r: [x(r, 1, 9, 11, 10), _weight(r, (9, 1, 5, 5))],
            bias=_bias(f"depthwise-{suffix}", 9),
            attributes=dict(kernel_shape=[5, 5], strides=[2, 2], pads=[1, 2, 2, 2], group=9),
        ),
        case(
            "qlinearconv-groups-dilation",
            "QLinearConv",
            lambda r: [x(r, 1, 9, 10, 9), _weight(r, (6, 3, 3, 3))],
            bias=_bias(f"groups-{suffix}", 6),
            attributes=dict(kernel_shape=[3, 3], dilations=[2, 2], pads=[2, 2, 2, 2], group=3),
        ),
        case("qlinearmatmul", "QLinearMatMul", lambda r: [x(r, 1, 6, 37), _weight(r, (37, 5), axis=1)]),
        case("qlinearmatmul-activations", "QLinearMatMul", lambda r: [x(r, 1, 9, 21), x(r, 1, 21, 9)]),
        case("qlinearadd", "QLinearAdd", lambda r: [x(r, 1, 5, 7, 9), x(r, 1, 5, 7, 9)]),
        case("qlinearadd-broadcast", "QLinearAdd", lambda r: [x(r, 1, 5, 7, 9), x(r, 1, 5, 1, 1)]),
        case("qlinearadd-constant", "QLinearAdd", lambda r: [x(r, 1, 33), replace(x(r, 33), constant=True)]),
        case("qlinearmul", "QLinearMul", lambda r: [x(r, 1, 5, 7, 9), x(r, 1, 5, 7, 9)]),
        case("qlinearmul-broadcast", "QLinearMul", lambda r: [x(r, 1, 5, 7, 9), x(r, 1, 1, 7, 9)]),
        case(
            "qgemm",
            "QGemm",
            lambda r: [x(r, 1, 131), _weight(r, (17, 131))],
            bias=_bias(f"gemm-{suffix}", 17),
            attributes=dict(transB=1),
        ),
        case("qgemm-nobias", "QGemm", lambda r: [x(r, 1, 35), _weight(r, (35, 9), axis=1)]),
        case(
            "qlinearglobalaveragepool",
            "QLinearGlobalAveragePool",
            lambda r: [x(r, 1, 19, 7, 5)],
            attributes=dict(channels_last=0),
        ),
        case("qlinearaveragepool", "QLinearAveragePool", lambda r: [x(r, 1, 6, 9, 8)], attributes=pool),
        case(
            "qlinearaveragepool-padded",
            "QLinearAveragePool",
            lambda r: [x(r, 1, 6, 9, 8)],
            attributes=pool | dict(count_include_pad=1),
        ),
        case(
            "qlinearconcat",
            "QLinearConcat",
            lambda r: [x(r, 1, 5, 4, 3), x(r, 1, 2, 4, 3), x(r, 1, 1, 4, 3)],
            attributes=dict(axis=1),
        ),
        case("qlinearsigmoid", "QLinearSigmoid", lambda r: [_every(x(r, 1), 0.05)]),
        case("qlinearleakyrelu", "QLinearLeakyRelu", lambda r: [_every(x(r, 1), 0.03)], attributes=dict(alpha=0.2)),
        case(
            "qlinearsoftmax",
            "QLinearSoftmax",
            lambda r: [replace(x(r, 1, 6, 49), scale=np.float32(0.047))],
            attributes=dict(axis=-1, opset=13),
        ),
    ]


def _unusual() -> list[Operator]:
    """Weights per tensor or in uint8, float output, an optional input left out."""
    rng = _rng("unusual")
    unsigned = _activation(rng, np.uint8, (7, 5, 3, 3))
    return [
        Operator(
            "qlinearconv-weights-u8",
            "QLinearConv",
            [_activation(rng, np.uint8, (1, 5, 8, 8)), replace(unsigned, constant=True)],
            np.uint8,
            attributes=dict(pads=[1, 1, 1, 1]),
        ),
        Operator(
            "qlinearconv-per-tensor",
            "QLinearConv",
            [_activation(rng, np.uint8, (1, 6, 9, 9)), _weight(rng, (11, 6, 3, 3), axis=None)],
            np.uint8,
            bias=_bias("per-tensor", 11),
            attributes=dict(auto_pad="SAME_UPPER", strides=[2, 2]),
        ),
        Operator(
            "qgemm-float-output",
            "QGemm",
            [_activation(rng, np.uint8, (1, 40)), _weight(rng, (10, 40))],
            np.float32,
            bias=_bias("gemm-float", 10),
            attributes=dict(transB=1),
        ),
        Operator(
            "qgemm-alpha",
            "QGemm",
            [_activation(rng, np.uint8, (1, 40)), _weight(rng, (10, 40), axis=None)],
            np.uint8,
            bias=_bias("gemm-alpha", 10),
            attributes=dict(transB=1, alpha=0.5),
        ),
        Operator(
            "qlinearsigmoid-no-zero-point",
            "QLinearSigmoid",
            [replace(_every(_activation(rng, np.uint8, (1,)), 0.02), zero_point=None)],
            np.uint8,
        ),
    ]


def _scaled(operator: Operator) -> Operator:
    """Choose the output scale: about one value in fifty saturates."""
    if operator.dtype is np.float32:
        return operator
    run = golden.session(operator.dequantised(requantised=False), optimised=False)
    # The range includes 0, as the quantiser's does.
    low, high = np.quantile(golden.outputs(run, {})["y"], [0.01, 0.99])
    low, high = min(low, 0.0), max(high, 0.0)
    limits = np.iinfo(operator.dtype)
    scale = np.float32((high - low) / 255.0)
    zero_point = int(np.clip(np.round(limits.min - low / scale), limits.min + 1, limits.max))
    return replace(operator, output=(scale, np.array(zero_point | 1, dtype=operator.dtype)))


def _activation(rng: np.random.Generator, dtype: type, shape: tuple[int, ...]) -> Operand:
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    values.ravel()[:2] = (limits.min, limits.max)[: values.size]
    scale = np.float32(rng.uniform(0.01, 0.03))
    return Operand(values, scale, np.array(int(rng.integers(limits.min // 2 + 40, limits.max - 60)) | 1, dtype))


def _every(operand: Operand, scale: float) -> Operand:
    """All 256 values in a row."""
    limits = np.iinfo(operand.values.dtype)
    values = np.arange(limits.min, limits.max + 1).astype(operand.values.dtype)[None]
    return replace(operand, values=values, scale=np.float32(scale))


def _weight(rng: np.random.Generator, shape: tuple[int, ...], axis: int | None = 0) -> Operand:
    """int8 weights with zero point 0, as the quantiser writes them, scaled per channel along `axis`."""
    values = rng.integers(-127, 127, shape, np.int8, endpoint=True)
    channels = () if axis is None else (shape[axis],)
    scale = np.asarray(rng.uniform(0.002, 0.02, channels), dtype=np.float32)
    return Operand(values, scale, np.zeros(channels, np.int8), constant=True, axis=axis or 0)


def _bias(name: str, channels: int) -> np.ndarray:
    return _rng(name).integers(-20000, 20000, channels, np.int32)


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])
