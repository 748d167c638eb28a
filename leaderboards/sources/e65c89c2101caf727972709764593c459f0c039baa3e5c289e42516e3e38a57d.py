"""Joint training: each task trains on all samples seen so far; the upper bound.

The weights are kept from task to task (warm start). ``budget=full`` is the textbook bound: every task
trains on the whole union. ``scratch`` does the same from fresh weights. ``matched`` draws as many
samples as the task has from all distinct samples seen so far, so that it costs what the other
strategies cost.
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
    """Stores every distinct sample and trains on all of them."""

    grows = True

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of joint training."""

        budget: Literal["matched", "full", "scratch"] = "matched"
        """Samples that a task trains on. matched: as many as the task has, drawn from all; full: all
        that were seen; scratch: all that were seen, from fresh weights."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.seen = SampleStore(info)

    def begin(self, task: TaskData) -> TaskData:
        """Store the new samples; return those to train on, drawn from all that are stored."""
        self.seen.add(task)
        if self.config.budget == "scratch":
            self._reset()
        n = len(task) if self.config.budget == "matched" else len(self.seen)
        index = torch.randperm(len(self.seen), device="cpu")[:n].to(task.y.device)
        x, y, task_id = self.seen.gather(index)
        return replace(task, x=x, y=y, task_id=task_id, key=task.key[:0], classes=None)

    def _reset(self) -> None:
        """Draw fresh weights from the learning generator, and clear the optimizer's state."""
        self.weights.copy_(self.fresh_weights())
        self.optimizer.state.clear()

    def memory_bytes(self) -> int:
        """Count the bytes of the stored samples."""
        return self.seen.nbytes()
