"""Thresholds for scores of known and of open things."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from . import _oltr
from ._errors import BadTypeError


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it reaches on the scores that it was chosen by. Scores at it or above mean known."""

    threshold: float
    known_accepted: Optional[float]
    open_rejected: Optional[float]
    f_measure: Optional[float]


def calibrate(known: Iterable[float], open: Iterable[float], target: str = "known-accept=0.95") -> Threshold:
    """The threshold that serves `target` on the scores of known and of open things, by the same rules as `oltr calibrate`.

    Scores are numbers of which larger ones mean known, such as `Answer.reachability`. Targets: `known-accept=0.95`,
    `open-reject=0.9`, `max-f`, `balanced`.
    """
    try:
        numbers = [float(score) for score in known], [float(score) for score in open]
    except (TypeError, ValueError) as error:
        raise BadTypeError(f"scores: must be numbers: {error}") from error
    return Threshold(*_oltr.threshold(*numbers, target))
