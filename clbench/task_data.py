"""What a strategy learns from: the samples of one experience, in memory or in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from clbench.data.rows import Held, Joined, Rows, chosen, cut, held_by


@dataclass(frozen=True)
class TaskData:
    """What a strategy learns from: one experience, as plain tensors on the run's device.

    It has no reference to the stream, to other tasks or to test data.
    """

    if TYPE_CHECKING:
        x: Tensor
    else:
        x: Tensor = Held()
    """``(n, *input_shape)``, the pool's native dtype (uint8 for images). Where the samples are in a
    file, reading this gathers all of them, and is refused above 1 GB."""
    y: Tensor
    """``(n,)`` int64 labels in ``[0, n_classes)``; -1 where unlabelled."""
    key: Tensor
    """``(n,)`` int64 opaque identities: two are equal iff the samples are the same."""
    task_id: Tensor | None = None
    """``(n,)`` int64, where the scenario gives task identities; else None."""
    classes: Tensor | None = None
    """``(k,)`` int64 ascending: the task's classes; None where boundaries are hidden."""
    ends_task: bool | None = None
    """Whether the task ends with this experience; None where boundaries are hidden."""
    shuffle_seed: int = 0
    """Seeds the order of the epochs after the first; the same for every strategy and device."""

    def __post_init__(self) -> None:
        held = (("x", held_by(self)), ("key", self.key), ("task_id", self.task_id))
        for name, values in held:
            if values is not None and len(values) != len(self.y):
                raise ValueError(
                    f"TaskData: y has {len(self.y)} samples and {name} has {len(values)}; part, "
                    "split and joined change all of them together"
                )

    def __len__(self) -> int:
        return len(self.y)

    def part(self, index: Tensor) -> TaskData:
        """Choose samples by ``(m,)`` int64 positions, with their labels, keys and task ids."""
        return self._each(
            chosen(held_by(self), index), lambda values: values.index_select(0, index)
        )

    def first(self, n: int) -> TaskData:
        """The first ``n`` samples, or all if they are fewer. Nothing is copied."""
        held = held_by(self)
        x = held.select(np.arange(min(n, len(self)))) if isinstance(held, Rows) else held[:n]
        return self._each(x, lambda values: values[:n])

    def samples(self, size: int, index: Tensor | None = None) -> Iterator[Tensor]:
        """Go through ``x`` by parts of ``size`` samples; the last may be smaller.

        Args:
            size: samples in a part.
            index: ``(m,)`` int64 positions of the samples to go through; None: all of them.
        """
        held = held_by(self)
        return cut(held if index is None else chosen(held, index), size)

    def split(self, size: int) -> Iterator[TaskData]:
        """Cut into parts of ``size`` samples; the last may be smaller. Nothing is copied."""
        rest = (values.split(size) for values in self._labelling())
        for x, y, key, *task_id in zip(self.samples(size), *rest, strict=True):
            yield replace(self, x=x, y=y, key=key, task_id=task_id[0] if task_id else None)

    def cut(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Samples, labels and task ids by parts of ``size``, as ``split`` cuts them, without tasks."""
        ids = repeat(None) if self.task_id is None else self.task_id.split(size)
        return zip(self.samples(size), self.y.split(size), ids, strict=False)

    def joined(self, other: TaskData) -> TaskData:
        """Append the samples of another task, in this task's dtype; other fields stay as they are."""
        held, there = held_by(self), iter(other._labelling())
        if isinstance(held, Rows):
            x: Tensor | Rows = Joined(held, other.x)
        else:
            x = torch.cat([held, other.x.to(held.dtype)])
        return self._each(x, lambda values: torch.cat([values, next(there).to(values.dtype)]))

    def relabelled(self, y: Tensor) -> TaskData:
        """The same samples with other ``(n,)`` int64 labels; nothing is read or copied."""
        return self._with(held_by(self), y, self.key, self.task_id)

    def _labelling(self) -> list[Tensor]:
        """The fields beside ``x`` that have one value per sample."""
        return [v for v in (self.y, self.key, self.task_id) if v is not None]

    def _each(self, x: Tensor | Rows, change: Callable[[Tensor], Tensor]) -> TaskData:
        """Take other samples, and apply a function to every other field with one value each."""
        y, key = change(self.y), change(self.key)
        return self._with(x, y, key, None if self.task_id is None else change(self.task_id))

    def _with(self, x: Tensor | Rows, y: Tensor, key: Tensor, task_id: Tensor | None) -> TaskData:
        return replace(self, x=cast(Tensor, x), y=y, key=key, task_id=task_id)

    def epoch(self, number: int) -> Tensor | None:
        """``(n,)`` int64: the order of an epoch; None for the first, which is the delivered order."""
        if number == 0:
            return None
        order = np.random.default_rng((self.shuffle_seed, number)).permutation(len(self))
        return torch.as_tensor(order, device=self.y.device)
