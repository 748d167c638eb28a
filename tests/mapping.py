"""Images on disk, and their pool in both forms: mapped, and in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clbench.data.mapped import MappedPool
from clbench.data.pool import TensorPool
from clbench.data.sets.folder import Folder

CPU = torch.device("cpu")


def write_images(root: Path, n_train: int = 12, n_test: int = 4, n_classes: int = 4) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", n_train), ("test", n_test)):
        for c in range(n_classes):
            folder = root / split / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 90, (9, 9, 3)) + 40 * c
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.png")
    return root


def both(root: Path, **settings: object) -> tuple[MappedPool, TensorPool]:
    pools = [
        Folder(path=root, size=8, storage=s, **settings).pool(CPU)  # type: ignore[arg-type]
        for s in ("mapped", "resident")
    ]
    assert isinstance(pools[0], MappedPool)
    assert isinstance(pools[1], TensorPool)
    return pools[0], pools[1]
