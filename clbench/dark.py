"""What DER and DER++ share: a memory of samples with the logits they had when last trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.replay import ReplayStrategy, mix, n_new
from clbench.strategy import Batch, StreamInfo
from clbench.stream import TaskData


class DarkReplay(ReplayStrategy):
    """``CE(f(x), y) + alpha |z - h(x')|^2``: see ``strategies/der.py``."""

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Settings of dark experience replay."""

        alpha: float = 0.5
        """Weight of the distance between stored and present logits."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (math.isfinite(self.alpha) and self.alpha >= 0):
                raise UsageError(f"strategy.alpha={self.alpha} must be finite and >= 0")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model, extra={"logits": (info.n_classes,)})
        self._visits: _Visits | None = None

    def begin(self, task: TaskData) -> TaskData:
        """Make room for the logits of the last epoch, which visits each sample once."""
        n_steps = -(-len(task) // self.config.batch_size)
        logits = self.weights.new_zeros(len(task), self.info.n_classes)
        last = self.config.epochs - 1
        self._visits = _Visits(logits, task.epoch(last), -last * n_steps * self.config.batch_size)
        return super().begin(task)

    def draw(self, batch: Batch) -> Batch:
        """New samples, and stored ones with their logits."""
        if not self._stored:
            return batch
        dark = self.recall(self.replay_batch, batch.x)
        mixed = mix(batch, dark)
        mixed.extra = dark.extra
        return mixed

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the new samples and what is asked of the replayed ones."""
        n = n_new(batch)
        scores = self.scores(batch)
        if self._visits is not None:
            self._visits.note(scores[:n].detach(), self.config.batch_size)
        loss = F.cross_entropy(scores[:n], batch.y[:n], ignore_index=-1)
        return loss if n == len(batch.y) else loss + self.replay_loss(scores[n:], batch)

    def replay_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """``alpha |z - h(x')|^2``, from the ``(r, n_classes)`` scores of the replayed samples."""
        alpha: float = self.config.alpha
        return alpha * distance(scores, batch.extra["logits"].to(scores.dtype))

    def consolidate(self, task: TaskData) -> None:
        """Offer the samples with the logits of their last visit."""
        assert self._visits is not None
        self.remember(task, logits=self._visits.logits)
        self._visits = None


def distance(scores: Tensor, stored: Tensor) -> Tensor:
    """0-d: mean squared difference of ``(r, C)`` logits, over entries that are finite in both."""
    both = scores.isfinite() & stored.isfinite()
    gap = torch.where(both, scores, 0) - torch.where(both, stored, 0)
    return gap.square().sum() / both.sum().clamp_min(1)


@dataclass
class _Visits:
    """Logits of an experience's samples, filled in during its last epoch."""

    logits: Tensor
    """``(n, n_classes)``"""
    order: Tensor | None
    """``(n,)``: the order of the last epoch; None: as delivered."""
    position: int
    """Of the next batch in the last epoch; negative before it. In host memory: nothing waits."""

    def note(self, logits: Tensor, batch_size: int) -> None:
        """Enter the ``(b, n_classes)`` logits of the next batch."""
        if self.position >= 0:
            index = slice(self.position, self.position + len(logits))
            if self.order is None:
                self.logits[index] = logits
            else:
                self.logits.index_copy_(0, self.order[index], logits)
        self.position += batch_size
