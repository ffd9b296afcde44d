"""Modulated attention: a self-attention mask, weighted by one map over the positions.

With f the feature map `[B, C, H, W]` and N = H * W positions:

    A     = softmax_rows(theta(f)' phi(f))        [N, N], no 1/sqrt(d)
    SA    = m((A g(f)')' as [C/2, H, W])          [C, H, W]
    MA    = softmax(W_s vec(f) + b_s)             [H, W], sums to 1
    f_att = f + MA * SA

The published layer is fixed to 7 x 7; here H and W are arguments, fixed once the layer is made.
"""

from __future__ import annotations

import torch
from torch import nn


class ModulatedAttention(nn.Module):
    """`f + MA * SA` for maps `[B, channels, height, width]`; starts as the identity."""

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        inner = channels // 2
        self.height, self.width = height, width
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.mask = nn.Conv2d(inner, channels, 1, bias=False)
        self.spatial = nn.Linear(channels * height * width, height * width)
        # Small affinities and a flat map at first: softmax without 1/sqrt(d) saturates otherwise.
        for layer in (self.theta, self.phi):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.mask.weight)
        nn.init.normal_(self.spatial.weight, std=1e-3)
        nn.init.zeros_(self.spatial.bias)

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = f.shape
        theta, phi, g = (layer(f).flatten(2) for layer in (self.theta, self.phi, self.g))
        affinity = torch.softmax(theta.transpose(1, 2) @ phi, dim=2)
        mixed = (affinity @ g.transpose(1, 2)).transpose(1, 2).reshape(batch, -1, height, width)
        modulation = torch.softmax(self.spatial(f.flatten(1)), dim=1).reshape(batch, 1, height, width)
        return f + modulation * self.mask(mixed)
