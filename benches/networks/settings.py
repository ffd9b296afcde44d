"""ONNX Runtime's static settings."""

from pathlib import Path

import numpy as np
import onnx.version_converter
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

U8, S8 = QuantType.QUInt8, QuantType.QInt8
QDQ, QOP = QuantFormat.QDQ, QuantFormat.QOperator

# Form, type of activations, type of weights, per channel, further options.
SETTINGS = {
    "u8s8": (QDQ, U8, S8, False, {}),
    "u8s8pc": (QDQ, U8, S8, True, {}),
    "s8s8": (QDQ, S8, S8, False, {}),
    "s8s8pc": (QDQ, S8, S8, True, {}),
    "u8u8": (QDQ, U8, U8, False, {}),
    "u8u8pc": (QDQ, U8, U8, True, {}),
    "qop-u8s8": (QOP, U8, S8, False, {}),
    "qop-u8s8pc": (QOP, U8, S8, True, {}),
    "qop-s8s8": (QOP, S8, S8, False, {}),
    "qop-s8s8pc": (QOP, S8, S8, True, {}),
    "qop-u8u8": (QOP, U8, U8, False, {}),
    "qop-u8u8pc": (QOP, U8, U8, True, {}),
    "floatbias": (QDQ, U8, S8, True, {"QuantizeBias": False}),
    "symmetric": (QDQ, S8, S8, True, {"ActivationSymmetric": True}),
    "dedicated": (QDQ, U8, S8, True, {"DedicatedQDQPair": True}),
}

# Further ones, each on some of the networks: the same, and arguments beside the options.
FURTHER = {
    "reduced": ((QDQ, U8, S8, True, {}), {"reduce_range": True}),
    "reduced-u8u8": ((QDQ, U8, U8, False, {}), {"reduce_range": True}),
    "u8-symmetric": ((QDQ, U8, S8, True, {"ActivationSymmetric": True}), {}),
    "weights-asymmetric": ((QDQ, S8, S8, False, {"WeightSymmetric": False}), {}),
    "weights-asymmetric-pc": ((QDQ, U8, S8, True, {"WeightSymmetric": False}), {}),
    "pair-to-weight": ((QDQ, U8, S8, True, {"AddQDQPairToWeight": True}), {}),
    "convolutions": ((QDQ, U8, S8, True, {}), {"op_types_to_quantize": ["Conv"]}),
    "qop-convolutions": ((QOP, U8, U8, False, {}), {"op_types_to_quantize": ["Conv", "MatMul"]}),
    "entropy": ((QDQ, U8, S8, True, {}), {"calibrate_method": CalibrationMethod.Entropy}),
    "percentile-u8u8": ((QDQ, U8, U8, False, {}), {"calibrate_method": CalibrationMethod.Percentile}),
    "shared": ((QDQ, U8, U8, False, {"ForceQuantizeNoInputCheck": True}), {}),
    "opset21": ((QDQ, S8, S8, True, {}), {"opset": 21}),
    "dynamic": (None, {}),
    "dynamic-s8": (None, {"weight_type": S8, "per_channel": True}),
}

# Which on which.
FURTHER_ON = {
    "squeezenet": ["shared", "entropy"],
    "mobilenetv3": ["reduced", "weights-asymmetric", "weights-asymmetric-pc", "pair-to-weight", "qop-convolutions", "dynamic-s8"],
    "shufflenetv2": ["entropy", "percentile-u8u8", "u8-symmetric", "opset21"],
    "ghostnet": ["reduced-u8u8", "convolutions", "dynamic"],
    "densenet": ["weights-asymmetric-pc", "qop-convolutions"],
    "convnext": ["convolutions", "u8-symmetric"],
    "mobilevit": ["weights-asymmetric", "percentile-u8u8", "convolutions", "dynamic"],
    "yolov8n": ["pair-to-weight", "shared", "reduced-u8u8", "dynamic-s8"],
    "segment": ["qop-convolutions", "opset21"],
}


class Random(CalibrationDataReader):
    """Normal pictures, as the networks are measured on."""

    def __init__(self, file: Path):
        model = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        random = np.random.default_rng(3)
        self.feeds = iter(
            [{i.name: random.normal(0, 1, i.shape).astype(np.float32) for i in model.get_inputs()} for _ in range(4)]
        )

    def get_next(self):
        return next(self.feeds, None)


def quantised(plain: Path, to: Path, setting: str) -> None:
    form, arguments = FURTHER[setting] if setting in FURTHER else (SETTINGS[setting], {})
    arguments = dict(arguments)
    prepared = plain.with_suffix(".prepared.onnx")
    if not prepared.exists():
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    if opset := arguments.pop("opset", None):
        converted = to.with_suffix(".prepared.onnx")
        onnx.save(onnx.version_converter.convert_version(onnx.load(prepared), opset), converted)
        prepared = converted
    if form is None:
        quantize_dynamic(str(prepared), str(to), **({"weight_type": U8} | arguments))
        return
    form, activations, weights, per_channel, extra = form
    quantize_static(
        str(prepared),
        str(to),
        Random(prepared),
        quant_format=form,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
        extra_options=extra,
        **arguments,
    )
