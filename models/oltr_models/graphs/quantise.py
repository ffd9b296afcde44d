"""The forms of a graph: float, and quantised by ONNX Runtime's own quantiser in four ways."""

import logging
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from .networks import Built


@dataclass(frozen=True)
class Form:
    """Options of `quantize_static`."""

    format: QuantFormat
    activations: QuantType
    per_channel: bool


FORMS: dict[str, Form | None] = {
    "float": None,
    "qdq": Form(QuantFormat.QDQ, QuantType.QUInt8, per_channel=True),
    "qdq-s8": Form(QuantFormat.QDQ, QuantType.QInt8, per_channel=True),
    "qdq-pt": Form(QuantFormat.QDQ, QuantType.QUInt8, per_channel=False),
    "qop": Form(QuantFormat.QOperator, QuantType.QUInt8, per_channel=True),
}


def in_form(built: Built, name: str) -> onnx.ModelProto:
    """The model in the form called `name`, with int8 weights where it is quantised."""
    form = FORMS[name]
    if form is None:
        return built.model
    prefixes = tuple(built.network.float_nodes)
    excluded = [node.name for node in built.model.graph.node if prefixes and node.name.startswith(prefixes)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        # By path: given a model, the quantiser would move its weights to a file that it then removes.
        source, path = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        onnx.save(built.model, source)
        try:
            quantize_static(
                source,
                path,
                _Samples(built.network.input, built.calibration),
                quant_format=form.format,
                per_channel=form.per_channel,
                activation_type=form.activations,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            logging.disable(logging.NOTSET)
        model = onnx.load(path)
    model.graph.ClearField("value_info")
    model.graph.ClearField("doc_string")
    for node in model.graph.node:
        node.ClearField("doc_string")
    return model


class _Samples(CalibrationDataReader):
    def __init__(self, name: str, samples: list[np.ndarray]):
        self._feeds = iter([{name: sample} for sample in samples])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)
