"""What users write, as mypy reads it. Not run."""

from pathlib import Path
from typing import Iterator, Optional

import numpy
from PIL import Image

import oltr

model = oltr.Model(Path("fish.onnx"), enrolled=False, threads=2)
answer: oltr.Answer = model.classify("photo.jpg", top=3)
name: Optional[str] = answer.name
number: float = answer.probability + answer.nearest.distance + answer.top[0].probability
array: oltr.Answer = model.classify(numpy.zeros((2, 2, 3), numpy.uint8))
encoded: oltr.Answer = model.classify(b"")
picture: oltr.Answer = model.classify(Image.new("RGB", (2, 2)))
with model.session() as session:
    same: oltr.Answer = session.classify(Path("photo.jpg"))
events: Iterator[oltr.Event] = oltr.stream(model, ["a.jpg"], fps=5)
labels: list[str] = [known.label for known in model.classes]
taxon: Optional[oltr.Taxon] = answer.taxon
threshold: float = oltr.calibrate([1.0], numpy.zeros(2)).threshold
try:
    model.enrol("cup", ["a.jpg", b""]).radius
except oltr.BadInputError as error:
    kind: str = error.kind
