"""A memory of samples, allocated at its full size when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clbench.memory.policies import POLICIES, Candidates, priorities, rank_within, times
from clbench.strategy import Batch, StreamInfo
from clbench.stream import TaskData

PART = 4096
"""Samples of an experience that are gathered at once."""
Layout = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Per slot tensor, the shape and the dtype of one slot."""


def slot_layout(
    info: StreamInfo,
    policy: str = "reservoir",
    dtype: torch.dtype | None = None,
    extra: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """The tensors that are stored for one sample.

    Args:
        info: of the stream.
        policy: a name in ``POLICIES``.
        dtype: of the stored samples; None: the pool's.
        extra: shapes of further float32 tensors, such as the logits of dark experience replay.
    """
    layout = {"x": (info.input_shape, dtype or info.dtype), "y": ((), torch.int64)}
    layout["key"] = ((), torch.int64)
    if info.task_ids:
        layout["task_id"] = ((), torch.int64)
    if POLICIES[policy].stamp != "none":
        layout["stamp"] = ((), torch.int64)
    return layout | {name: (shape, torch.float32) for name, shape in (extra or {}).items()}


def slot_bytes(layout: Layout) -> int:
    """Bytes of one slot: a sample and everything that is stored with it."""
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in layout.values())


def found_in(keys: Tensor, task: TaskData) -> Tensor:
    """Find samples in an experience: ``(n,)`` keys to ``(n,)`` int64 positions, -1 where absent.

    A key that occurs several times gives its first position.
    """
    order = task.key.argsort(stable=True)
    at = torch.searchsorted(task.key[order], keys).clamp_max(len(order) - 1)
    found = order[at]
    return torch.where(task.key[found] == keys, found, -1)


