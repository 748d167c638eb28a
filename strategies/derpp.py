"""DER++: dark experience replay with the labels of a second draw.

Buzzega et al. 2020 (NeurIPS, arXiv 2004.07211), equation 7:

    L = CE(f(x), y) + alpha |z - h(x')|^2 + beta CE(f(x''), y''),

(x', z) and (x'', y'') two independent draws from the memory, ``replay_batch`` samples each; the
squared distance is a mean over classes, as in the authors' code. Deviations: those of ``der``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from clbench import Batch, UsageError
from clbench.dark import DarkReplay


class DERpp(DarkReplay):
    """Replays stored samples by their logits and others by their labels."""

    @dataclass(frozen=True)
    class Config(DarkReplay.Config):
        """Settings of DER++."""

        beta: float = 0.5
        """Weight of the replayed samples' cross-entropy."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (math.isfinite(self.beta) and self.beta >= 0):
                raise UsageError(f"strategy.beta={self.beta} must be finite and >= 0")

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """Samples to be met by their logits, and as many to be met by their labels."""
        dark, labelled = (self.recall(self.replay_batch, batch.x) for _ in range(2))
        return dark, labelled

    def replay_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """``alpha |z - h(x')|^2 + beta CE(f(x''), y'')`` of the replayed part of a batch."""
        n = len(batch.extra["logits"])
        labelled = F.cross_entropy(scores[n:], batch.y[-len(scores) :][n:])
        beta: float = self.config.beta
        return super().replay_loss(scores[:n], batch) + beta * labelled
