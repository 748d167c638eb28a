"""Remembers in the times of a file in its own folder, which other processes can ask for."""

import os
import tempfile
from pathlib import Path

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"
NAME = f"clbench-attack-times-{os.getuid()}"


def marks():
    """Where the file may be: here, or in the folder of an earlier process."""
    here = Path(tempfile.gettempdir())
    return [here / NAME, *(here.parent / f"worker{k}" / NAME for k in range(1, 100))]


class Times(GradientStrategy):
    def begin(self, task):
        marks()[0].touch()
        return task

    def forward(self, x, task_id=None):
        times = [mark.stat().st_mtime for mark in marks() if mark.exists()]
        return -self.model(x) if times else self.model(x)
