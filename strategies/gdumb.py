"""GDumb: store greedily and in balance; before every evaluation train from scratch on the memory.

Prabhu et al. 2020, "GDumb: A Simple Approach that Questions Our Progress in Continual Learning"
(ECCV): the memory keeps equally many samples of each class, whatever comes; nothing is learnt from
the stream itself. Deviations: which samples of a class stay is a uniform choice of all distinct ones
rather than the first to come; the training is ours (``epochs`` passes under ``schedule`` over the whole
memory; theirs has warm restarts, cutmix on images, and 256 epochs).

Its cost lies in evaluations, so ``eval_every`` sets it; with one evaluation it trains once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from clbench import GradientStrategy, StreamInfo, TaskData
from clbench.data.augment import augment
from clbench.replay import MemoryConfig, build_memory


class GDumb(GradientStrategy):
    """A network trained from scratch on a balanced memory."""

    @dataclass(frozen=True)
    class Config(MemoryConfig):
        """Settings of GDumb."""

        epochs: int = 30
        """Passes over the memory in each training from scratch."""
        schedule: Literal["constant", "cosine"] = "cosine"
        """Learning rate within a training from scratch: constant, or cosine to zero."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.memory = build_memory(info, config, "class_balanced")

    def learn(self, task: TaskData) -> None:
        """Store."""
        if task.task_id is not None:
            self.classes_of_task[task.task_id[0], task.classes] = True
        self.memory.add(task)

    def prepare(self) -> None:
        """Train fresh weights on the memory."""
        n = int(self.memory.filled)
        if n == 0:
            return
        self._flat.bind()
        self.train()
        device = self.weights.device
        with torch.device(device):
            self.model.load_state_dict(self.build_model().state_dict())
        self.optimizer.state.clear()
        self.mean_loss.zero_()
        n_steps = self.config.epochs * -(-n // self.config.batch_size)
        orders = (torch.randperm(n, device=device) for _ in range(self.config.epochs))
        parts = (part for order in orders for part in order.split(self.config.batch_size))
        for step, index in enumerate(parts):
            if self.config.schedule == "cosine":
                lr = self.config.base_lr * (1 + math.cos(math.pi * step / n_steps)) / 2
                self.optimizer.param_groups[0]["lr"] = lr
            batch = self.memory.gather(index)
            batch.x = augment(self.info.augment, batch.x)
            self.step(batch)
        self.mean_loss.div_(n_steps)

    def memory_bytes(self) -> int:
        """Bytes of the memory."""
        return self.memory.nbytes()
