"""ResNet feature extractors as published with OLTR, batch normalisation folded into convolutions.

ResNet-10 has one basic block a stage (512 channels at the end), ResNet-152 has 3, 8, 36 and 3
bottlenecks (2048 channels). Both halve the input five times: 224 pixels become a 7 x 7 map.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional as F

STEM_CHANNELS = 64
STAGE_CHANNELS = (64, 128, 256, 512)
STRIDE = 32  # of the whole network
BATCH_NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class ResNetShape:
    """What tells one ResNet from another."""

    blocks: tuple[int, ...]  # in each of the four stages
    bottleneck: bool

    @property
    def channels(self) -> int:
        """Channels of the last map."""
        return STAGE_CHANNELS[-1] * self.expansion

    @property
    def expansion(self) -> int:
        """Output channels of a block for each of its inner ones."""
        return 4 if self.bottleneck else 1


class Block(nn.Module):
    """A chain of convolutions with a shortcut; ReLU between them and after the sum."""

    def __init__(self, inputs: int, inner: int, stride: int, shape: ResNetShape):
        super().__init__()
        outputs = inner * shape.expansion
        if shape.bottleneck:
            self.convs = nn.ModuleList([nn.Conv2d(inputs, inner, 1), nn.Conv2d(inner, inner, 3, stride, 1),
                                        nn.Conv2d(inner, outputs, 1)])
        else:
            self.convs = nn.ModuleList([nn.Conv2d(inputs, inner, 3, stride, 1), nn.Conv2d(inner, outputs, 3, 1, 1)])
        changes = stride != 1 or inputs != outputs
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for conv in self.convs[:-1]:
            y = F.relu(conv(y))
        y = self.convs[-1](y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """`image [B, 3, S, S]` to the last map `[B, C, S/32, S/32]`."""

    def __init__(self, shape: ResNetShape):
        super().__init__()
        self.shape = shape
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 7, 2, 3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        stages, inputs = [], STEM_CHANNELS
        for index, (inner, count) in enumerate(zip(STAGE_CHANNELS, shape.blocks)):
            blocks = []
            for position in range(count):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(Block(inputs, inner, stride, shape))
                inputs = inner * shape.expansion
            stages.append(nn.ModuleList(blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.pool(F.relu(self.stem(image)))
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return x

    def convolutions(self) -> list[tuple[str, str, nn.Conv2d]]:
        """Every convolution with the published names of its weights and of its normalisation."""
        named = [("conv1", "bn1", self.stem)]
        for s, stage in enumerate(self.stages, start=1):
            for b, block in enumerate(stage):
                prefix = f"layer{s}.{b}."
                named += [(f"{prefix}conv{i}", f"{prefix}bn{i}", conv) for i, conv in enumerate(block.convs, start=1)]
                if block.downsample is not None:
                    named.append((prefix + "downsample.0", prefix + "downsample.1", block.downsample))
        return named


@torch.no_grad()
def fold(conv: nn.Conv2d, weight: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor,
         variance: torch.Tensor) -> None:
    """Sets `conv` to a convolution with `weight` and without bias, followed by a batch normalisation."""
    factor = gain / torch.sqrt(variance + BATCH_NORM_EPSILON)
    conv.weight.copy_(weight * factor[:, None, None, None])
    conv.bias.copy_(bias - mean * factor)
