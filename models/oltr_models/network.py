"""The whole network: backbone, modulated attention, direct feature and open-world head."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from .attention import ModulatedAttention
from .backbone import TOP_CHANNELS, Lite, feature_map_size
from .head import EPSILON, OpenHead


ABLATIONS = ("attention", "memory", "reachability")  # parts that can be left out, as `Architecture` names them
RADIUS = 10.0  # of the sphere that direct features lie on; also the published margin of L_LM


def on_sphere(z: torch.Tensor) -> torch.Tensor:
    """`z` scaled to length `RADIUS`; 0 stays 0.

    The published layer ends in a ReLU instead. With a pretrained backbone the length of z says how
    much is in the photo, not what: comparing directions alone measured +0.08 AUROC of reachability.
    """
    return RADIUS * z / (z.square().sum(-1, keepdim=True).sqrt() + EPSILON)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What fixes every shape of a network."""

    size: int  # input pixels, square
    classes: int
    dim: int  # of the direct feature
    attention: bool = True  # these three are False only in ablations
    memory: bool = True
    reachability: bool = True
    backbone: str = "lite0"

    @property
    def map_size(self) -> int:
        """Height and width of the map under the attention."""
        return feature_map_size(self.size)


class Oltr(nn.Module):
    """`image [B, 3, S, S]` to `(logits [B, K], distances [B, K], features [B, D])`."""

    def __init__(self, arch: Architecture):
        super().__init__()
        self.arch = arch
        self.backbone = Lite(arch.backbone)
        self.attention = ModulatedAttention(self.backbone.channels, arch.map_size, arch.map_size) if arch.attention else None
        self.fc = nn.Linear(TOP_CHANNELS, arch.dim)
        self.head = OpenHead(arch.dim, arch.classes, arch.memory, arch.reachability)

    def pooled(self, f: torch.Tensor, attend: bool = True) -> torch.Tensor:
        """The last map `[B, C, H, W]` through attention, top convolution and average pooling."""
        if self.attention is not None and attend:
            f = self.attention(f)
        return self.backbone.top(f).mean((2, 3))

    def direct(self, pooled: torch.Tensor) -> torch.Tensor:
        """The direct feature `[B, D]` of pooled features `[B, 1280]`."""
        return on_sphere(self.fc(pooled))

    def features(self, f: torch.Tensor, attend: bool = True) -> torch.Tensor:
        """The direct feature `[B, D]` of the last map `[B, C, H, W]`."""
        return self.direct(self.pooled(f, attend))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        v = self.features(self.backbone(image))
        logits, distances = self.head(v)
        return logits, distances, v
