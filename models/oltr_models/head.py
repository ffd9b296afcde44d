"""The open-world head: direct feature, memory feature, meta-embedding and cosine classifier.

With v the direct feature (D numbers) and c_1..c_K the discriminative centroids:

    d_k      = |v - c_k|,  d_min = min d_k        reachability = 10 / d_min
    v_memory = sum_k softmax(W_h v + b_h)_k c_k   hallucinator
    e        = tanh(W_e v + b_e)                  concept selector
    v_meta   = (10 / d_min) (v + e * v_memory)
    x        = v_meta / (1 + |v_meta|)
    logit_k  = 16 x . w_k / |w_k|

With u = v + e * v_memory, x = u / (d_min / 10 + |u|) is the same number without the two undefined
points of the formulas above: for d_min = 0 it is the unit vector along u, for u = 0 it is 0. Where
both vanish at once `EPSILON` makes it 0.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

REACHABILITY = 10.0  # the numerator of the published reachability, 10 / d_min
COSINE_SCALE = 16.0
EPSILON = 1e-12


class OpenHead(nn.Module):
    """Logits and distances of a direct feature `[B, dim]` for `classes` known classes.

    For ablations the logits may do without the memory feature (`u = v`) or without reachability
    (`v_meta = u`).
    """

    def __init__(self, dim: int, classes: int, memory: bool = True, reachability: bool = True):
        super().__init__()
        self.memory, self.reachability = memory, reachability
        self.centroids = nn.Parameter(torch.zeros(classes, dim))
        self.hallucinator = nn.Linear(dim, classes)
        self.selector = nn.Linear(dim, dim)
        self.weight = nn.Parameter(torch.empty(classes, dim))  # the cosine classifier's w_k
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.selector.weight)
        nn.init.zeros_(self.selector.bias)

    def distances(self, v: torch.Tensor) -> torch.Tensor:
        """`[B, K]` distances to the centroids, by differences: no cancellation near a centroid."""
        return (v[:, None, :] - self.centroids[None]).square().sum(2).clamp_min(EPSILON).sqrt()

    def plain_logits(self, v: torch.Tensor) -> torch.Tensor:
        """The cosine classifier on the direct feature alone: stage 1, without memory."""
        return COSINE_SCALE * F.normalize(v) @ F.normalize(self.weight).T

    def forward(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(logits [B, K], distances [B, K])`."""
        distances = self.distances(v)
        u = v
        if self.memory:
            v_memory = torch.softmax(self.hallucinator(v), dim=1) @ self.centroids
            u = v + torch.tanh(self.selector(v)) * v_memory
        d_min = distances.min(1, keepdim=True).values
        x = squash(u, d_min if self.reachability else torch.full_like(d_min, REACHABILITY))
        return COSINE_SCALE * x @ F.normalize(self.weight).T, distances


def squash(u: torch.Tensor, d_min: torch.Tensor) -> torch.Tensor:
    """`v_meta / (1 + |v_meta|)` for `v_meta = (10 / d_min) u`, defined for every u and d_min >= 0."""
    norm = u.square().sum(1, keepdim=True).sqrt()
    return u / (d_min / REACHABILITY + norm + EPSILON)
