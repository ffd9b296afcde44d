"""Cached activations of the frozen early blocks.

Most of a network's time goes into its first, high-resolution blocks, and those hardly change when
a pretrained backbone is tuned to a small set. They are run once over the photos (and over a few
random views of each training photo), and training reads their output from disk.
"""

from __future__ import annotations

import ctypes
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .augment import random_view
from .backbone import Lite
from .data import Preprocess, Sample, load_photo
from .grounds import Grounds

BATCH = 16
GROUND = 7  # tells the random numbers of a ground from those of the view


def keep_freed_memory() -> None:
    """Lets glibc reuse large freed blocks: else each activation is mapped and zeroed anew, which
    can cost more than the convolution that fills it. Elsewhere than on glibc this does nothing."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):
        pass


def activations(path: Path, net: Lite, blocks: int, samples: list[Sample], preprocess: Preprocess,
                view: int | None, seed: int, what: str, turn: bool = False, grounds: Grounds | None = None) -> np.ndarray:
    """Float16 activations `[n, C, H, W]` behind `blocks` blocks, from `path` or computed into it.

    `view` None is the preprocessing of the test; a number is that random view of each photo, turned
    by quarters too if `turn`, and on another photo's ground where `grounds` says so.
    """
    key = {"blocks": blocks, "preprocess": preprocess.to_json(), "view": view, "seed": seed,
           "photos": [str(s.path) for s in samples]} | ({"turn": True} if turn else {})
    if grounds is not None and view is not None:
        key["grounds"] = grounds.key()
    if net.name != "lite0":
        key["backbone"] = net.name
    key_path = path.with_suffix(".json")
    if path.exists() and key_path.exists() and json.loads(key_path.read_text()) == json.loads(json.dumps(key)):
        return np.load(path, mmap_mode="r")
    key_path.unlink(missing_ok=True)
    device = net.stem.weight.device

    @torch.no_grad()
    def run(start: int) -> np.ndarray:
        images = [_input(s, preprocess, view, seed, start + i, turn, grounds) for i, s in enumerate(samples[start:start + BATCH])]
        batch = torch.from_numpy(np.stack(images)).to(device).contiguous(memory_format=torch.channels_last)
        return net.early(batch, blocks).cpu().numpy()

    starts = range(0, len(samples), BATCH)
    out = np.lib.format.open_memmap(path, "w+", np.float16, (len(samples), *run(0).shape[1:]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # whole batches side by side: no thread waits for another within a layer
    try:
        with ThreadPoolExecutor(threads) as pool:
            for start, y in zip(tqdm(starts, desc=what, unit="batch"), pool.map(run, starts)):
                out[start:start + len(y)] = y
    finally:
        torch.set_num_threads(threads)
    out.flush()
    key_path.write_text(json.dumps(key))  # last: a file without its key is incomplete
    return np.load(path, mmap_mode="r")


def _input(sample: Sample, preprocess: Preprocess, view: int | None, seed: int, index: int, turn: bool,
           grounds: Grounds | None) -> np.ndarray:
    photo = load_photo(sample.path)
    if view is None:
        return preprocess(photo)
    if grounds is not None:
        photo = grounds.view(photo, sample.path, np.random.default_rng((seed, view, index, GROUND)))
    return random_view(photo, preprocess, np.random.default_rng((seed, view, index)), turn)
