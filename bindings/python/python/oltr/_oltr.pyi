import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Optional, Protocol, Union

from typing_extensions import Buffer

from ._types import Answer, Class, Enrolled, Event

__version__: str

class _Picture(Protocol):
    """A picture of Pillow's."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def mode(self) -> str: ...
    def tobytes(self) -> bytes: ...

class _Array(Protocol):
    """What NumPy can look into."""

    def __array__(self) -> Any: ...

Photo = Union[str, os.PathLike[str], Buffer, _Picture, _Array]
"""A path, the bytes of a file, a picture of Pillow's, or an array of height x width x 3 bytes."""

class Model:
    """A bundle: a network with its classes and its rule for what is open. Threads may share it."""

    def __init__(
        self,
        path: Optional[Union[str, os.PathLike[str]]] = None,
        *,
        enrolled: Union[str, os.PathLike[str], bool, None] = None,
        threads: int = 1,
    ) -> None:
        """Loads the bundle at `path`, or the one that is built in.

        `enrolled` is a file of classes learnt on the device. None takes the one beside the bundle, if there is one; False none.
        `threads` is how many threads work on one photo.
        """
    def classify(self, photo: Photo, *, top: int = 5) -> Answer:
        """What `photo` shows, with the `top` most probable classes."""
    def run(self, photo: Photo) -> dict[str, Any]:
        """The network's outputs: `logits`, `distances` and `features`, as NumPy arrays of float32 (lists without NumPy)."""
    def session(self) -> Session:
        """The buffers of one photo at a time, for one thread that wants them for itself."""
    def enrol(self, name: str, photos: Iterable[Photo]) -> Enrolled:
        """Learns the class `name` from 2 to 64 photos, or replaces it."""
    def forget(self, name: str) -> None:
        """Removes an enrolled class."""
    @property
    def enrolled(self) -> list[str]:
        """Names of the enrolled classes."""
    def save_enrolled(self, path: Optional[Union[str, os.PathLike[str]]] = None) -> os.PathLike[str]:
        """Writes the enrolled classes, where the program finds them too; returns the path."""
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Optional[os.PathLike[str]]: ...
    @property
    def sha256(self) -> str: ...
    @property
    def classes(self) -> tuple[Class, ...]:
        """The known classes, in the order of the logits."""
    @property
    def size(self) -> int:
        """Pixels of a side of the network's input."""
    @property
    def kernels(self) -> str:
        """Instruction set of the kernels: `avx2`, `neondot`, ..."""
    @property
    def threads(self) -> int: ...

class Session:
    """The buffers of one photo at a time, with the classes that were enrolled when it was made. For one thread."""

    def classify(self, photo: Photo, *, top: int = 5) -> Answer: ...
    def run(self, photo: Photo) -> dict[str, Any]: ...
    def close(self) -> None:
        """Gives its memory back."""
    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Session: ...
    def __exit__(
        self,
        kind: Optional[type[BaseException]] = None,
        value: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
        /,
    ) -> None: ...

class Watcher:
    def __init__(
        self,
        model: Model,
        window: int,
        begin: int,
        keep: int,
        min_duration: float,
        linger: float,
        gap: float,
        update_every: float,
    ) -> None: ...
    def observe(self, photo: Photo, time: float) -> tuple[Answer, list[Event]]: ...
    def finish(self) -> list[Event]: ...

def threshold(
    known: list[float], open: list[float], target: str
) -> tuple[float, Optional[float], Optional[float], Optional[float]]: ...
