"""Whether a strategy learns from data that are not in memory, and what it would need of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from clbench.checks.bits import differing
from clbench.checks.finding import Failed, NotApplicable
from clbench.checks.rig import Rig
from clbench.checks.training import trained_again, trainings
from clbench.data.experiences import Wrapped
from clbench.data.pool import Pool, Split
from clbench.data.rows import Rows


class ReadWhole(Exception):
    """A whole task was asked for as one tensor."""


class Stored(Rows):
    """Samples of a pool that are gathered part by part; those of a task never at once."""

    def __init__(self, pool: Pool, split: Split, index: np.ndarray, is_task: bool) -> None:
        self._pool, self._split, self._index, self._is_task = pool, split, index, is_task
        self.shape = (len(index), *pool.input_shape)
        self.dtype, self.device = pool.dtype, pool.device

    def select(self, index: np.ndarray) -> Stored:
        """Choose samples by ``(m,)`` positions."""
        return Stored(self._pool, self._split, self._index[index], False)

    def parts(self, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Gather the parts."""
        ends = np.cumsum(sizes)
        for end, size in zip(ends, sizes, strict=True):
            yield self._pool.gather(self._split, self._index[end - size : end])

    def tensor(self) -> Tensor:
        """Gather all of them.

        Raises:
            ReadWhole: they are those of a task.
        """
        if self._is_task:
            raise ReadWhole
        return super().tensor()


class StoredPool(Wrapped):
    """The samples of another pool, as if they did not fit in memory."""

    def rows(self, split: Split, index: np.ndarray) -> Rows:
        """Choose samples."""
        return Stored(self.inner, split, np.asarray(index), split == "train")


def learns_from_data_larger_than_memory(rig: Rig) -> None:
    """It gives the same bits where samples are gathered part by part; where not, it says so."""
    training = next(trainings(rig))
    trial = training.trial
    stream = replace(trial.stream, pool=StoredPool(trial.stream.pool))
    try:
        again = trained_again(rig.plugin, replace(trial, stream=stream), training.pause)
    except ReadWhole as error:
        raise NotApplicable(
            "it reads task.x, all samples of a task at once, so a task must fit in memory; part, "
            "split, first and samples gather less"
        ) from error
    wrong = differing(training.bits, again)
    if wrong:
        raise Failed(
            f"{trial.name}: {wrong[0]} differs where the samples are in a file; go through the task by "
            "part, split, first or samples alone"
        )
