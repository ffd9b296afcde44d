"""Checkpoints of the published OLTR implementation, read without its code.

`final_model_checkpoint.pth` is a dictionary with `state_dict_best` = {`feat_model`, `classifier`},
whose keys carry the prefix `module.` that parallel training gives them, and `centroids [K, D]`:

    feat_model   conv1, bn1, layer1..layer4      ResNet-10 or ResNet-152
                 modulatedatt.{g,theta,phi,conv_mask,fc_spatial}   optional, for a 7 x 7 map
                 fc_add                          optional: C -> D, followed by ReLU
    classifier   fc_hallucinator, fc_selector, cosnorm_classifier.weight

Every tensor is accounted for: a missing, misshapen or unknown one is named, none is ignored but the
counters of the batch normalisations. Only tensors and plain values are unpickled.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .attention import ModulatedAttention
from .head import OpenHead
from .resnet import STRIDE, ResNet, ResNetShape, fold

SIZE = 224  # pixels that the published attention is fixed to
MAP = SIZE // STRIDE
MOST_BLOCKS = 64  # of a stage; ResNet-152 has 36
ATTENTION_PARTS = {"g": "g", "theta": "theta", "phi": "phi", "conv_mask": "mask", "fc_spatial": "spatial"}


class CheckpointError(ValueError):
    """The file is not a checkpoint of the published implementation; the message says what is wrong."""


class PublishedOltr(nn.Module):
    """The published network: `image [B, 3, 224, 224]` to `(logits [B, K], distances [B, K], features [B, D])`."""

    def __init__(self, shape: ResNetShape, attention: bool, dim: int | None, classes: int):
        super().__init__()
        self.backbone = ResNet(shape)
        self.attention = ModulatedAttention(shape.channels, MAP, MAP) if attention else None
        self.fc = nn.Linear(shape.channels, dim) if dim else None
        self.dim = dim or shape.channels
        self.head = OpenHead(self.dim, classes)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        f = self.backbone(image)
        if self.attention is not None:
            f = self.attention(f)
        v = f.mean((2, 3))
        if self.fc is not None:
            v = F.relu(self.fc(v))
        logits, distances = self.head(v)
        return logits, distances, v


def load_published(path: Path) -> PublishedOltr:
    """The network of a checkpoint; raises `CheckpointError` naming the file and what is wrong in it."""
    content = _unpickled(path)
    try:
        return _network(_Tensors(_part(content, "feat_model")), _Tensors(_part(content, "classifier")), content.get("centroids"))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _unpickled(path: Path) -> dict:
    try:
        # PyTorch's own restricted unpickler does not read a Python float before 2.1, and the best accuracy is one.
        _check_globals(path)
        content = torch.load(path, map_location="cpu", pickle_module=_Plain, weights_only=False)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # whatever the restricted unpickler trips over
        raise CheckpointError(f"{path}: not a PyTorch checkpoint with plain tensors ({_first_line(error)}); "
                              "name the final_model_checkpoint.pth of stage 2") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, not a dictionary; "
                              "name the final_model_checkpoint.pth of stage 2")
    return content


# What a checkpoint of tensors and plain values is made of: nothing here runs code that the file brings.
_GLOBALS = {
    "collections": {"OrderedDict"},
    "torch": {"Size", "device", "dtype"},
    "torch._utils": {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"},
    "torch.nn.parameter": {"Parameter"},
    # The best accuracy may be a NumPy number, which is plain data too.
    "numpy": {"dtype"},
    "numpy.core.multiarray": {"scalar"},
    "numpy._core.multiarray": {"scalar"},
    "_codecs": {"encode"},
}


def _is_plain(module: str, name: str) -> bool:
    storage = module in ("torch", "torch.storage") and name.endswith("Storage")
    return storage or name in _GLOBALS.get(module, ())


def _check_globals(path: Path) -> None:
    """Raises where a file names anything but tensors and plain values, before a byte of it is unpickled.

    PyTorch 1.13.0 reads with its own `pickle` whatever `pickle_module` says, so that the file is looked through first.
    """
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as parts:
                streams = [(io.BytesIO(parts.read(name)), 1) for name in parts.namelist() if name.endswith(".pkl")]
        else:
            # An old file: magic number, version, system, content and keys of storages, then their bytes.
            streams = [(io.BytesIO(file.read()), 5)]
    if not streams:
        raise pickle.UnpicklingError("it holds no pickle")
    for stream, pickles in streams:
        for _ in range(pickles):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST") and not _is_plain(*argument.split(" ", 1)):
                    raise pickle.UnpicklingError(f"it holds {argument.replace(' ', '.')}")
                # PyTorch writes protocol 2, which has neither of these.
                if opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                    raise pickle.UnpicklingError("it is pickled by a protocol that PyTorch does not write")


class _Unpickler(pickle.Unpickler):
    """Reads tensors and plain values, and refuses everything else."""

    def find_class(self, module: str, name: str) -> object:
        if not _is_plain(module, name):
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return super().find_class(module, name)


class _Plain:
    """Stands for the module `pickle` where PyTorch reads."""

    Unpickler = _Unpickler
    UnpicklingError = pickle.UnpicklingError
    __name__ = "oltr_models.published._Plain"

    @staticmethod
    def load(file: object, **options: object) -> object:
        """As `pickle.load`."""
        return _Unpickler(file, **options).load()


def _first_line(error: Exception) -> str:
    """What the unpickler tripped over, without the advice to trust the file."""
    text = str(error).split("WeightsUnpickler error:")[-1].strip()
    return (text.splitlines() or [type(error).__name__])[0][:120]


def _part(content: dict, name: str) -> dict:
    states = content.get("state_dict_best")
    if not isinstance(states, dict) or not isinstance(states.get(name), dict):
        raise CheckpointError(f"no state_dict_best.{name}; not a checkpoint of the published OLTR code")
    return states[name]


class _Tensors:
    """The tensors of one part, by name without `module.`; remembers which were used."""

    def __init__(self, state: dict):
        # Early checkpoints call the modulated attention `selfatt`.
        names = {k: re.sub("^selfatt\\.", "modulatedatt.", k.removeprefix("module.")) for k in state}
        self.state = {names[k]: v for k, v in state.items()
                      if isinstance(v, torch.Tensor) and not k.endswith("num_batches_tracked")}
        self.used: set[str] = set()
        self.missing: list[str] = []
        self.misshapen: list[str] = []

    def has(self, prefix: str) -> bool:
        """Whether any tensor's name starts so."""
        return any(name.startswith(prefix) for name in self.state)

    def take(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """The tensor as float32; what is wrong is collected, so that one message can name all of it."""
        self.used.add(name)
        value = self.state.get(name)
        if value is None:
            self.missing.append(name)
        elif tuple(value.shape) != shape:
            self.misshapen.append(f"{name} is {_size(value.shape)}, not {_size(shape)}")
        elif not torch.isfinite(value).all():
            self.misshapen.append(f"{name} has values that are not finite")
        else:
            return value.float()
        return torch.ones(shape)

    def into(self, layer: nn.Module, name: str) -> None:
        """Fills a layer's weight and, where it has one, its bias."""
        with torch.no_grad():
            layer.weight.copy_(self.take(name + ".weight", tuple(layer.weight.shape)))
            if layer.bias is not None:
                layer.bias.copy_(self.take(name + ".bias", tuple(layer.bias.shape)))

    def verify(self, part: str) -> None:
        """Raises if anything was missing, misshapen or is left over."""
        left = sorted(self.state.keys() - self.used)
        for problem, names in (("lacks", self.missing), ("has wrong shapes or values:", self.misshapen), ("has unknown tensors:", left)):
            if names:
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                raise CheckpointError(f"{part} {problem} {', '.join(names[:8])}{more}")


def _size(shape) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _network(features: _Tensors, classifier: _Tensors, centroids: object) -> PublishedOltr:
    if not classifier.has("cosnorm_classifier.") and classifier.has("fc."):
        raise CheckpointError("classifier is the plain one of stage 1; name the checkpoint of stage 2 (meta-embedding)")
    if not isinstance(centroids, torch.Tensor) or centroids.ndim != 2:
        raise CheckpointError("no centroids [classes, features]; only stage 2 (meta-embedding) writes them")
    shape = _resnet_shape(features)
    classes, dim = centroids.shape
    has_fc = features.has("fc_add.")
    if not has_fc and dim != shape.channels:
        raise CheckpointError(f"centroids have {dim} features, but without fc_add the network has {shape.channels}")
    net = PublishedOltr(shape, features.has("modulatedatt."), dim if has_fc else None, classes)
    for weight, norm, conv in net.backbone.convolutions():
        values = [features.take(f"{norm}.{name}", (conv.out_channels,)) for name in ("weight", "bias", "running_mean", "running_var")]
        fold(conv, features.take(weight + ".weight", tuple(conv.weight.shape)), *values)
    if net.attention is not None:
        for theirs, ours in ATTENTION_PARTS.items():
            features.into(getattr(net.attention, ours), "modulatedatt." + theirs)
    if net.fc is not None:
        features.into(net.fc, "fc_add")
    features.verify("feat_model")
    classifier.into(net.head.hallucinator, "fc_hallucinator")
    classifier.into(net.head.selector, "fc_selector")
    with torch.no_grad():
        net.head.weight.copy_(classifier.take("cosnorm_classifier.weight", (classes, dim)))
        net.head.centroids.copy_(centroids.float())
    classifier.verify("classifier")
    if not torch.isfinite(net.head.centroids).all():
        raise CheckpointError("centroids have values that are not finite")
    return net.eval()


def _resnet_shape(features: _Tensors) -> ResNetShape:
    """Blocks of each stage, from the tensors' names."""
    blocks = [0, 0, 0, 0]
    for name in features.state:
        match = re.match(r"layer([1-4])\.(\d+)\.", name)
        if match:
            stage = int(match[1]) - 1
            blocks[stage] = max(blocks[stage], int(match[2]) + 1)
    if max(blocks) > MOST_BLOCKS:
        raise CheckpointError(f"feat_model has {max(blocks)} blocks in a stage; at most {MOST_BLOCKS} are read")
    if 0 in blocks:
        raise CheckpointError(f"feat_model lacks layer{blocks.index(0) + 1}; only ResNets as published are read")
    return ResNetShape(tuple(blocks), any(re.match(r"layer\d\.\d+\.conv3\.", name) for name in features.state))
