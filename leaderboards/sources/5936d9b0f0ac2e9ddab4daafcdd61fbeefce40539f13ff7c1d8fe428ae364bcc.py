"""MIR: replays the stored samples that the coming step would hurt most.

Aljundi et al. 2019, "Online Continual Learning with Maximally Interfered Retrieval" (NeurIPS, arXiv
1908.04742). A virtual step is taken on the new batch, ``w' = w - lr grad L_new(w)``, and ``candidates``
stored samples are drawn at random. The ``replay_batch`` of them with the largest

    s(x) = CE(f(x; w'), y) - CE(f(x; w), y)

join the batch. The loss is that of ER. Candidates are drawn without replacement, so no sample is
replayed twice in a step. Deviations: those of ``clbench.replay``; samples are scored in evaluation
mode, so that they do not change batch statistics; s is MI-1 of the paper (MI-2, which compares with
the best loss so far, is not offered); the virtual step has no momentum and no clipping.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clbench import Batch, ReplayStrategy, UsageError


class MIR(ReplayStrategy):
    """Replays the stored samples that the next step would interfere with most."""

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Settings of MIR."""

        candidates: int | None = None
        """Stored samples to choose from at each step; null: five times replay_batch, as in the
        paper."""

        def __post_init__(self) -> None:
            super().__post_init__()
            least = self.replay_batch or self.batch_size
            if self.candidates is not None and self.candidates < least:
                raise UsageError(
                    f"strategy.candidates={self.candidates} must be at least {least}, the number "
                    "of samples that are replayed"
                )

    def resolved(self) -> dict[str, object]:
        """Add the stored samples to choose from."""
        return {**super().resolved(), "candidates": 5 * self.replay_batch}

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """Choose the candidates whose loss a step on the new samples would raise most."""
        n = self.config.candidates or 5 * self.replay_batch
        pool = self.gather(torch.randperm(self.n_live, device=batch.x.device)[:n], batch.x)
        n_replayed = min(self.replay_batch, len(pool.y))
        worst = self.interference(batch, pool).topk(n_replayed).indices
        task_id = None if pool.task_id is None else pool.task_id[worst]
        return (Batch(pool.x[worst], pool.y[worst], task_id),)

    def interference(self, batch: Batch, pool: Batch) -> Tensor:
        """Compute how much a step on ``batch`` raises each loss in ``pool``, ``(len(pool),)``."""
        before = self._losses(pool)
        weights = self.weights.clone()
        self.weights.sub_(self.gradient_of(batch), alpha=self.lr)
        after = self._losses(pool)
        self.weights.copy_(weights)
        return after - before

    @torch.no_grad()
    def _losses(self, batch: Batch) -> Tensor:
        self.model.eval()
        losses = F.cross_entropy(self.scores(batch), batch.y, reduction="none")
        self.model.train()
        return losses