class SampleMemory(nn.Module):
    """At most ``size`` distinct samples, as buffers ``(size, ...)`` of which the first are filled.

    A sample is stored once, however often it recurs: it is recognised by its key and keeps its slot.
    A strategy that stores further tensors with a sample has to update them itself when the sample
    recurs (``found_in`` gives its position). Unlabelled samples are not stored.
    """

    def __init__(
        self, size: int, policy: str, layout: Layout, per_class: int | None = None
    ) -> None:
        super().__init__()
        self.size, self.policy, self.layout = size, POLICIES[policy], layout
        self.per_class = per_class
        """The most samples of a class that are kept; None: no limit but the size."""
        for name, (shape, dtype) in layout.items():
            self.register_buffer(name, torch.zeros(size, *shape, dtype=dtype))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("experiences", torch.zeros((), dtype=torch.int64))
        self.register_buffer("salt", torch.randint(2**62, ()))
        self.x: Tensor
        self.y: Tensor
        self.key: Tensor
        self.filled: Tensor
        """0-d int64"""
        self.experiences: Tensor
        """0-d int64: the number of experiences that were offered."""
        self.salt: Tensor
        """0-d int64: the seed of the random priorities."""

    @torch.no_grad()
    def add(
        self,
        task: TaskData,
        features: tuple[Tensor, Tensor] | None = None,
        **extra: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Offer all samples of an experience. Call it outside the inner loop: it waits for the device.

        Args:
            task: the experience.
            features: ``(filled, d)`` of the stored and ``(n, d)`` of the offered samples, where the
                policy needs them.
            extra: ``(n, ...)`` further tensors of the offered samples, by name.

        Returns:
            ``(m,)`` slots that were written, and ``(m,)`` the positions in the experience of the
            samples written there, ascending.
        """
        n_stored = int(self.filled)
        new = self._fresh(task, n_stored)
        if len(new) == 0 and self.policy.stamp == "none":  # nothing enters, so nothing leaves
            self.experiences.add_(1)
            return new, new
        candidates = self._candidates(task, new, n_stored, features)
        order = self.policy.order(candidates)
        kept = order
        if self.per_class is not None:
            kept = order[rank_within(candidates.y, order)[order] < self.per_class]
        kept = kept[: self.size]
        entering = kept[kept >= n_stored].sort().values
        stays = torch.zeros(self.size, dtype=torch.bool, device=kept.device)
        stays[kept[kept < n_stored]] = True
        slots = stays.logical_not().nonzero().squeeze(1)[: len(entering)]
        source = new[entering - n_stored]
        offered = {"y": task.y, "key": task.key, **extra}
        if task.task_id is not None:
            offered["task_id"] = task.task_id
        for name, values in offered.items():
            buffer = self.get_buffer(name)
            buffer[slots] = values[source].to(buffer.dtype)
        for at, x in zip(slots.split(PART), task.samples(PART, source), strict=True):
            self.x[at] = x.to(self.x.dtype)
        self._stamp(candidates, order, slots, entering, n_stored)
        self.filled.fill_(len(kept))
        self.experiences.add_(1)
        return slots, source

    def _fresh(self, task: TaskData, n_stored: int) -> Tensor:
        """``(m,)`` positions of offered samples: labelled, not stored yet, and each key once.

        Those that a full memory cannot admit are left out where the policy says so.
        """
        fresh = task.y >= 0
        if n_stored:
            # Priorities differ where keys do, so that they tell what is stored, too.
            both = priorities(torch.cat([self.key[:n_stored], task.key]), self.salt)
            held, offered = both[:n_stored].sort().values, both[n_stored:]
            at = torch.searchsorted(held, offered)
            fresh &= held.take(at.clamp(max=n_stored - 1)) != offered
            if self.policy.by_priority and n_stored == self.size:
                fresh &= at < n_stored
        new = fresh.nonzero().squeeze(1)
        if len(new) == 0:
            return new
        order = task.key.argsort(stable=True)
        key = task.key.index_select(0, order)
        repeated = torch.zeros_like(fresh)
        repeated[order[1:]] = key[1:] == key[:-1]
        return new[~repeated.index_select(0, new)]

    def _candidates(
        self,
        task: TaskData,
        new: Tensor,
        n_stored: int,
        features: tuple[Tensor, Tensor] | None,
    ) -> Candidates:
        key = torch.cat([self.key[:n_stored], task.key[new]])
        stamp = self.experiences.expand(len(key)).clone()
        if self.policy.stamp != "none":
            stamp[:n_stored] = self.get_buffer("stamp")[:n_stored]
        if self.policy.refreshes:
            again = torch.isin(key[:n_stored], task.key)
            stamp[:n_stored][again] = self.experiences
        y = torch.cat([self.y[:n_stored], task.y[new]])
        if self.policy.stamp == "times":
            stamp = times(y, stamp[:n_stored], task.y, n_stored)
        return Candidates(
            size=self.size,
            salt=self.salt,
            priority=priorities(key, self.salt),
            y=y,
            stamp=stamp,
            is_new=torch.arange(len(key), device=key.device) >= n_stored,
            features=None if features is None else torch.cat([features[0], features[1][new]]),
            quota=self.per_class,
        )

    def _stamp(
        self, found: Candidates, order: Tensor, slots: Tensor, entering: Tensor, n_stored: int
    ) -> None:
        """Update the stamps, which the policy reads at the next call of ``add``."""
        if self.policy.stamp == "none":
            return
        stamp = found.stamp
        if self.policy.stamp == "rank":
            stamp = rank_within(found.y, order)
        buffer = self.get_buffer("stamp")
        buffer[:n_stored] = stamp[:n_stored]
        buffer[slots] = stamp[entering]

    def gather(self, index: Tensor, like: Tensor | None = None) -> Batch:
        """``(n,)`` slots to their samples, with the dtype of ``like`` (None: as stored).

        ``extra`` of the batch holds the further tensors of the layout.
        """
        x = self.x.index_select(0, index)
        has_task_id = "task_id" in self.layout
        known = ("x", "y", "key", "task_id", "stamp")
        further = (name for name in self.layout if name not in known)
        return Batch(
            x=x if like is None else x.to(like.dtype),
            y=self.y.index_select(0, index),
            task_id=self.get_buffer("task_id").index_select(0, index) if has_task_id else None,
            extra={name: self.get_buffer(name).index_select(0, index) for name in further},
        )

    def part(self, index: Tensor) -> TaskData:
        """``(n,)`` slots to their samples as a task, in the stored dtype."""
        found = self.gather(index)
        return TaskData(found.x, found.y, self.key.index_select(0, index), found.task_id)

    def nbytes(self) -> int:
        """Bytes of all slots, filled or not."""
        return sum(self.get_buffer(name).nbytes for name in self.layout)
