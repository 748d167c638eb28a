"""Small pools made on the spot: well separated blobs, every sample different from all others."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import torch

from clbench.data.experiences import ExperiencePool
from clbench.data.pairs.generator import Difficulty
from clbench.data.pairs.generator import Generator as PairsGenerator
from clbench.data.pairs.pool import PairsPool
from clbench.data.pool import Arrays, Pool, TensorPool
from clbench.data.synbols.generator import Generator, Sources
from clbench.data.synbols.pool import SynbolsPool
from clbench.data.synbols.spec import Spec
from clbench.plugins.registry import Plugin

N_CLASSES = 6
TRAIN_PER_CLASS = 48
MANY_PER_CLASS = 320
"""Of vectors, on which is checked how well something is learnt: slow learners need the steps."""
TEST_PER_CLASS = 8

VECTOR = (16,)
"""Shape of samples that are no images."""

Kind = Literal["images", "vectors", "doubles"]


@cache
def blobs(
    kind: Kind, order: tuple[int, ...] = tuple(range(N_CLASSES)), device: str = "cpu"
) -> TensorPool:
    """Six classes of 96 (vectors: 320) training and 8 test samples around one centre each.

    Args:
        kind: ``images``: uint8 ``(8, 8)``; ``vectors``: float32 ``(16,)``; ``doubles``: float64.
        order: the label that class ``c`` goes by is ``order[c]``; the samples stay the same.
        device: where they are held.
    """
    rng = np.random.default_rng(7)
    shape = (8, 8) if kind == "images" else VECTOR
    # Dark and light for images, around zero for vectors: a few dozen steps of SGD are enough.
    levels = (0.15, 0.85) if kind == "images" else (-1.0, 1.0)
    centres = rng.choice(levels, (N_CLASSES, *shape))
    parts = {}
    n_train = MANY_PER_CLASS if kind == "vectors" else TRAIN_PER_CLASS
    for split, n in (("train", n_train), ("test", TEST_PER_CLASS)):
        labels = np.repeat(np.arange(N_CLASSES), n)
        x = centres[labels] + rng.normal(0, 0.1, (len(labels), *shape))
        mix = rng.permutation(len(labels))
        parts[split] = _as(kind, x[mix]), np.asarray(order, dtype=np.int64)[labels[mix]]
    arrays = Arrays(
        *parts["train"], *parts["test"], N_CLASSES, scale=1 / 255 if kind == "images" else 1.0
    )
    return TensorPool(arrays, torch.device(device))


@cache
def symbols() -> SynbolsPool:
    """Six letters in the fonts that come with the install, 300 training images of 8x8 and 96."""
    spec = Spec(alphabets=("latin",), n_characters=N_CLASSES, resolution=8, is_gray=True)
    generator = Generator(spec, Sources(), 0, torch.device("cpu"))
    return SynbolsPool.of(generator, 300, 96, "char", store=True)


def fitting(plugin: Plugin) -> Pool:
    """A small pool of images of the kind that a scenario takes."""
    takes = plugin.load().takes
    if takes is ExperiencePool:
        return experiences()
    if takes is PairsPool:
        return paired()
    return symbols() if takes is SynbolsPool else blobs("images")


@cache
def paired() -> PairsPool:
    """Up to four pairs of symbols of 8 and 9 pixels on 44x44, 192 training images and 64."""
    generator = PairsGenerator(0, 44, 8, 9, torch.device("cpu"))
    return PairsPool.of(generator, Difficulty(1, 2), 192, 64, store=True)


@cache
def experiences() -> ExperiencePool:
    """The blobs of images in three experiences of two classes each."""
    pool = blobs("images")
    parts = {
        split: [np.flatnonzero(pool.labels(split) // 2 == t) for t in range(N_CLASSES // 2)]
        for split in ("train", "test")
    }
    return ExperiencePool(pool, parts["train"], parts["test"], "blobs")


def _as(kind: Kind, x: np.ndarray) -> np.ndarray:
    if kind == "images":
        x = (np.clip(x, 0, 1) * 255).round()
    dtype: type[np.generic] = np.float64
    if kind != "doubles":
        dtype = np.uint8 if kind == "images" else np.float32
    return np.asarray(x, dtype=dtype)
