"""What answers are made of. All of it can be compared, copied, and sent to other processes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Optional

from . import _oltr


@dataclass(frozen=True)
class Class:
    """A class that a bundle knows."""

    label: str
    """Its id, as the file of labels names it."""
    name: str
    """Its name for people."""
    train_count: int
    """Photos of it in the training set."""


@dataclass(frozen=True)
class Nearest:
    """The known class that a photo resembles most: the one whose centroid is nearest."""

    label: str
    class_index: int
    distance: float
    name: str


@dataclass(frozen=True)
class Candidate:
    """One of the most probable classes."""

    label: str
    class_index: int
    probability: float
    name: str


@dataclass(frozen=True)
class Enrolled:
    """A class learnt on the device."""

    name: str
    photos: int
    """Photos that it was learnt from."""
    radius: float
    """Distance from its centroid up to which photos get its name."""


@dataclass(frozen=True)
class EnrolledAs:
    """The enrolled class that a photo is of."""

    label: str
    distance: float
    radius: float


@dataclass(frozen=True)
class Taxon:
    """The narrowest name that is right as often as the bundle promises."""

    rank: str
    """`label` for one class, `species` to `kingdom` for a taxon."""
    name: str
    """The taxon; of one class its name for people."""
    probability: float
    """Sum of the probabilities of its classes, 0 to 1; of an event the mean over its frames."""
    gbif: Optional[int]
    """Key of the GBIF backbone, where the bundle has it."""
    worms: Optional[int]
    """AphiaID of the World Register of Marine Species, where the bundle has it."""
    of: Optional[tuple[str, str]]
    """Of one class: rank and name of the narrowest taxon that it is of, where the bundle has it."""


@dataclass(frozen=True)
class Answer:
    """What one photo shows, and why. Its numbers are those of the program's JSON."""

    decision: str
    """`known` or `open`."""
    label: Optional[str]
    """Id of the class, or the name of an enrolled one; None if open."""
    class_index: Optional[int]
    """Its place among the logits; None if open or enrolled."""
    name: Optional[str]
    """Its name for people; None if open."""
    probability: float
    """Of the most probable class, 0 to 1."""
    reachability: float
    """10 / distance to the nearest centroid."""
    threshold: float
    """The reachability that a photo of the most probable class needs."""
    nearest: Nearest
    shot: Optional[str]
    """`many`, `medium` or `few`, by the number of training photos; None if open or enrolled."""
    top: tuple[Candidate, ...]
    """The most probable classes, best first."""
    enrolled: Optional[EnrolledAs] = None
    taken: Optional[dict[str, Any]] = field(default=None, compare=False)
    """When the photo was taken, from EXIF: time, offset, subsecond."""
    place: Optional[dict[str, Any]] = field(default=None, compare=False)
    """Where: latitude, longitude, altitude."""
    camera: Optional[dict[str, Any]] = field(default=None, compare=False)
    """With what: make, model, serial."""
    taxon: Optional[Taxon] = None
    """The name that is sure enough; None where none is, and of a bundle that tells no names."""

    @property
    def is_known(self) -> bool:
        """Whether it names a class, known or enrolled."""
        return self.decision == "known"

    def __str__(self) -> str:
        return "open" if self.name is None else f"known {self.name}"


@dataclass(frozen=True)
class Event:
    """Something that was there for a while."""

    type: str
    """`new`, `update` or `end`."""
    id: int
    """Counts the events of one stream from 1."""
    decision: str
    label: Optional[str]
    name: Optional[str]
    reason: Optional[str]
    """Why it ended: `gone`, `silence`, `crowded` or `finished`; None while it goes on. Streams of things that move, which the
    program has, also say `left`, `stayed` and `camera`."""
    first: float
    """Time of its first frame, in seconds."""
    last: float
    """Time of its last frame."""
    frames: int
    """Frames that said so."""
    best_frame: int
    """Number of the frame that shows it best."""
    best_time: float
    probability: float
    """Mean over its frames."""
    reachability: float
    """Mean over its frames."""
    nearest: Optional[str]
    """Label of what its best frame resembles."""
    taxon: Optional[Taxon] = None
    """The narrowest name that most of its frames were told; None as in `Answer`."""


def answer(
    first: Any, nearest: Any, shot: Optional[str], top: Any, enrolled: Any, origin: Optional[str], taxon: Any
) -> Answer:
    """An answer of what the extension module tells."""
    values: list[Any] = [
        *first,
        Nearest(*nearest),
        shot,
        tuple(Candidate(*candidate) for candidate in top),
        None if enrolled is None else EnrolledAs(*enrolled),
    ]
    more: dict[str, Any] = {} if origin is None else json.loads(origin)
    return Answer(*values, **{**more, "taxon": taxon and Taxon(*taxon)})


def event(first: Any, reason: Optional[str], span: Any, scores: Any, taxon: Any) -> Event:
    """An event of what the extension module tells."""
    values: list[Any] = [*first, reason, *span, *scores, taxon and Taxon(*taxon)]
    return Event(*values)


def model(path: Optional[str], enrolled: Optional[str], threads: int) -> _oltr.Model:
    """The model that was sent to this process, with the enrolled classes of the file `enrolled`, or none."""
    return _oltr.Model(path, enrolled=False if enrolled is None else enrolled, threads=threads)
