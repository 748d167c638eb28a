"""GDumb: stores a balanced memory, and trains from scratch on it before every evaluation.

Prabhu et al. 2020, "GDumb: A Simple Approach that Questions Our Progress in Continual Learning"
(ECCV). The memory keeps equally many samples of each class. The stream is not trained on. Deviations:
a class keeps a uniform sample of its distinct samples, not those that came first; the training is
ours (``memory_epochs`` passes over the whole memory, with ``schedule``; theirs has warm restarts,
cutmix on images, and 256 epochs).

It trains once for each evaluation, so ``eval_every`` decides its cost. ``epochs``, the passes over an
experience, which boards fix, has no effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import nn

from clbench import GradientStrategy, StreamInfo, TaskData
from clbench.replay import MemoryConfig, build_memory
from clbench.settings import AtLeast


class GDumb(GradientStrategy):
    """Trains a network from scratch on a balanced memory."""

    @dataclass(frozen=True)
    class Config(MemoryConfig):
        """Settings of GDumb."""

        epochs: Annotated[int, AtLeast(1)] = 1
        """Has no effect: experiences are stored and not trained on (see memory_epochs)."""
        memory_epochs: Annotated[int, AtLeast(1)] = 30
        """Passes over the memory in each training from scratch (the paper: 256)."""
        schedule: Literal["constant", "cosine"] = "cosine"
        """Learning rate within a training from scratch: constant, or cosine to zero."""

        def without_effect(self) -> dict[str, str]:
            """A batch of the memory is of no experience, whose other classes a mask could keep."""
            return super().without_effect() | {"mask_scope": "batches of the memory"}

        @property
        def passes_setting(self) -> str:
            """``memory_epochs``: no experience is trained on."""
            return "memory_epochs"

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.memory = build_memory(info, config, "class_balanced")

    def resolved(self) -> dict[str, object]:
        """Add the size of the memory in samples."""
        return {**super().resolved(), "memory_size": self.memory.size}

    def learn(self, task: TaskData) -> None:
        """Store the experience."""
        if task.task_id is not None:
            self.classes_of_task[task.task_id[0], task.classes] = True
        self.memory.add(task)

    def prepare(self) -> None:
        """Train fresh weights on the memory."""
        n = int(self.memory.filled)
        if n == 0:
            return
        self.bind()
        self.train()
        self.start_again()
        size = self.config.batch_size
        passes = self.config.memory_epochs
        n_steps = passes * -(-n // size)
        device = self.weights.device
        orders = (torch.randperm(n, device=device) for _ in range(passes))
        parts = (part for order in orders for part in order.split(size))
        self.train_on((self.memory.gather(part) for part in parts), n_steps)

    def memory_bytes(self) -> int:
        """Count the bytes of the memory."""
        return self.memory.nbytes()
