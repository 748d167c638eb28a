"""A store that keeps every distinct sample and grows without limit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clbench.strategy import StreamInfo
from clbench.stream import TaskData

PART = 4096
"""Samples that are gathered at once."""


class SampleStore(nn.Module):
    """Keeps every distinct sample once, in the pool's dtype, in buffers that grow.

    ``x``: ``(n, *input_shape)``; ``y``, ``key`` and, if the stream gives task ids, ``task_id``:
    ``(n,)`` int64.
    """

    def __init__(self, info: StreamInfo) -> None:
        super().__init__()
        self.register_buffer("x", torch.empty(0, *info.input_shape, dtype=info.dtype))
        self.register_buffer("y", torch.empty(0, dtype=torch.int64))
        self.register_buffer("key", torch.empty(0, dtype=torch.int64))
        self.register_buffer("task_id", torch.empty(0, dtype=torch.int64))
        self.x: Tensor
        self.y: Tensor
        self.key: Tensor
        self.task_id: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def add(self, task: TaskData) -> None:
        """Store the samples of an experience that are not stored yet."""
        new = torch.isin(task.key, self.key, invert=True).nonzero().squeeze(1)
        if len(new) == 0:
            return
        self.x = torch.cat([self.x, *task.samples(PART, new)])
        self.y = torch.cat([self.y, task.y.index_select(0, new)])
        self.key = torch.cat([self.key, task.key.index_select(0, new)])
        if task.task_id is not None:
            self.task_id = torch.cat([self.task_id, task.task_id.index_select(0, new)])

    def all(self) -> TaskData:
        """All stored samples as one task; its ``classes`` is None."""
        return TaskData(self.x, self.y, self.key, self.task_id if len(self.task_id) else None)

    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(b.nbytes for b in (self.x, self.y, self.key, self.task_id))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("x", "y", "key", "task_id"):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                setattr(self, name, torch.empty_like(saved, device=self.y.device))
        super()._load_from_state_dict(state_dict, prefix, *args)
