"""The networks by name, each as a float model with samples for calibration and goldens."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from . import golden, images
from .backbones import ACTIVE, LITE0, MOBILENET_V2, Stage, inverted_residuals, relu6, resnet10
from .builder import GraphBuilder
from .head import HeadStyle, float_nodes, modulated_attention, open_world_head, plain_classifier
from .odd import odd_network

SEED = 20190616
CALIBRATION_SAMPLES = 8

OLTR_OUTPUTS = ["logits", "distances", "features"]


@dataclass(frozen=True)
class Network:
    """A float network and what its quantised forms need to know."""

    name: str
    size: str
    """`small` graphs are committed and run in CI; `large` ones are made on demand."""
    input: str
    height: int
    width: int
    outputs: list[str]
    build: Callable[[GraphBuilder, str], None]
    """Adds the nodes that lead from the input to the outputs."""
    float_nodes: list[str]
    """Name prefixes of the nodes that stay float in the quantised forms."""


@dataclass(frozen=True)
class Built:
    """A float model, inputs to calibrate on, and other inputs to make goldens of."""

    network: Network
    model: onnx.ModelProto
    calibration: list[np.ndarray]
    samples: list[np.ndarray]


def build(network: Network) -> Built:
    """Make the float model of a network; the same seed gives the same model."""
    rng = np.random.default_rng([SEED, zlib.crc32(network.name.encode())])
    photos = [images.photo(rng, network.height, network.width) for _ in range(CALIBRATION_SAMPLES)]
    calibration = [images.tensor(photo) for photo in photos]
    samples = [images.tensor(images.retake(rng, photo)) for photo in photos[:3]]
    graph = GraphBuilder(network.name, network.input, calibration, rng)
    network.build(graph, network.input)
    model = graph.model(network.outputs)
    return Built(network, model, calibration, _clearest_first(model, network.input, samples))


def _clearest_first(model: onnx.ModelProto, name: str, samples: list[np.ndarray]) -> list[np.ndarray]:
    """Samples by the lead of their best logit: an argmax that rounding decides tests nothing."""
    run = golden.session(model)

    def lead(sample: np.ndarray) -> float:
        best, second = np.sort(golden.outputs(run, {name: sample})["logits"].ravel())[[-1, -2]]
        return float(best - second)

    return sorted(samples, key=lead, reverse=True)


def _oltr_resnet(widths: tuple[int, int, int, int], style: HeadStyle) -> Callable[[GraphBuilder, str], None]:
    def nodes(graph: GraphBuilder, image: str) -> None:
        x = resnet10(graph, image, widths)
        open_world_head(graph, modulated_attention(graph, x, style.dense), style)

    return nodes


def _oltr_mobilenet(
    stem: int, stages: tuple[Stage, ...], last: int, style: HeadStyle
) -> Callable[[GraphBuilder, str], None]:
    def nodes(graph: GraphBuilder, image: str) -> None:
        x = inverted_residuals(graph, image, stem, stages)
        x = graph.conv("last.conv", x, last, 1, shift=ACTIVE)
        x = relu6(graph, "last", x)
        open_world_head(graph, modulated_attention(graph, x, style.dense), style)

    return nodes


def _oltr_lite(stem: int, stages: tuple[Stage, ...], style: HeadStyle) -> Callable[[GraphBuilder, str], None]:
    def nodes(graph: GraphBuilder, image: str) -> None:
        x = inverted_residuals(graph, image, stem, stages, same_padding=True)
        open_world_head(graph, modulated_attention(graph, x, style.dense), style)

    return nodes


def _plain_mobilenet(graph: GraphBuilder, image: str) -> None:
    x = inverted_residuals(graph, image, 32, MOBILENET_V2)
    x = relu6(graph, "last", graph.conv("last.conv", x, 1280, 1, shift=ACTIVE))
    x = graph.node("Flatten", "flat", graph.node("GlobalAveragePool", "pool", x), axis=1)
    plain_classifier(graph, x, 1000)


def _networks() -> list[Network]:
    guarded = float_nodes(keep_activations=True)
    exposed = float_nodes(keep_activations=False)

    def square(name: str, size: str, side: int, nodes, protected: list[str]) -> Network:
        return Network(name, size, "image", side, side, OLTR_OUTPUTS, nodes, protected)

    r10 = HeadStyle(classes=1000, fc=512, dense="Gemm", squares="Mul")
    r10s = HeadStyle(classes=20, fc=48, dense="Gemm", squares="Mul")
    mbv2 = HeadStyle(classes=365, fc=None, dense="MatMul", squares="Pow")
    mbv2s = HeadStyle(classes=21, fc=None, dense="MatMul", squares="Pow")
    lite0 = HeadStyle(classes=76, fc=None, dense="Gemm", squares="ReduceL2")
    lite0s = HeadStyle(classes=19, fc=None, dense="Gemm", squares="ReduceL2")
    return [
        square("r10s", "small", 96, _oltr_resnet((8, 16, 32, 64), r10s), exposed),
        square("mbv2s", "small", 96, _oltr_mobilenet(8, MOBILENET_SMALL, 72, mbv2s), guarded),
        square("lite0s", "small", 80, _oltr_lite(8, LITE_SMALL, lite0s), guarded),
        Network("odd", "small", "pixels", 37, 53, ["logits", "features"], odd_network, []),
        square("r10", "large", 224, _oltr_resnet((64, 128, 256, 512), r10), exposed),
        square("mbv2", "large", 224, _oltr_mobilenet(32, MOBILENET_V2, 1280, mbv2), guarded),
        square("lite0", "large", 128, _oltr_lite(32, LITE0, lite0), guarded),
        Network("mbv2plain", "large", "input", 224, 224, ["logits"], _plain_mobilenet, []),
    ]


# Narrow stages for the small networks. Widths that are no multiple of 4, 8 or 16 are on purpose.
MOBILENET_SMALL = (
    Stage(1, 3, 1, 6, 1),
    Stage(6, 3, 2, 10, 2),
    Stage(4, 3, 2, 17, 2),
    Stage(3, 3, 2, 24, 2),
    Stage(3, 3, 2, 36, 2),
)
LITE_SMALL = (
    Stage(1, 3, 1, 8, 1),
    Stage(6, 3, 2, 12, 2),
    Stage(4, 5, 2, 16, 2),
    Stage(3, 3, 2, 20, 2),
    Stage(3, 5, 1, 28, 2),
    Stage(3, 5, 2, 40, 2),
)

NETWORKS = {network.name: network for network in _networks()}
