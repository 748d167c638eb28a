"""Pools of synbols: stored, or drawn on request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from clbench.data.pool import VALIDATION_SHARE, Pool, Split
from clbench.data.synbols.attributes import Attributes
from clbench.data.synbols.fonts import ALPHABETS
from clbench.data.synbols.generator import Generator
from clbench.data.synbols.split import IID, TEST, TRAIN, VAL
from clbench.data.synbols.split import Split as Partition
from clbench.errors import UsageError
from clbench.util.hashing import sha256_of

if TYPE_CHECKING:
    import pandas as pd

Label = Literal["char", "font", "glyph", "alphabet"]
"""``glyph``: a character in a font."""
VAL_START, TEST_START = 1 << 39, 1 << 40
"""Numbers of the first images of ``val`` and ``test``: no training set reaches them."""
SEARCHED = 200
"""Images tried per wanted image before a part of a split counts as empty."""
CHUNK = 1 << 16


class SynbolsPool(Pool):
    """Image ``numbers[split][i]`` of a generator is sample ``i`` of a split.

    The hash covers the recipe (fonts, settings, version of the renderer), the numbers and the label,
    not the pixels.
    """

    dtype = torch.uint8
    scale = 1 / 255

    def __init__(
        self,
        generator: Generator,
        numbers: Mapping[Split, np.ndarray],
        label: Label,
        stored: Mapping[Split, Tensor] | None,
        val: np.ndarray | None = None,
    ) -> None:
        """A pool.

        Args:
            generator: draws the images.
            numbers: ``(n,)`` int64 of ``train`` and ``test``, all different.
            label: the attribute that is the class, of the first symbol if there are several.
            stored: the images on the device; None: draw each on request.
            val: numbers of the images that tuning scores on, if they are not in ``train``.
        """
        self._val = val
        spec = generator.spec
        self.generator, self.device, self.label = generator, generator.device, label
        self._numbers, self._x = numbers, stored
        self._labels = {split: _labels(generator, n, label) for split, n in numbers.items()}
        self.class_names = _names(generator, label)
        self.n_classes = len(self.class_names)
        sides = (spec.resolution, spec.resolution)
        self.input_shape = sides if spec.is_gray else (3, *sides)
        which = {split: hashlib.sha256(n.tobytes()).hexdigest() for split, n in numbers.items()}
        self.sha256 = sha256_of([generator.recipe, which, label])

    @classmethod
    def of(
        cls,
        generator: Generator,
        n_train: int,
        n_test: int,
        label: Label,
        store: bool,
        split: Partition = IID,
    ) -> SynbolsPool:
        """Make a pool: images 0, 1, ... for training, others for test; ``store`` draws all now.

        Raises:
            UsageError: a part of the split has almost no images.
        """
        numbers: dict[Split, np.ndarray] = {
            "train": _numbers_of(generator, split, TRAIN, 0, n_train),
            "test": _numbers_of(generator, split, TEST, TEST_START, n_test),
        }
        val = _numbers_of(generator, split, VAL, VAL_START, n_test) if split.names else None
        stored = {part: generator.images(n) for part, n in numbers.items()} if store else None
        return cls(generator, numbers, label, stored, val)

    def size(self, split: Split) -> int:
        """The number of samples of a split."""
        return len(self._numbers[split])

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self._labels[split]

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), *input_shape)``: those samples, on the device."""
        index = np.asarray(index)
        if self._x is None:
            return self.generator.images(self._numbers[split][index])
        return self._x[split].index_select(0, torch.as_tensor(index, device=self.device))

    def numbers(self, split: Split, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        """``(n,)`` int64: the generator's numbers of some samples."""
        return self._numbers[split][index]

    def attributes(self, split: Split, index: np.ndarray | slice = slice(None)) -> Attributes:
        """The attributes of some samples, in the order of ``index``."""
        return self.generator.attributes(self.numbers(split, index))

    def factors(self, split: Split, index: np.ndarray) -> Mapping[str, np.ndarray]:
        """Every attribute of some samples: see ``Attributes.factors``."""
        return self.attributes(split, index).factors(self.generator.atlas)

    def frame(self, split: Split) -> pd.DataFrame:
        """The attribute table: row ``i`` is of sample ``i``."""
        return self.attributes(split).frame(self.generator.atlas)

    def relabelled(self, label: Label) -> SynbolsPool:
        """The same images with another label; none is drawn or copied."""
        return SynbolsPool(self.generator, self._numbers, label, self._x, self._val)

    def tuning(self) -> SynbolsPool:
        """The tuning pool: scores on the last 10 % of each class's training images.

        If the split has images of its own for validation, these are used instead.
        """
        if self._val is not None:
            parts: dict[Split, np.ndarray] = {"train": self._numbers["train"], "test": self._val}
            drawn: dict[Split, Tensor] | None = None
            if self._x is not None:
                drawn = {"train": self._x["train"], "test": self.generator.images(self._val)}
            return SynbolsPool(self.generator, parts, self.label, drawn)
        y = self._labels["train"]
        held_out = np.zeros(len(y), dtype=bool)
        for label in np.unique(y):
            members = np.flatnonzero(y == label)
            held_out[members[-max(1, round(VALIDATION_SHARE * len(members))) :]] = True
        rows: dict[Split, np.ndarray] = {
            "train": np.flatnonzero(~held_out),
            "test": np.flatnonzero(held_out),
        }
        numbers = {split: self._numbers["train"][index] for split, index in rows.items()}
        stored = None
        if self._x is not None:
            stored = {split: self.gather("train", index) for split, index in rows.items()}
        return SynbolsPool(self.generator, numbers, self.label, stored)


def _numbers_of(
    generator: Generator, split: Partition, part: int, start: int, n: int
) -> np.ndarray:
    """``(n,)`` int64: the first numbers from ``start`` on that are in a part of a split."""
    if not split.names:
        return np.arange(start, start + n)
    found: list[np.ndarray] = []
    for at in range(start, start + max(CHUNK, SEARCHED * n), CHUNK):
        numbers = np.arange(at, at + CHUNK)
        attributes = generator.attributes(numbers)
        parts = split.parts(generator.spec, generator.atlas, generator.seed, attributes)
        found.append(numbers[parts == part])
        if sum(map(len, found)) >= n:
            return np.concatenate(found)[:n]
    raise UsageError(f"data.split: hardly any image is in part {part} of {':'.join(split.names)}")


def _names(generator: Generator, label: Label) -> tuple[str, ...]:
    """The class names, in label order; a glyph is named by its character and font."""
    atlas = generator.atlas
    if label == "glyph":
        font, char = np.nonzero(atlas.glyph[..., 0] >= 0)
        pairs = zip(font.tolist(), char.tolist(), strict=True)
        return tuple(f"{atlas.characters[c]} {atlas.fonts[f]}" for f, c in pairs)
    names = {"char": atlas.characters, "font": atlas.fonts, "alphabet": generator.spec.alphabets}
    return tuple(names[label])


def _labels(generator: Generator, numbers: np.ndarray, label: Label) -> np.ndarray:
    """``(n,)`` int64; a chunk at a time, since there may be millions."""
    parts = []
    there = generator.atlas.glyph[..., 0] >= 0
    pair = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
    for start in range(0, len(numbers), CHUNK):
        attributes = generator.attributes(numbers[start : start + CHUNK])
        font, char = attributes.font[:, 0], attributes.char[:, 0]
        parts.append({"font": font, "glyph": pair[font, char]}.get(label, char))
    found = np.concatenate(parts)
    if label != "alphabet":
        return found
    names = generator.spec.alphabets
    characters = generator.atlas.characters
    of = [next(i for i, name in enumerate(names) if c in ALPHABETS[name]) for c in characters]
    return np.asarray(np.array(of)[found])
