"""The other runtimes: each loads a model and runs it on one input.

`run` is what is timed, and nothing else: inputs are in the runtime's own buffer before, outputs
are read after. Where a runtime copies its input in every call, that copy is part of it.
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np


class Peer(ABC):
    """A runtime holding one model."""

    @abstractmethod
    def __init__(self, model: Path, threads: int): ...

    @abstractmethod
    def feed(self, image: np.ndarray) -> None:
        """Takes a float32 `[1, 3, H, W]`."""

    @abstractmethod
    def run(self) -> None:
        """One inference."""

    @abstractmethod
    def outputs(self) -> dict[str, np.ndarray]:
        """What `run` computed, by name, or `out0`, `out1`, ... in the order of the graph."""


class OnnxRuntime(Peer):
    """As users run it: all optimisations, its own choice of kernels."""

    def __init__(self, model: Path, threads: int):
        import onnxruntime

        options = self.options(onnxruntime, threads)
        self.session = onnxruntime.InferenceSession(
            self.source(model), options, providers=["CPUExecutionProvider"], disabled_optimizers=self.without()
        )
        self.names = [output.name for output in self.session.get_outputs()]
        self.input = self.session.get_inputs()[0].name

    def options(self, onnxruntime, threads: int):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return options

    def source(self, model: Path):
        return str(model)

    def without(self) -> list[str]:
        return []

    def feed(self, image: np.ndarray) -> None:
        self.feeds = {self.input: image}

    def run(self) -> None:
        self.results = self.session.run(self.names, self.feeds)

    def outputs(self) -> dict[str, np.ndarray]:
        return dict(zip(self.names, self.results, strict=True))


class OnnxRuntimeExact(OnnxRuntime):
    """Without the instruction that saturates sums of two products to 16 bits."""

    def options(self, onnxruntime, threads: int):
        options = super().options(onnxruntime, threads)
        options.add_session_config_entry("session.x64quantprecision", "1")
        return options

    def source(self, model: Path):
        # Version 1.32 fails in this mode where two nodes share an int8 weight.
        import onnx

        from .forms import unshared

        return unshared(onnx.load(model)).SerializeToString()

    def without(self) -> list[str]:
        return ["ConstantSharing"]


class OpenVino(Peer):
    """On the CPU plug-in, tuned for latency."""

    def __init__(self, model: Path, threads: int):
        import openvino

        properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        properties |= self.more()
        self.core = openvino.Core()
        self.compiled = self.core.compile_model(str(model), "CPU", properties)
        self.request = self.compiled.create_infer_request()
        self.names = [output.any_name for output in self.compiled.outputs]
        self.openvino = openvino

    def more(self) -> dict[str, str]:
        return {}

    def feed(self, image: np.ndarray) -> None:
        self.image = np.ascontiguousarray(image)
        self.request.set_input_tensor(self.openvino.Tensor(self.image, shared_memory=True))

    def run(self) -> None:
        self.request.start_async()
        self.request.wait()

    def outputs(self) -> dict[str, np.ndarray]:
        return {name: self.request.get_output_tensor(i).data.copy() for i, name in enumerate(self.names)}


class OpenVinoWithoutSnippets(OpenVino):
    """Without fused attention and element-wise code: where compiling that crashes, as 2026.4.1 does for one thread."""

    def more(self) -> dict[str, str]:
        return {"SNIPPETS_MODE": "DISABLE"}


class Tract(Peer):
    """Stock tract. Its Python package has no setting for threads: it always uses one."""

    def __init__(self, model: Path, threads: int):
        import tract

        self.tract = tract
        self.state = tract.onnx().load(str(model)).into_model().into_runnable().spawn_state()

    def feed(self, image: np.ndarray) -> None:
        self.tensor = self.tract.Tensor.from_numpy(image)

    def run(self) -> None:
        self.results = self.state.run([self.tensor])

    def outputs(self) -> dict[str, np.ndarray]:
        return {f"out{i}": result.to_numpy() for i, result in enumerate(self.results)}


class Ncnn(Peer):
    """With what pnnx made of the network."""

    def __init__(self, model: Path, threads: int):
        import ncnn

        self.ncnn = ncnn
        self.net = ncnn.Net()
        self.net.opt.num_threads = threads
        for load, suffix in [(self.net.load_param, ".param"), (self.net.load_model, ".bin")]:
            if load(str(model.with_suffix(suffix))) != 0:
                raise RuntimeError(f"ncnn does not load {model.with_suffix(suffix)}")
        self.names = sorted(self.net.output_names())

    def feed(self, image: np.ndarray) -> None:
        self.image = np.ascontiguousarray(image[0])
        self.input = self.ncnn.Mat(self.image)

    def run(self) -> None:
        extractor = self.net.create_extractor()
        extractor.input("in0", self.input)
        self.results = []
        for name in self.names:
            failed, result = extractor.extract(name)
            if failed:
                raise RuntimeError(f"ncnn does not compute {name}")
            self.results.append(result)

    def outputs(self) -> dict[str, np.ndarray]:
        return {name: np.array(result) for name, result in zip(self.names, self.results, strict=True)}


class LiteRt(Peer):
    """With XNNPACK, which is the default. Takes its images channels last, which are laid out so before."""

    def __init__(self, model: Path, threads: int):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(model), num_threads=threads)
        self.interpreter.allocate_tensors()

    def feed(self, image: np.ndarray) -> None:
        detail = self.interpreter.get_input_details()[0]
        self.interpreter.set_tensor(detail["index"], np.ascontiguousarray(image.transpose(0, 2, 3, 1)))

    def run(self) -> None:
        self.interpreter.invoke()

    def outputs(self) -> dict[str, np.ndarray]:
        named = self.interpreter.get_signature_runner().get_output_details()
        return {name: self.interpreter.get_tensor(detail["index"]).copy() for name, detail in named.items()}


# Tried where the first does not start.
FALLBACK = {"openvino": "openvino-no-snippets"}

PEERS: dict[str, type[Peer]] = {
    "tract": Tract,
    "ort": OnnxRuntime,
    "ort-exact": OnnxRuntimeExact,
    "openvino": OpenVino,
    "openvino-no-snippets": OpenVinoWithoutSnippets,
    "ncnn": Ncnn,
    "litert": LiteRt,
}
