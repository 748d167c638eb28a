"""SCR: supervised contrastive replay, read out by the nearest mean of the memory's features.

Mai, Li, Kim & Sanner 2021, "Supervised Contrastive Replay: Revisiting the Nearest Class Mean
Classifier in Online Class-Incremental Continual Learning" (CVPR workshops, arXiv 2103.13885). A
step's batch, new samples and ``replay_batch`` stored ones, is taken twice: as it is, and as ``views``
change it. A projection in the place of the output layer maps both. The loss over all rows is the
supervised contrastive one (Khosla et al. 2020, arXiv 2004.11362, eq. 2),

    L = mean_i -1/|P(i)| sum_{p in P(i)} log exp(z_i.z_p / T) / sum_{a != i} exp(z_i.z_a / T).

A class is predicted by the nearest mean: features of the stored samples are scaled to length one,
averaged over a class and scaled again. The means are taken anew before each evaluation.

Deviations: those of ``clbench.replay``; the first step of a stream, before anything is stored, trains
on the new samples alone (the authors' code skips it); crops are of 8 to 100 % of the area (theirs: 20
to 100 %). Their augmentation is for colour images. On gray ones, digits and the like, where a mirrored
sample may be another class, the default is a crop alone, and on vectors none, so that both views are
the same. The projection has 128 outputs (unverified). The authors take one pass, 10 new and 100 stored
samples a step, and SGD with 0.1 (the last unverified).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import Batch, ReplayStrategy, StreamInfo, UsageError
from clbench.data.augment import check_augment, suited, views
from clbench.latents import among_seen, squared_distances
from clbench.nets.losses import supervised_contrastive
from clbench.nets.modes import evaluating
from clbench.nets.projection import Projecting
from clbench.settings import AtLeast, Positive
from clbench.space import Log

AT_ONCE = 512
"""Stored samples that go through the network at once."""


class SCR(ReplayStrategy):
    """Pulls samples of a class together and predicts by the nearest mean of stored samples."""

    model: Projecting

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Settings of supervised contrastive replay."""

        replay_batch: Annotated[int | None, AtLeast(1)] = 100
        """Replayed samples per step, drawn uniformly with replacement; null: batch_size."""
        temperature: Annotated[float, Positive] = field(
            default=0.07, metadata={"space": Log(0.03, 0.5)}
        )
        """Similarities are divided by it."""
        projection: Annotated[int, AtLeast(1)] = 128
        """Outputs of the projection that the loss compares."""
        views: str | None = None
        """Augmentations of the second view, as data.augment takes them; null: for colour images
        resized_crop+flip+jitter+gray, for gray ones crop, for others none."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.mask != "none":
                raise UsageError(
                    f"strategy.mask={self.mask} is of scores, and this loss has none; leave it out"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, lambda: Projecting(build_model(), config.projection))
        self.views = suited(info.input_shape, info.dtype) if config.views is None else config.views
        check_augment(self.views, info.input_shape, info.dtype, info.scale)
        means = self.weights.new_zeros(info.n_classes, self.model.width)
        self.register_buffer("means", means)
        self.register_buffer("count", torch.zeros(info.n_classes, dtype=torch.int64))
        self.means: Tensor
        """``(n_classes, d)``: means of the stored samples' features, of length one."""
        self.count: Tensor
        """``(n_classes,)`` int64: stored samples of each class, when the means were taken."""

    def resolved(self) -> dict[str, object]:
        """Add the augmentations of the second view."""
        return {**super().resolved(), "views": self.views}

    def loss(self, batch: Batch) -> Tensor:
        """Compute the supervised contrastive loss of both views, 0-d."""
        both = torch.cat([batch.x, *views(self.views, batch.x, 1)])
        sample = torch.arange(len(batch.y), device=batch.y.device).repeat(2)
        temperature = self.config.temperature
        return supervised_contrastive(self.model(both), batch.y.repeat(2), sample, temperature)

    @torch.no_grad()
    def prepare(self) -> None:
        """Take the means of the stored samples' features."""
        stored = self.memory.x[: int(self.memory.filled)].to(self.info.dtype)
        y = self.memory.y[: len(stored)]
        sums = torch.zeros_like(self.means)
        with evaluating(self.model):
            for x, of in zip(stored.split(AT_ONCE), y.split(AT_ONCE), strict=True):
                sums.index_add_(0, of, self.model.features(x))
        self.means.copy_(nn.functional.normalize(sums, dim=1))
        self.count.zero_().index_add_(0, y, torch.ones_like(y))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute minus squared distances to the means: ``(B, n_classes)``."""
        distances = squared_distances(self.model.features(x), self.means)
        return among_seen(-distances, self.count)
