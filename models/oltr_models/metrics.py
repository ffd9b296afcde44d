"""The published accuracy by shot group, and what the field reports for open sets."""

from __future__ import annotations

import numpy as np

MANY, FEW = 100, 20  # many-shot from 100 training photos on, few-shot up to 20


def shot_group(train_count: int) -> str:
    """`many`, `medium` or `few`, by a class's number of training photos."""
    return "many" if train_count >= MANY else "few" if train_count <= FEW else "medium"


def closed_set(predicted: np.ndarray, truth: np.ndarray, train_counts: list[int]) -> dict[str, float]:
    """Top-1, the macro average over classes, and the macro average of each shot group."""
    groups: dict[str, list[float]] = {"many": [], "medium": [], "few": []}
    for index, count in enumerate(train_counts):
        of_class = truth == index
        if of_class.any():
            groups[shot_group(count)].append(float((predicted[of_class] == index).mean()))
    every = [accuracy for group in groups.values() for accuracy in group]
    result = {"top1": float((predicted == truth).mean()), "macro": float(np.mean(every))}
    return result | {name: float(np.mean(group)) for name, group in groups.items() if group}


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Chance that a known photo scores above an unknown one; ties count half."""
    scores = np.concatenate([known, unknown])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank of each tie, from 1
    n, m = len(known), len(unknown)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def threshold_accepting(known: np.ndarray, share: float) -> float:
    """The largest threshold t such that at least `share` of the known scores are >= t."""
    ordered = np.sort(known)[::-1]
    return float(ordered[int(np.ceil(share * len(ordered))) - 1])


def fpr_at(known: np.ndarray, unknown: np.ndarray, share: float = 0.95) -> float:
    """Share of unknown photos accepted at the threshold that accepts `share` of the known."""
    return float((unknown >= threshold_accepting(known, share)).mean())


def f_measure(known_right: int, known_wrong: int, open_accepted: int) -> float:
    """The authors' F since 2020-01-29: a known photo called anything else is a false positive, an
    open photo called a class is a false negative."""
    if known_right == 0:
        return 0.0
    precision = known_right / (known_right + known_wrong)
    recall = known_right / (known_right + open_accepted)
    return 2 * precision * recall / (precision + recall)


def oscr(known: np.ndarray, right: np.ndarray, unknown: np.ndarray) -> float:
    """Area under the open-set classification rate curve: correct and accepted known photos against
    accepted unknown ones, over all thresholds."""
    thresholds = np.unique(np.concatenate([known, unknown]))[::-1]
    ordered_right, ordered_unknown = np.sort(known[right]), np.sort(unknown)
    accepted_right = len(ordered_right) - np.searchsorted(ordered_right, thresholds, side="left")
    accepted_unknown = len(ordered_unknown) - np.searchsorted(ordered_unknown, thresholds, side="left")
    x = np.concatenate([[0.0], accepted_unknown / len(unknown)])
    y = np.concatenate([[0.0], accepted_right / len(known)])
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())
