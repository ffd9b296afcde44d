"""oltr recognises the long tail at the edge and says *open* for what it does not know.

    import oltr

    model = oltr.Model()                      # the bundle that is built in; or oltr.Model("fish.onnx")
    answer = model.classify("cup.jpg")        # a path, bytes, a picture of Pillow's, an array of height x width x 3 bytes
    print(answer.decision, answer.name, answer.reachability)

Threads may share a `Model`; work is done without the interpreter's lock. Every exception is an `Error`.
"""

from ._calibrate import Threshold, calibrate
from ._errors import (
    BadImageError,
    BadInputError,
    BadModelError,
    BadTypeError,
    BusyError,
    ConfigError,
    Error,
    InternalError,
    IoError,
    LimitError,
    NotFoundError,
    UnavailableError,
)
from ._oltr import Model, Session, __version__
from ._stream import stream
from ._types import Answer, Candidate, Class, Enrolled, EnrolledAs, Event, Nearest, Taxon

__all__ = [
    "Answer",
    "BadImageError",
    "BadInputError",
    "BadModelError",
    "BadTypeError",
    "BusyError",
    "Candidate",
    "Class",
    "ConfigError",
    "Enrolled",
    "EnrolledAs",
    "Error",
    "Event",
    "InternalError",
    "IoError",
    "LimitError",
    "Model",
    "Nearest",
    "NotFoundError",
    "Session",
    "Taxon",
    "Threshold",
    "UnavailableError",
    "__version__",
    "calibrate",
    "stream",
]
