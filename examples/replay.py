"""Replay of stored samples, each of which counts more than a new one.

``ReplayStrategy`` owns the memory: its size in samples or bytes, what it admits, and its state. What is
replayed and what the loss makes of it is the subclass's.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from clbench import Batch, ReplayStrategy
from clbench.settings import AtLeast


class Heavy(ReplayStrategy):
    """Weighs the losses of replayed samples."""

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Those of every replay strategy (memory_size, memory_bytes, policy, ...), and one more."""

        replay_weight: Annotated[float, AtLeast(0)] = 2.0
        """Weight of a replayed sample's loss; a new sample's is 1."""

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """Choose what is replayed with a batch of new samples."""
        old = self.recall(self.replay_batch, batch.x)
        weight = torch.full(old.y.shape, self.config.replay_weight, device=old.y.device)
        return (replace(old, weight=weight),)
