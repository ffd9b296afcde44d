"""A trained network on disk, with all that `export` needs to know about it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from .data import Preprocess
from .network import Architecture, Oltr


@dataclasses.dataclass
class Checkpoint:
    """Weights, shapes, preprocessing, classes, and how they came about."""

    net: Oltr
    preprocess: Preprocess
    classes: list[str]
    train_counts: list[int]
    options: dict  # the command line that made it, for the model card

    def save(self, path: Path) -> None:
        """Writes the checkpoint; an older one is replaced only once the new one is complete."""
        about = {
            "architecture": dataclasses.asdict(self.net.arch),
            "preprocess": self.preprocess.to_json(),
            "classes": self.classes,
            "train_counts": self.train_counts,
            "options": self.options,
        }
        save(path, {"about": json.dumps(about), "state": self.net.state_dict()})

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """The inverse of `save`; loads tensors and plain values only."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # whatever the restricted unpickler trips over
            raise ValueError(f"{path}: not a PyTorch file with plain tensors; name the best.pt that `train` wrote") from error
        if not isinstance(content, dict) or content.keys() != {"about", "state"}:
            raise ValueError(f"{path}: not a checkpoint of `python -m oltr_models.train`")
        about = json.loads(content["about"])
        net = Oltr(Architecture(**about["architecture"]))
        net.load_state_dict(content["state"])
        return cls(net.eval(), Preprocess.from_json(about["preprocess"]), about["classes"], about["train_counts"], about["options"])


def save(path: Path, content: dict) -> None:
    """Writes tensors and text; an older file is replaced only once the new one is complete.

    Text stands for everything that is not a tensor: the restricted unpickler of older PyTorch reads
    neither floats nor `None`.
    """
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    part.replace(path)
