"""DER++: dark experience replay that also fits the labels of a second draw.

Buzzega et al. 2020 (NeurIPS, arXiv 2004.07211), equation 7:

    L = CE(f(x), y) + alpha |z - h(x')|^2 + beta CE(f(x''), y''),

where (x', z) and (x'', y'') are two independent draws from the memory, of ``replay_batch`` samples
each. The squared distance is a mean over classes, as in the authors' code. Deviations: those of
``der``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from clbench import Batch
from clbench.dark import DarkReplay
from clbench.settings import AtLeast
from clbench.space import Log


class DERpp(DarkReplay):
    """Replays stored samples with their logits, and others with their labels."""

    @dataclass(frozen=True)
    class Config(DarkReplay.Config):
        """Settings of DER++."""

        beta: Annotated[float, AtLeast(0)] = field(default=0.5, metadata={"space": Log(0.05, 2)})
        """Weight of the replayed samples' cross-entropy."""

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """Draw samples whose logits are matched, and as many whose labels are fitted."""
        dark, labelled = (self.recall(self.replay_batch, batch.x) for _ in range(2))
        return dark, labelled

    def replay_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """Compute ``alpha |z - h(x')|^2 + beta CE(f(x''), y'')`` on the replayed part of a batch."""
        n = len(batch.extra["logits"])
        labelled = F.cross_entropy(scores[n:], batch.y[-len(scores) :][n:])
        beta: float = self.config.beta
        return super().replay_loss(scores[:n], batch) + beta * labelled
