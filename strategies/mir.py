"""MIR: replays the stored samples that the coming step would hurt most.

Aljundi et al. 2019, "Online Continual Learning with Maximally Interfered Retrieval" (NeurIPS, arXiv
1908.04742): a virtual step on the new batch, ``w' = w - lr grad L_new(w)``; of ``candidates`` stored
samples drawn at random, the ``replay_batch`` with the largest

    s(x) = CE(f(x; w'), y) - CE(f(x; w), y)

join the batch; the loss is that of ER. Candidates are drawn without replacement, so that no sample
is replayed twice in a step. Deviations: those of ``clbench.replay``; samples are scored in
evaluation mode, so that batch statistics learn nothing from them; s is MI-1 of the paper (MI-2, which
compares with the best loss so far, is not offered); the virtual step has no momentum and no clipping.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clbench import Batch, ReplayStrategy, UsageError


class MIR(ReplayStrategy):
    """Replay of the maximally interfered."""

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Settings of MIR."""

        candidates: int | None = None
        """Stored samples to choose from in a step; null: five times replay_batch, as in the paper."""

        def __post_init__(self) -> None:
            super().__post_init__()
            least = self.replay_batch or self.batch_size
            if self.candidates is not None and self.candidates < least:
                raise UsageError(
                    f"strategy.candidates={self.candidates} must be at least the {least} that "
                    "are to be replayed"
                )

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """The candidates whose loss a step on the new samples would raise most."""
        n = self.config.candidates or 5 * self.replay_batch
        pool = self.gather(torch.randperm(self.n_live, device=batch.x.device)[:n], batch.x)
        n_replayed = min(self.replay_batch, len(pool.y))
        worst = self.interference(batch, pool).topk(n_replayed).indices
        task_id = None if pool.task_id is None else pool.task_id[worst]
        return (Batch(pool.x[worst], pool.y[worst], task_id),)

    def interference(self, batch: Batch, pool: Batch) -> Tensor:
        """``(len(pool),)``: by how much a step on ``batch`` raises the loss of each in ``pool``."""
        before = self._losses(pool)
        weights = self.weights.clone()
        self.weights.sub_(self._flat.gradient(self.loss(batch)), alpha=self.lr)
        after = self._losses(pool)
        self.weights.copy_(weights)
        return after - before

    @torch.no_grad()
    def _losses(self, batch: Batch) -> Tensor:
        self.model.eval()
        losses = F.cross_entropy(self.scores(batch), batch.y, reduction="none")
        self.model.train()
        return losses
