"""All-Pairs: gray 76x76 images of symbols; does every symbol have a partner? Any number of images.

Source: Webb & Ramapuram 2018, "A New Benchmark and Progress Toward Improved Weakly Supervised
Learning" (arXiv 1807.00126) and its code. Known from the code: 2 P symbols of S types, squares of 15
to 18 pixels, collision-free random places, one symbol changed in half of the images. Ours: the types
(18 hand-written shapes there, any number of line figures here), and whole squares that do not meet
(pixels there), so that more than 4 pairs need 96x96 pixels here and more than 5 there. Accuracies
therefore compare with the published ones in kind only. Licence: drawn here; none.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch

from clbench import Arrays, DataSet, Pool, UsageError
from clbench.data.pairs.generator import Difficulty, Generator, side_for
from clbench.data.pairs.pool import PairsPool
from clbench.settings import AtLeast, Within

COVERED = 0.46
"""Of an image whose side is not given: the share that squares cover at most."""


@dataclass(frozen=True)
class AllPairs(DataSet):
    """Image i is a pure function of (data.seed, i); test images do not depend on ``n_train``."""

    pairs: Annotated[int, AtLeast(1)] = 4
    """Pairs of symbols in an image (P of the task P-S)."""
    types: Annotated[int, Within(2, 200)] = 4
    """Types of symbols (S of the task P-S)."""
    n_train: Annotated[int, AtLeast(1)] = 10_000
    """Training images. With store=false there may be millions."""
    n_test: Annotated[int, AtLeast(1)] = 2_000
    """Test images."""
    seed: Annotated[int, AtLeast(0)] = 0
    """Seed of the images; the run's seed does not change them."""
    side: Annotated[int | None, AtLeast(8)] = None
    """Side of the images in pixels; null: 76, or 96 and more where symbols need it."""
    smallest: Annotated[int, Within(6, 64)] = 15
    """The smallest symbol, in pixels on a side."""
    largest: Annotated[int, Within(6, 64)] = 18
    """The largest symbol, in pixels on a side."""
    store: bool = True
    """Draw all images once and keep them; false: draw each image again whenever it is needed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smallest > self.largest:
            raise UsageError(
                f"data.smallest={self.smallest} is above data.largest={self.largest}; exchange them"
            )
        self.generator(torch.device("cpu")).check(self.difficulty, "data.pairs")

    @property
    def difficulty(self) -> Difficulty:
        """Pairs and types."""
        return Difficulty(self.pairs, self.types)

    def generator(self, device: torch.device) -> Generator:
        """Build the generator that draws the images."""
        side = self.side
        if side is None:
            needed = side_for(self.pairs, self.smallest, self.largest, COVERED)
            side = next((s for s in (76, 96) if needed <= s), -(-needed // 4) * 4)
        return Generator(self.seed, side, self.smallest, self.largest, device)

    def pool(self, device: torch.device) -> PairsPool:
        """Load the data set onto a device."""
        generator = self.generator(device)
        return PairsPool.of(generator, self.difficulty, self.n_train, self.n_test, self.store)

    def arrays(self) -> Arrays:
        """Draw all images into host memory."""
        pool = dataclasses.replace(self, store=False).pool(torch.device("cpu"))
        train = pool.gather("train", np.arange(self.n_train)).numpy()
        test = pool.gather("test", np.arange(self.n_test)).numpy()
        y = pool.labels("train"), pool.labels("test")
        return Arrays(train, y[0], test, y[1], 2, pool.scale, class_names=pool.class_names)

    def fresh(self, seed: int) -> AllPairs:
        """The same settings with another seed, for other images."""
        return dataclasses.replace(self, seed=seed)

    def resolved(self, pool: Pool) -> dict[str, object]:
        """Say the side of the images."""
        return {"side": pool.raw.input_shape[-1]}

    def default_model(self) -> str:
        """Recommend the network that was made for it."""
        return "typenet"
