"""ONNX Runtime's static settings."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
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
    form, activations, weights, per_channel, extra = SETTINGS[setting]
    prepared = plain.with_suffix(".prepared.onnx")
    if not prepared.exists():
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(to),
        Random(prepared),
        quant_format=form,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
        extra_options=extra,
    )
