"""Streams: many frames of one camera, and the events that they agree on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Optional, Union, overload

from ._oltr import Model, Watcher
from ._types import Answer, Event


@overload
def stream(model: Model, frames: Iterable[Any], *, fps: Optional[float] = ..., per_frame: Literal[False] = ...,
           window: int = ..., begin: int = ..., keep: int = ..., min_duration: float = ..., linger: float = ...,
           gap: float = ..., update_every: float = ...) -> Iterator[Event]: ...
@overload
def stream(model: Model, frames: Iterable[Any], *, fps: Optional[float] = ..., per_frame: bool,
           window: int = ..., begin: int = ..., keep: int = ..., min_duration: float = ..., linger: float = ...,
           gap: float = ..., update_every: float = ...) -> Iterator[Union[Answer, Event]]: ...
def stream(
    model: Model,
    frames: Iterable[Any],
    *,
    fps: Optional[float] = None,
    per_frame: bool = False,
    window: int = 5,
    begin: int = 3,
    keep: int = 2,
    min_duration: float = 0.0,
    linger: float = 2.0,
    gap: float = 10.0,
    update_every: float = 1.0,
) -> Iterator[Union[Answer, Event]]:
    """Yields an `Event` when something comes, goes on or ends; with `per_frame` also the `Answer` of each frame, before them.

    Of the last `window` frames `begin` must say the same for an event, and `keep` for it to go on. It ends after `linger`
    seconds without, and after a pause of `gap` seconds. Frames are what `Model.classify` takes, each as it arrives; with `fps`
    the times are those of a recording instead. Nothing is read ahead and nothing is kept: a stream may go on for ever.
    """
    if fps is not None and not 0.001 <= fps <= 100_000:
        from ._errors import BadInputError

        raise BadInputError(f"fps: {fps}; must be a number above 0")
    watcher = Watcher(model, window, begin, keep, min_duration, linger, gap, update_every)
    return _events(watcher, frames, fps, per_frame)


def _events(
    watcher: Watcher, frames: Iterable[Any], fps: Optional[float], per_frame: bool
) -> Iterator[Union[Answer, Event]]:
    start = time.monotonic()
    for number, frame in enumerate(frames):
        answer, events = watcher.observe(frame, time.monotonic() - start if fps is None else number / fps)
        if per_frame:
            yield answer
        yield from events
    yield from watcher.finish()
