"""Nearest mean classifier: keeps the running mean of each class and predicts the nearest one.

Mensink et al. 2013, "Distance-Based Image Classification: Generalizing to New Classes at Near-Zero
Cost" (TPAMI), and the NMC of Ostapenko et al. 2022, "Continual Learning with Foundation Models: An
Empirical Study of Latent Replay" (arXiv 2205.00329). It is made for latents and runs on pixels too.

It has no network and no gradient, and makes one pass without augmentation. Up to rounding, the result
depends on neither the order of the samples nor ``batch_size``. There are two metrics:

- ``metric=euclidean``: scores are minus the *squared* Euclidean distance, which ranks classes as the
  distance does;
- ``metric=cosine``: scores are cosines to the class means, of samples as they are: SimpleCIL, Zhou et
  al. 2023, "Revisiting Class-Incremental Learning with Pre-Trained Models" (arXiv 2303.07338), which is
  this on the latents of a frozen encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData
from clbench.latents import (
    ClassMeans,
    among_seen,
    batches,
    squared_distances,
    vectors,
    width,
)
from clbench.settings import AtLeast
from clbench.space import Choices


class Nmc(Strategy):
    """Predicts the class whose mean is nearest."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of the nearest mean classifier."""

        batch_size: Annotated[int, AtLeast(1)] = 64
        """Samples that the means are updated with at once; it changes speed alone."""
        metric: Literal["euclidean", "cosine"] = field(
            default="euclidean", metadata={"space": Choices("euclidean", "cosine")}
        )
        """What is near: euclidean, the distance to the class mean; cosine, the angle (SimpleCIL)."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.means = ClassMeans(info.n_classes, width(info))

    def _vectors(self, x: Tensor) -> Tensor:
        return vectors(x, self.info.scale, self.means.mean.dtype)

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Update the means."""
        size = self.config.batch_size
        shares = self.means.shares(task.y, size).split(size)
        for (x, of, _), share in zip(batches(task, size), shares, strict=True):
            gaps = self.means.gaps(self._vectors(x), of)
            self.means.move(gaps, of, share)

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute minus squared distances, or cosines: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        if self.config.metric == "cosine":
            cosines = F.normalize(self._vectors(x), dim=1) @ F.normalize(self.means.mean, dim=1).mT
            return among_seen(cosines, self.means.count)
        distances = squared_distances(self._vectors(x), self.means.mean)
        return among_seen(-distances, self.means.count)
