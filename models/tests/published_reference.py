"""The published network in NumPy, with unfolded batch normalisations and the formulas as printed.

Independent of the package: it reads a checkpoint's dictionary by the published names and shares no
code with the graphs that the tests compare it with.
"""

from __future__ import annotations

import numpy as np


def conv(x: np.ndarray, w: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
    """`x [C, H, W]` by `w [O, C, k, k]`."""
    k = w.shape[2]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(w, windows, axes=([1, 2, 3], [0, 3, 4]))


def batch_norm(x: np.ndarray, p: dict, name: str) -> np.ndarray:
    """With the running statistics, as at test time."""
    gain, bias, mean, var = (p[f"{name}.{n}"][:, None, None] for n in ("weight", "bias", "running_mean", "running_var"))
    return (x - mean) / np.sqrt(var + 1e-5) * gain + bias


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def block(x: np.ndarray, p: dict, name: str, stride: int) -> np.ndarray:
    """A basic block or, with a third convolution, a bottleneck."""
    if f"{name}.conv3.weight" in p:
        y = np.maximum(batch_norm(conv(x, p[f"{name}.conv1.weight"]), p, f"{name}.bn1"), 0)
        y = np.maximum(batch_norm(conv(y, p[f"{name}.conv2.weight"], stride, 1), p, f"{name}.bn2"), 0)
        y = batch_norm(conv(y, p[f"{name}.conv3.weight"]), p, f"{name}.bn3")
    else:
        y = np.maximum(batch_norm(conv(x, p[f"{name}.conv1.weight"], stride, 1), p, f"{name}.bn1"), 0)
        y = batch_norm(conv(y, p[f"{name}.conv2.weight"], 1, 1), p, f"{name}.bn2")
    if f"{name}.downsample.0.weight" in p:
        x = batch_norm(conv(x, p[f"{name}.downsample.0.weight"], stride), p, f"{name}.downsample.1")
    return np.maximum(y + x, 0)


def attention(f: np.ndarray, p: dict) -> tuple[np.ndarray, np.ndarray]:
    """`f + MA * SA` and MA for `f [C, H, W]`."""
    channels, height, width = f.shape
    n = height * width

    def project(name: str) -> np.ndarray:
        return conv(f, p[f"modulatedatt.{name}.weight"]).reshape(-1, n) + p[f"modulatedatt.{name}.bias"][:, None]

    affinity = softmax(project("theta").T @ project("phi"))
    mixed = (affinity @ project("g").T).T.reshape(channels // 2, height, width)
    self_attention = conv(mixed, p["modulatedatt.conv_mask.weight"])
    spatial = softmax(p["modulatedatt.fc_spatial.weight"] @ f.ravel() + p["modulatedatt.fc_spatial.bias"])
    modulation = spatial.reshape(1, height, width)
    return f + modulation * self_attention, modulation


def forward(image: np.ndarray, checkpoint: dict) -> dict[str, np.ndarray]:
    """`image [3, 224, 224]` to the outputs by name, each with a batch axis."""
    def plain(state: dict) -> dict:
        return {k.replace("module.", "", 1): v.numpy().astype(np.float64) for k, v in state.items()}

    p, c = (plain(checkpoint["state_dict_best"][part]) for part in ("feat_model", "classifier"))
    centroids = checkpoint["centroids"].numpy().astype(np.float64)
    x = np.maximum(batch_norm(conv(image.astype(np.float64), p["conv1.weight"], 2, 3), p, "bn1"), 0)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2].max((3, 4))
    for stage in range(1, 5):
        index = 0
        while f"layer{stage}.{index}.conv1.weight" in p:
            x = block(x, p, f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1)
            index += 1
    outputs = {}
    if "modulatedatt.g.weight" in p:
        x, modulation = attention(x, p)
        outputs["attention"] = modulation[None]
    v = x.mean((1, 2))
    if "fc_add.weight" in p:
        v = np.maximum(p["fc_add.weight"] @ v + p["fc_add.bias"], 0)
    distances = np.linalg.norm(v - centroids, axis=1)
    reachability = 10 / distances.min()
    memory = softmax(c["fc_hallucinator.weight"] @ v + c["fc_hallucinator.bias"]) @ centroids
    selector = np.tanh(c["fc_selector.weight"] @ v + c["fc_selector.bias"])
    meta = reachability * (v + selector * memory)
    squashed = meta / (1 + np.linalg.norm(meta))
    weight = c["cosnorm_classifier.weight"]
    logits = 16 * (weight / np.linalg.norm(weight, axis=1, keepdims=True)) @ squashed
    return outputs | {"features": v[None], "distances": distances[None], "logits": logits[None]}
