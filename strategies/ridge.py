"""Ridge regression on random features: the core of RanPAC, solved in closed form.

McDonnell et al. 2023, "RanPAC: Random Projections and Pre-trained Models for Continual Learning"
(NeurIPS, arXiv 2307.02251). A frozen random M turns latents z into ``h = relu(z M)``. Only the Gram
matrix ``G = sum h h^T`` and the class sums ``C = sum h onehot(y)^T`` are learnt. Scores are
``h (G + lam I)^-1 C``. Up to rounding, the result is ridge regression on all samples seen, in any
order and in any batches.

Deviations: the projection has 1,024 outputs (theirs 10,000; G is part of the state and has the square
of that); lam is a setting (theirs is chosen after every task on a validation split, from 10^-8 to
10^8); M is divided by the root of the number of latents, so that h stays in the unit range and lam
means the same for wide and narrow latents; the encoder is not adapted to the first session. There is
one pass and no augmentation.

On the validation part of latents of mnist5k (seed 100, class_incremental), lam = 0.01, 0.1, 10 and
100 differ by less than half a point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData
from clbench.latents import among_seen, batches, solve_ridge, vectors, width
from clbench.settings import AtLeast, Positive
from clbench.space import Log


class Ridge(Strategy):
    """Predicts by ridge regression of labels on random features."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of the projection and of the regression."""

        projection: Annotated[int, AtLeast(1)] = 1024
        """Random features (M in the paper)."""
        lam: Annotated[float, Positive] = field(default=1.0, metadata={"space": Log(1e-2, 1e6)})
        """Weight of the squared norm of the regression's weights; the loss is a sum over samples."""
        batch_size: Annotated[int, AtLeast(1)] = 64
        """Samples that the sums are updated with at once; it changes speed alone."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        d, p, n = width(info), config.projection, info.n_classes
        self.register_buffer("projection", torch.randn(d, p) / math.sqrt(d))
        self.register_buffer("gram", torch.zeros(p, p))
        self.register_buffer("sums", torch.zeros(p, n))
        self.register_buffer("count", torch.zeros(n, dtype=torch.int64))
        self.register_buffer("solution", torch.zeros(p, n))
        self.projection: Tensor
        """``(d, p)``: drawn once, then frozen."""
        self.gram: Tensor
        """``(p, p)``"""
        self.sums: Tensor
        """``(p, n_classes)``"""
        self.count: Tensor
        """``(n_classes,)`` int64"""
        self.solution: Tensor
        """``(p, n_classes)``: the weights as of the last ``prepare``."""

    def features(self, x: Tensor) -> Tensor:
        """Compute the random features of raw samples: ``(B, *input_shape)`` to ``(B, p)``."""
        return (vectors(x, self.info.scale, self.gram.dtype) @ self.projection).relu_()

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Add the samples to the sums; unlabelled ones count as zero."""
        classes = torch.arange(self.info.n_classes, device=task.y.device)
        for x, of, labelled in batches(task, self.config.batch_size):
            is_class = (of[:, None] == classes) & (labelled[:, None] > 0)
            h = self.features(x).mul_(labelled[:, None])
            self.gram.addmm_(h.mT, h)
            self.sums.addmm_(h.mT, is_class.to(h.dtype))
            self.count.add_(is_class.sum(0))

    def prepare(self) -> None:
        """Solve for the regression's weights."""
        self.solution.copy_(solve_ridge(self.gram, self.config.lam, self.sums))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Predict the one-hot labels: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        return among_seen(self.features(x) @ self.solution, self.count)
