"""Joint training: each task trains on everything seen so far; the upper bound.

The weights are kept from task to task (warm start). ``budget=matched`` gives each task as many
samples as the task has, drawn from all distinct samples seen so far, so that it costs what the other
strategies cost; ``full`` is the textbook bound, the whole union at every task; ``scratch`` is the
same from fresh weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from clbench import GradientStrategy, StreamInfo, TaskData
from clbench.memory.store import SampleStore


class Joint(GradientStrategy):
    """Keeps every distinct sample and trains on all of them."""

    grows = True

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of joint training."""

        budget: Literal["matched", "full", "scratch"] = "matched"
        """Samples per task: as many as the task has; the whole union; the union, weights reset."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.seen = SampleStore(info)

    def begin(self, task: TaskData) -> TaskData:
        """Store what is new; return what to train on, drawn from all that is stored."""
        self.seen.add(task)
        if self.config.budget == "scratch":
            self._reset()
        n = len(task) if self.config.budget == "matched" else len(self.seen)
        index = torch.randperm(len(self.seen), device="cpu")[:n].to(task.y.device)
        x, y, task_id = self.seen.gather(index)
        return replace(task, x=x, y=y, task_id=task_id, key=task.key[:0], classes=None)

    def _reset(self) -> None:
        """Fresh weights from the learning generator, and an optimizer that remembers nothing."""
        self.weights.copy_(self.fresh_weights())
        self.optimizer.state.clear()

    def memory_bytes(self) -> int:
        """Bytes of the stored samples."""
        return self.seen.nbytes()
