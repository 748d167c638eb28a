"""Converts between clbench's streams and libraries that use plain tensors."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from clbench import seeding
from clbench.errors import UsageError
from clbench.seeding import Axis
from clbench.stream import Stream, TaskData

Samples = tuple[Tensor, Tensor]
"""``(n, *input_shape)`` and ``(n,)`` int64."""


def experiences_of(stream: Stream, experiences: int | None) -> int:
    """The number of experiences to export: the given number, or all.

    Raises:
        UsageError: the stream is endless and no number is given, or it is too large.
    """
    has = None if stream.n_tasks is None else stream.n_experiences(stream.n_tasks)
    if experiences is None and has is None:
        raise UsageError("the stream is endless: set experiences=N")
    if experiences is not None and not 1 <= experiences <= (has or experiences):
        raise UsageError(f"experiences={experiences}: the stream has {has}")
    return experiences or has or 0


def tests_of(
    stream: Stream, n: int, test: Literal["world", "tasks"], scale: float | None
) -> list[Samples]:
    """Make test sets: the whole world, or the part of each experience's task.

    Raises:
        UsageError: a task has no view of its own.
    """
    world = stream.world()
    x = world.x if scale is None else world.x * scale
    if test == "world":
        return [(x, world.y)]
    found: list[Samples] = []
    parts: dict[tuple[int, ...], Samples] = {}
    for number in range(n):
        task, _ = stream.locate(number)
        view = stream.view(task)
        if view is None:
            raise UsageError(f"task {task} is not evaluated by itself: set test='world'")
        if view not in parts:  # tasks that share a view share its tensors
            rows = torch.isin(world.cell, torch.tensor(view, device=world.cell.device))
            parts[view] = x[rows], world.y[rows]
        found.append(parts[view])
    return found


def task_data(x: Tensor, y: Tensor, label: int | None, seed: int, number: int) -> TaskData:
    """Make the ``TaskData`` of another library's experience, with known boundaries.

    Args:
        x: ``(n, *input_shape)``.
        y: ``(n,)`` int64.
        label: the task identity; None: not given to the strategy.
        seed: root of the order of epochs after the first.
        number: number of the experience, from 0.
    """
    return TaskData(
        x=x,
        y=y,
        key=content_keys(x).to(y.device),
        task_id=None if label is None else torch.full_like(y, label),
        classes=y.unique(),
        ends_task=True,
        shuffle_seed=seeding.integer(seed, Axis.SHUFFLE, number),
    )


def content_keys(x: Tensor) -> Tensor:
    """``(n,)`` int64: equal for two samples iff their bytes are, except for 64-bit collisions."""
    rows = np.ascontiguousarray(x.detach().cpu().reshape(len(x), -1).numpy())
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return torch.from_numpy(np.frombuffer(b"".join(digests), dtype=np.int64).copy())
