"""The metadata that makes an ONNX graph a bundle: keys and values as the runtime reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from .data import Preprocess
from .graph import INPUT

VERSION = "1"
PROBABILITY = 0.1  # the published open threshold on the largest softmax probability


def class_entries(ids: list[str], names: dict[str, str], train_counts: list[int]) -> list[dict]:
    """The value of `oltr.classes`, in the order of the logits."""
    return [{"id": i, "name": names.get(i, i.replace("_", " ")), "train_count": n} for i, n in zip(ids, train_counts)]


def set_metadata(model: onnx.ModelProto, **values: object) -> None:
    """Sets `oltr.KEY` for each keyword: text as it is, everything else as JSON."""
    props = {p.key: p.value for p in model.metadata_props}
    for key, value in values.items():
        props["oltr." + key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    del model.metadata_props[:]
    for key, value in sorted(props.items()):
        model.metadata_props.add(key=key, value=value)


SUBJECTS = ("frame", "crop")  # what one training picture shows


def set_subject(path: Path, subject: str) -> None:
    """Says in the bundle at `path` what its training pictures show: all that a camera sees, or one thing cut out of it."""
    if subject not in SUBJECTS:
        raise ValueError(f"subject is '{subject}', must be one of {', '.join(SUBJECTS)}")
    model = onnx.load(path)
    set_metadata(model, subject=subject)
    onnx.save(model, path)


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The `oltr.*` metadata, without the prefix, as text."""
    return {p.key.removeprefix("oltr."): p.value for p in model.metadata_props if p.key.startswith("oltr.")}


def classifier(model: onnx.ModelProto) -> tuple[onnx.NodeProto, onnx.TensorProto]:
    """The node of a bundle that computes the logits, and its weights `[D, K]`."""
    node = next((n for n in model.graph.node if "logits" in n.output), None)
    if node is None or "classes" not in metadata(model):
        raise ValueError("no oltr bundle; make one with `python -m oltr_models.export`")
    if node.op_type != "MatMul":
        raise ValueError("its logits were lifted already; start from the bundle as it was before")
    return node, next(i for i in model.graph.initializer if i.name == node.input[1])


class Runner:
    """A bundle run by ONNX Runtime with its default optimisations, one photo at a time."""

    def __init__(self, path: Path, threads: int = 1):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Exact accumulation: without VNNI, ONNX Runtime's faster uint8 x int8 kernels add pairs of
        # products in 16 bits and saturate, which ruins the first layers of a network like ours.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        props = self.session.get_modelmeta().custom_metadata_map
        if "oltr.classes" not in props:
            raise ValueError(f"{path}: no oltr metadata; make the file with `python -m oltr_models.export`")
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.name = props["oltr.name"]
        self.classes = json.loads(props["oltr.classes"])
        self.preprocess = Preprocess.from_json(json.loads(props["oltr.preprocess"]))
        self.open = json.loads(props["oltr.open"]) if "oltr.open" in props else None

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """`image [3, S, S]`, normalised, to the outputs by name, each with its batch axis."""
        return dict(zip(self.outputs, self.session.run(self.outputs, {INPUT: image[None]})))
