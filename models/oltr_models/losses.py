"""What training minimises: balanced cross-entropy, the large-margin loss of the centroids."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .head import COSINE_SCALE
from .network import RADIUS

MARGIN = 10.0
MARGIN_WEIGHT = 0.01


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, log_prior: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Balanced softmax: the log prior of the sampled classes is added in training and left out at
    test time, so that head classes are not favoured. `target` is `[B]` indices or `[B, K]` shares."""
    return F.cross_entropy(logits + log_prior, target, label_smoothing=smoothing)


def distance_logits(distances: torch.Tensor) -> torch.Tensor:
    """Distances as logits: 16 times the cosine to each centroid, for centroids on the sphere."""
    return -0.5 * COSINE_SCALE / RADIUS**2 * distances.square()


def large_margin(distances: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The published L_LM: pulls to the right centroid, pushes from the others up to a margin."""
    squared = distances.square()
    own = squared.gather(1, labels[:, None])
    others = (squared.sum(1, keepdim=True) - own) / (squared.shape[1] - 1)
    return 0.5 * own.mean() + MARGIN_WEIGHT * F.relu(MARGIN - others.mean())
