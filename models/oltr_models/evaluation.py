"""What a bundle answers on labelled photos, and the figures that follow from it."""

from __future__ import annotations

import dataclasses

import numpy as np
from tqdm import tqdm

from . import metrics
from .bundle import Runner
from .data import Sample, load_photo
from .head import REACHABILITY


@dataclasses.dataclass
class Answers:
    """The outputs for n photos, in the order of the samples."""

    logits: np.ndarray  # [n, K]
    distances: np.ndarray  # [n, K]

    @property
    def label(self) -> np.ndarray:
        """The most probable class of each photo."""
        return self.logits.argmax(1)

    @property
    def reachability(self) -> np.ndarray:
        """10 / d_min of each photo."""
        return REACHABILITY / np.maximum(self.distances.min(1), 1e-12)

    @property
    def probability(self) -> np.ndarray:
        """The largest softmax probability of each photo."""
        shifted = np.exp(self.logits - self.logits.max(1, keepdims=True))
        return 1 / shifted.sum(1)


def run_samples(runner: Runner, samples: list[Sample], what: str) -> Answers:
    """The answers of a bundle on photos read from disk."""
    outputs = [runner(runner.preprocess(load_photo(s.path))) for s in tqdm(samples, desc=what, unit="photo")]
    return Answers(*(np.concatenate([o[name] for o in outputs]) for name in ("logits", "distances")))


def class_indices(samples: list[Sample], ids: list[str]) -> np.ndarray:
    """The index of each sample's class among the logits."""
    index = {c: i for i, c in enumerate(ids)}
    return np.array([index[s.cls] for s in samples], int)


def figures(known: Answers, truth: np.ndarray, unknown: Answers | None, counts: list[int], threshold: float,
            score: str = "reachability") -> dict:
    """All rates of one split, in 0..1; without unknown photos only the closed-set ones.

    `score` decides what is open: below `threshold`. The other one's AUROC is given beside it.
    """
    right = known.label == truth
    of_known = getattr(known, score)
    accepted = of_known >= threshold
    result = {"closed": metrics.closed_set(known.label, truth, counts), "threshold": threshold, "score": score}
    opened = metrics.closed_set(np.where(accepted, known.label, -1), truth, counts)
    result["open_set"] = opened | {"known_called_open": float(1 - accepted.mean())}
    if unknown is not None and len(unknown.logits):
        of_unknown = getattr(unknown, score)
        false_known = of_unknown >= threshold
        right_and_accepted = int((right & accepted).sum())
        result["open_set"] |= {
            "f_measure": metrics.f_measure(right_and_accepted, len(truth) - right_and_accepted, int(false_known.sum())),
            "f_formula": "2020-01-29",
            "open_called_known": float(false_known.mean()),
            "auroc": metrics.auroc(of_known, of_unknown),
            "fpr95": metrics.fpr_at(of_known, of_unknown),
            "oscr": metrics.oscr(of_known, right, of_unknown),
            "auroc_max_probability": metrics.auroc(known.probability, unknown.probability),
        }
    return result
