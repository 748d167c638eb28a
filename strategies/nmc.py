"""Nearest mean classifier: the running mean of each class is all that is learnt.

Mensink et al. 2013, "Distance-Based Image Classification: Generalizing to New Classes at Near-Zero
Cost" (TPAMI), and the NMC of Ostapenko et al. 2022, "Continual Learning with Foundation Models: An
Empirical Study of Latent Replay" (arXiv 2205.00329). Made for latents; runs on pixels, too.

No network and no gradient: one pass, without augmentation. Scores are minus the *squared* Euclidean
distance, which ranks classes as the distance does. The result depends on neither the order of the
samples nor ``batch_size``, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData
from clbench.latents import (
    ClassMeans,
    among_seen,
    batches,
    check_at_least,
    squared_distances,
    vectors,
    width,
)


class Nmc(Strategy):
    """Answers with the class whose mean is nearest."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of the nearest mean classifier."""

        batch_size: int = 64
        """Samples that the means are updated with at once: a matter of speed."""

        def __post_init__(self) -> None:
            check_at_least(batch_size=self.batch_size)

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.means = ClassMeans(info.n_classes, width(info))

    def _vectors(self, x: Tensor) -> Tensor:
        return vectors(x, self.info.scale, self.means.mean.dtype)

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Move the means."""
        size = self.config.batch_size
        shares = self.means.shares(task.y, size).split(size)
        for (x, of, _), share in zip(batches(task, size), shares, strict=True):
            gaps = self.means.gaps(self._vectors(x), of)
            self.means.move(gaps, of, share)

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """``(B, *input_shape)`` to ``(B, n_classes)``: minus squared distances."""
        distances = squared_distances(self._vectors(x), self.means.mean)
        return among_seen(-distances, self.means.count)
