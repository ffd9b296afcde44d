"""An ONNX graph that is evaluated on sample inputs while it grows.

Random weights alone let the activations of a deep network die out or explode. Here each
node is run on the samples as soon as it is added, and every convolution and fully
connected layer is rescaled to the mean and spread that batch normalisation would have
given it. The statistics end up folded in weights and biases, as in an exported network.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

Pads = tuple[int, int, int, int]


class GraphBuilder:
    """Adds nodes one by one; keeps their values on the samples."""

    def __init__(self, name: str, input_name: str, samples: list[np.ndarray], rng: np.random.Generator):
        self.name = name
        self.rng = rng
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}
        self._values: dict[str, list[np.ndarray]] = {input_name: samples}
        self._input = input_name

    def values(self, tensor: str) -> list[np.ndarray]:
        """What `tensor` holds for each sample."""
        return self._values[tensor]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The shape of `tensor`, batch included (always 1)."""
        return self._values[tensor][0].shape

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add an initializer."""
        if name in self._constants:
            raise ValueError(f"initializer {name} exists already")
        self._constants[name] = np.ascontiguousarray(array)
        return name

    def node(self, op: str, name: str, *inputs: str, output: str | None = None, **attributes) -> str:
        """Add a node with one output and return the output's name."""
        output = output or f"{name}.out"
        if output in self._values:
            raise ValueError(f"tensor {output} exists already")
        node = helper.make_node(op, list(inputs), [output], name=name, **attributes)
        self._nodes.append(node)
        self._values[output] = self._evaluate(node)
        return output

    def conv(
        self,
        name: str,
        x: str,
        channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        pads: Pads | None = None,
        group: int = 1,
        dilation: int = 1,
        gain: float = 1.0,
        shift: float = 0.0,
        bias: bool = True,
    ) -> str:
        """Add a convolution whose outputs have spread `gain` and mean `shift` over the samples.

        `pads` is top, left, bottom, right; by default the size is kept at stride 1.
        """
        kernel, stride = _pair(kernel), _pair(stride)
        if pads is None:
            half = [dilation * (k - 1) // 2 for k in kernel]
            pads = (half[0], half[1], half[0], half[1])
        inputs = self.shape(x)[1]
        fan_in = inputs // group * kernel[0] * kernel[1]
        weights = self.rng.normal(0.0, 1.0 / np.sqrt(fan_in), (channels, inputs // group, *kernel))
        # Half of a filter looks at its whole window. Purely random taps would respond to grain more
        # than to structure, and a deep network of them turns rounding errors into noise.
        weights += self.rng.normal(0.0, 1.0 / np.sqrt(fan_in), (channels, inputs // group, 1, 1))
        attributes = dict(kernel_shape=kernel, strides=stride, pads=pads, group=group, dilations=[dilation] * 2)
        return self._normalised("Conv", name, x, weights, (-1, 1, 1, 1), gain, shift, bias, attributes)

    def gemm(self, name: str, x: str, width: int, *, gain: float = 1.0, shift: float = 0.0) -> str:
        """Add a fully connected layer as `Gemm` with weights `[width, inputs]`."""
        weights = self._dense_weights(x, width).T
        return self._normalised("Gemm", name, x, weights, (-1, 1), gain, shift, True, dict(transB=1))

    def matmul(self, name: str, x: str, width: int, *, gain: float = 1.0, shift: float = 0.0) -> str:
        """Add a fully connected layer as `MatMul` and `Add`, the other common writing."""
        weights = self._dense_weights(x, width)
        return self._normalised("MatMul", name, x, weights, (1, -1), gain, shift, True, {})

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [_tensor_info(self._input, self._values[self._input][0])],
            [_tensor_info(name, self._values[name][0]) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        model = helper.make_model(
            graph, producer_name="oltr", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _dense_weights(self, x: str, width: int) -> np.ndarray:
        """Random weights `[inputs, width]` that ignore what all samples have in common.

        Otherwise the common part would fill the range of the product, and the differences
        between images, which are what counts, would be left with a few quantisation steps.
        """
        rows = np.concatenate([value.reshape(-1, value.shape[-1]) for value in self._values[x]]).astype(np.float64)
        common = rows.mean(axis=0)
        common /= np.linalg.norm(common)
        weights = self.rng.normal(0.0, np.sqrt(2.0 / len(common)), (len(common), width))
        return weights - np.outer(common, common @ weights)

    def _normalised(self, op, name, x, weights, per_output, gain, shift, bias, attributes) -> str:
        """Add a layer with `weights` rescaled per output channel to the wanted statistics."""
        raw = self._evaluate(helper.make_node(op, [x, "w"], ["y"], **attributes), {"w": weights.astype(np.float32)})
        channel_axis = 1 if op != "MatMul" else -1
        stacked = np.concatenate([np.moveaxis(y, channel_axis, 0).reshape(y.shape[channel_axis], -1) for y in raw], 1)
        width = len(stacked)
        mean, spread = stacked.mean(axis=1), stacked.std(axis=1)
        # A channel that hardly varies must not turn into amplified noise.
        spread = np.maximum(spread, 0.1 * np.median(spread) + 1e-12)
        # Trained networks differ from channel to channel, which is why per-channel scales exist.
        scale = gain * self.rng.uniform(0.7, 1.3, width) / spread
        offset = shift + 0.2 * gain * self.rng.normal(size=width) - mean * scale
        weights = (weights * scale.reshape(per_output)).astype(np.float32)
        offset = offset.astype(np.float32)
        inputs = [x, self.constant(f"{name}.weight", weights)]
        if not bias:
            return self.node(op, name, *inputs, **attributes)
        if op == "MatMul":
            product = self.node(op, name, *inputs)
            return self.node("Add", f"{name}.add", product, self.constant(f"{name}.bias", offset))
        return self.node(op, name, *inputs, self.constant(f"{name}.bias", offset), **attributes)

    def _evaluate(self, node: onnx.NodeProto, constants: dict[str, np.ndarray] | None = None) -> list[np.ndarray]:
        """Run one node on every sample."""
        constants = constants or {}
        constants |= {name: self._constants[name] for name in node.input if name in self._constants}
        dynamic = [name for name in dict.fromkeys(node.input) if name in self._values]
        graph = helper.make_graph(
            [node],
            "node",
            [_tensor_info(name, self._values[name][0]) for name in dynamic],
            [helper.make_empty_tensor_value_info(node.output[0])],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = zip(*(self._values[name] for name in dynamic), strict=True)
        return [session.run(None, dict(zip(dynamic, feed, strict=True)))[0] for feed in feeds]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _tensor_info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
