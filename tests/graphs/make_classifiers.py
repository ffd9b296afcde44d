"""Tiny image classifiers of the forms that `oltr adopt` takes: `python make_classifiers.py classifiers`.

Three classes, pictures of 32 x 32, weights drawn from a seed: nothing is trained, so that only form matters.

    nchw.onnx        float, channels first, input `x`, a free batch, logits of a Gemm
    nhwc.onnx        float, channels last, a MatMul with a bias, then a softmax, as TensorFlow exports
    steps.onnx       the same, its bias as Add, Sub, Mul and Add by channel behind a transposition to channels last
    conv.onnx        float, logits of a 1 x 1 convolution on a pooled map
    qdq.onnx         nchw.onnx quantised with QuantizeLinear and DequantizeLinear, behind a softmax
    qoperator.onnx   the same as QOperator
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

CLASSES, CHANNELS, SIDE = 3, 8, 32


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def model(nodes: list, constants: dict[str, np.ndarray], input_: tuple[str, list], output: str) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "classifier", [helper.make_tensor_value_info(input_[0], TensorProto.FLOAT, input_[1])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    result.ir_version = 8
    onnx.checker.check_model(result, full_check=True)
    return result


def features(x: str) -> list:
    return [helper.make_node("Conv", [x, "w", "b"], ["map"], strides=[4, 4], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["map"], ["relu"]), helper.make_node("GlobalAveragePool", ["relu"], ["pooled"])]


def steps(rng: np.random.Generator, conv: dict, last: dict, flat: onnx.NodeProto) -> tuple[list, dict[str, np.ndarray]]:
    """The network with channels last, whose convolution has a normalisation by channel behind it."""
    scale, mean, beta = (rng.uniform(0.5, 2, CHANNELS).astype(np.float32) for _ in range(3))
    by_channel = {"beta": beta, "mean": mean, "scale": scale, "shift": conv["b"] - (beta - mean) * scale}
    nodes = [helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
             helper.make_node("Conv", ["first", "w"], ["map"], strides=[4, 4], pads=[1, 1, 1, 1]),
             helper.make_node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1]),
             helper.make_node("Add", ["last", "beta"], ["plus"]), helper.make_node("Cast", ["plus"], ["same"], to=TensorProto.FLOAT),
             helper.make_node("Sub", ["same", "mean"], ["less"]), helper.make_node("Mul", ["less", "scale"], ["times"]),
             helper.make_node("Add", ["times", "shift"], ["normal"]), helper.make_node("Relu", ["normal"], ["relu"]),
             helper.make_node("Transpose", ["relu"], ["again"], perm=[0, 3, 1, 2]),
             helper.make_node("GlobalAveragePool", ["again"], ["pooled"]), flat,
             helper.make_node("MatMul", ["feature", "vt"], ["product"]), helper.make_node("Add", ["product", "c"], ["biased"]),
             helper.make_node("Softmax", ["biased"], ["out"], axis=-1)]
    constants = {"w": conv["w"] / scale[:, None, None, None], "vt": last["v"].T.copy(), "c": last["c"],
                 **{name: value.reshape(1, 1, 1, -1) for name, value in by_channel.items()}}
    return nodes, constants


def build(folder: Path) -> None:
    rng = np.random.default_rng(5)
    conv = {"w": weights(rng, CHANNELS, 3, 5, 5), "b": weights(rng, CHANNELS, 1)[:, 0]}
    last = {"v": 4 * weights(rng, CLASSES, CHANNELS), "c": weights(rng, CLASSES, 1)[:, 0]}
    flat = helper.make_node("Flatten", ["pooled"], ["feature"])
    gemm = helper.make_node("Gemm", ["feature", "v", "c"], ["out"], transB=1)
    nchw = ("x", ["N", 3, SIDE, SIDE])
    onnx.save(model([*features("x"), flat, gemm], {**conv, **last}, nchw, "out"), folder / "nchw.onnx")
    nhwc = [helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]), *features("first"), flat,
            helper.make_node("MatMul", ["feature", "vt"], ["product"]), helper.make_node("Add", ["product", "c"], ["biased"]),
            helper.make_node("Softmax", ["biased"], ["out"], axis=-1)]
    onnx.save(model(nhwc, {**conv, "vt": last["v"].T.copy(), "c": last["c"]}, ("image", [1, SIDE, SIDE, 3]), "out"), folder / "nhwc.onnx")
    onnx.save(model(*steps(np.random.default_rng(6), conv, last, flat), ("image", [1, SIDE, SIDE, 3]), "out"), folder / "steps.onnx")
    by_conv = [*features("x"), helper.make_node("Conv", ["pooled", "k", "c"], ["ones"]), helper.make_node("Flatten", ["ones"], ["logits"])]
    onnx.save(model(by_conv, {**conv, "k": last["v"][:, :, None, None], "c": last["c"]}, nchw, "logits"), folder / "conv.onnx")
    soft = [*features("x"), flat, gemm, helper.make_node("Softmax", ["out"], ["probabilities"], axis=-1)]
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "float.onnx"
        onnx.save(model(soft, {**conv, **last}, nchw, "probabilities"), source)
        for name, form in (("qdq", QuantFormat.QDQ), ("qoperator", QuantFormat.QOperator)):
            quantize_static(source, folder / f"{name}.onnx", Reader(), quant_format=form, activation_type=QuantType.QUInt8,
                            weight_type=QuantType.QInt8)


class Reader(CalibrationDataReader):
    """Pictures of noise, to find the ranges of activations."""

    def __init__(self) -> None:
        rng = np.random.default_rng(6)
        self.pictures = iter([{"x": rng.standard_normal((1, 3, SIDE, SIDE), np.float32)} for _ in range(8)])

    def get_next(self) -> dict | None:
        return next(self.pictures, None)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    build(target)
