"""Decodes a folder of images slowly, in a process of its own that is to be killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from clbench.data import decoded
from clbench.data.sets import folder


def decode(root: Path, log: Path, wait: float, answer: Path) -> None:
    """Write a line for each image that is decoded to ``log``, and the pool's hash to ``answer``."""
    decoded.BLOCK_BYTES = 3 * 8 * 8 * 7
    original = folder._decode

    def slow(file: Any, *given: Any) -> Any:
        with log.open("a") as lines:
            lines.write(f"{file}\n")
        time.sleep(wait)
        return original(file, *given)

    folder._decode = slow
    pool = folder.Folder(path=root, size=8, storage="mapped").pool(torch.device("cpu"))
    answer.write_text(pool.sha256)
