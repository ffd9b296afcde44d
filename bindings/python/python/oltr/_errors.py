"""The exceptions: one base, one class for each kind of the library's errors."""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """What went wrong, where, and what to do about it. `kind` is the word that the program's JSON has."""

    kind: ClassVar[str] = "internal"


class NotFoundError(Error, FileNotFoundError):
    """A file or folder does not exist."""

    kind = "not-found"


class IoError(Error, OSError):
    """The operating system failed to read or write."""

    kind = "io"


class BadImageError(Error, ValueError):
    """A photo cannot be decoded."""

    kind = "bad-image"


class BadModelError(Error, ValueError):
    """A model file is damaged, or has what oltr cannot run."""

    kind = "bad-model"


class LimitError(Error, ValueError):
    """Something is larger than its bound; nothing was allocated for it."""

    kind = "limit"


class BadInputError(Error, ValueError):
    """A value does not fit: the shape of an array, a name, a range."""

    kind = "bad-input"


class BadTypeError(BadInputError, TypeError):
    """A value is of the wrong type."""


class UnavailableError(Error, OSError):
    """A source is not there."""

    kind = "unavailable"


class BusyError(Error, RuntimeError):
    """Another thread or process holds what is needed."""

    kind = "busy"


class ConfigError(Error, ValueError):
    """Settings contradict each other."""

    kind = "config"


class InternalError(Error, RuntimeError):
    """A defect of oltr itself."""

    kind = "internal"


_KINDS: dict[str, type[Error]] = {
    kind.kind: kind
    for kind in (
        NotFoundError,
        IoError,
        BadImageError,
        BadModelError,
        LimitError,
        BadInputError,
        UnavailableError,
        BusyError,
        ConfigError,
        InternalError,
    )
}
_KINDS["bad-type"] = BadTypeError


def of(kind: str, text: str) -> Error:
    """The exception of this kind."""
    return _KINDS.get(kind, Error)(text)
