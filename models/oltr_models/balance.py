"""Which balance serves a photo set: the classifier alone is fitted again for several, and val tells.

Balanced softmax adds a share of the log prior to the logits in training. With all of it (1) rare classes are named as readily as
common ones; on a set whose photos are mostly of few classes that costs many of these. What is right depends on what is asked
for, so the choice has a rule: of the balances whose top-1 on val is within `SLACK` of the best one's, the largest, which is the
kindest to the tail.
"""

from __future__ import annotations

import numpy as np
import torch

from . import losses
from .head import COSINE_SCALE

CHOICES = (0.0, 0.25, 0.5, 0.75, 1.0)
SLACK = 0.01  # of top-1: a point, less than most sets of val photos can tell
STEPS, ROWS, RATE = 200, 1024, 3e-3  # of fitting the classifier, which takes seconds


def refitted(weight: torch.Tensor, features: torch.Tensor, labels: torch.Tensor, log_prior: torch.Tensor, smoothing: float,
             seed: int) -> torch.Tensor:
    """The cosine classifier `[K, D]` fitted on from `weight` to `features [N, D]` by the balanced softmax."""
    weight = weight.detach().clone().requires_grad_(True)
    features = torch.nn.functional.normalize(features)
    optimiser = torch.optim.AdamW([weight], lr=RATE, weight_decay=0.0)
    rng = np.random.default_rng(seed)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (0.5 + 0.5 * np.cos(np.pi * step / STEPS))
        rows = torch.from_numpy(rng.choice(len(labels), min(ROWS, len(labels)), replace=False)).to(features.device)
        logits = COSINE_SCALE * features[rows] @ torch.nn.functional.normalize(weight).T
        loss = losses.cross_entropy(logits, labels[rows], log_prior, smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return weight.detach()


def top1(weight: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of `features` that the classifier names rightly."""
    said = (torch.nn.functional.normalize(features) @ torch.nn.functional.normalize(weight).T).argmax(1)
    return float((said == labels).float().mean())


def chosen(reached: dict[float, float]) -> float:
    """Of the balances that reach this top-1 on val, the one to take."""
    best = max(reached.values())
    return max(balance for balance, value in reached.items() if value >= best - SLACK)
