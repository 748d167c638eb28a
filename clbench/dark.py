"""The base of DER and DER++: stores each sample with its logits when it was last trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.memory.buffer import found_in
from clbench.replay import ReplayStrategy, n_new
from clbench.settings import AtLeast
from clbench.space import Log
from clbench.strategy import Batch, StreamInfo
from clbench.stream import TaskData


class DarkReplay(ReplayStrategy):
    """Minimises ``CE(f(x), y) + alpha |z - h(x')|^2``; ``strategies/der.py`` explains it."""

    results_version: ClassVar[int] = 2
    """Raised by a change of this base that alters what its strategies give."""

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Settings of dark experience replay."""

        alpha: Annotated[float, AtLeast(0)] = field(default=0.5, metadata={"space": Log(0.05, 2)})
        """Weight of the distance between stored and present logits."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model, extra={"logits": (info.n_classes,)})
        self._visits: _Visits | None = None
        self._source = torch.arange(0, device=self.weights.device)
        self._masked = config.mask == "group" or info.task_ids

    def begin(self, task: TaskData) -> TaskData:
        """Make room for the logits of the experience's samples."""
        epochs = self.config.epochs
        self._visits = _Visits(
            self.weights.new_zeros(len(task), self.info.n_classes), task.epoch(epochs - 1), epochs
        )
        super().begin(task)
        # Where the sample of each slot comes in this experience, for the first time or again.
        self._source = found_in(self.memory.key.index_select(0, self.live.slots), task)
        return task

    def gather(self, index: Tensor, like: Tensor) -> Batch:
        """Gather stored samples with the newest logits: those of this experience, once visited."""
        assert self._visits is not None
        batch = super().gather(index, like)
        source = self._source.index_select(0, index)
        new = self._visits.logits.index_select(0, source.clamp_min(0))
        stored = batch.extra["logits"].to(new.dtype)
        visited = (source >= 0) & (source < self.live.delivered)
        batch.extra["logits"] = torch.where(visited[:, None], new, stored)
        return batch

    def loss(self, batch: Batch) -> Tensor:
        """Add the cross-entropy of the new samples and ``replay_loss`` of the replayed ones."""
        n = n_new(batch)
        scores = self.scores(batch)
        if self._visits is not None:
            self._visits.note(scores[:n].detach())
        loss = F.cross_entropy(scores[:n], batch.y[:n], ignore_index=-1)
        return loss if n == len(batch.y) else loss + self.replay_loss(scores[n:], batch)

    def replay_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """Compute ``alpha |z - h(x')|^2`` from the replayed samples' scores, ``(r, n_classes)``."""
        alpha: float = self.config.alpha
        stored = batch.extra["logits"].to(scores.dtype)
        return alpha * distance(scores, stored, self._masked)

    def consolidate(self, task: TaskData) -> None:
        """Store the logits that each sample had at its last visit, whether it is new or came again."""
        assert self._visits is not None
        came, stored = self._source >= 0, self.memory.get_buffer("logits")
        newest = self._visits.logits[self._source[came]]
        stored[self.live.slots[came]] = newest.to(stored.dtype)
        if not self.admits_first:
            self.admit(task, logits=self._visits.logits)
        self._visits = None


def distance(scores: Tensor, stored: Tensor, masked: bool) -> Tensor:
    """Compute the mean squared difference of ``(r, C)`` logits, 0-d.

    If they are masked, the mean is over the classes that are open in both.
    """
    if not masked:
        gap = scores - stored
        return gap.square().sum() / gap.numel()
    both = scores.isfinite() & stored.isfinite()
    gap = torch.where(both, scores, 0) - torch.where(both, stored, 0)
    return gap.square().sum() / both.sum().clamp_min(1)


@dataclass
class _Visits:
    """The logits of an experience's samples: first those of the first epoch, then of the last."""

    logits: Tensor
    """``(n, n_classes)``"""
    last_order: Tensor | None
    """``(n,)``: the order of the last epoch; None: as delivered."""
    epochs: int
    visited: int = 0
    """Samples trained on so far, over all epochs. The host counts, so that nothing waits."""

    def note(self, logits: Tensor) -> None:
        """Note the ``(b, n_classes)`` logits of the next batch."""
        epoch, start = divmod(self.visited, len(self.logits))
        self.visited += len(logits)
        index = slice(start, start + len(logits))
        if epoch == 0:
            self.logits[index] = logits
        elif epoch == self.epochs - 1 and self.last_order is not None:
            self.logits.index_copy_(0, self.last_order[index], logits)
