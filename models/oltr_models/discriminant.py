"""Discriminant initialisation: the direct feature as whitened class differences.

Linear discriminant analysis on pooled backbone features gives the fully connected layer a start in
which the within-class scatter is round, so that plain Euclidean distances to class means already
separate known from unknown. Directions in which the class means differ come first, then those in
which the training photos vary most.
"""

from __future__ import annotations

import numpy as np


def whitening(features: np.ndarray, labels: np.ndarray, dim: int, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """`(weight [dim, C], bias [dim])` of the whitening layer for `features [n, C]`.

    The pooled within-class covariance is shrunk towards a multiple of the identity (0 to 1): with
    a long tail there are too few photos for more.
    """
    features = features.astype(np.float64)
    means = class_means(features, labels)
    centre = means.mean(0)
    scatter = features - means[labels]
    covariance = scatter.T @ scatter / len(features)
    channels = len(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / channels * np.eye(channels)
    variances, axes = np.linalg.eigh(covariance)
    whiten = axes / np.sqrt(variances)

    between = _directions((means - centre) @ whiten)[:dim]
    rest = (features - centre) @ whiten
    rest -= rest @ between.T @ between
    directions = np.vstack([between, _directions(rest)[: dim - len(between)]])
    if len(directions) < dim:  # fewer photos than dimensions: the rest of the layer stays silent
        directions = np.vstack([directions, np.zeros((dim - len(directions), channels))])
    weight = directions @ whiten.T
    return weight.astype(np.float32), (-weight @ centre).astype(np.float32)


def _directions(rows: np.ndarray) -> np.ndarray:
    """Orthonormal directions of the rows, the strongest first; none in which they do not vary."""
    _, strength, directions = np.linalg.svd(rows, full_matrices=False)
    return directions[strength > 1e-6 * strength[0]]


def class_means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean feature of each class, `[K, C]`; every class needs a photo."""
    return np.stack([features[labels == k].mean(0) for k in range(labels.max() + 1)])
