"""Ridge regression on random features: the core of RanPAC, solved in closed form.

McDonnell et al. 2023, "RanPAC: Random Projections and Pre-trained Models for Continual Learning"
(NeurIPS, arXiv 2307.02251). A frozen random M turns latents z into ``h = relu(z M)``. Only the Gram
matrix ``G = sum h h^T`` and the class sums ``C = sum h onehot(y)^T`` are learnt. Scores are
``h (G + lam I)^-1 C``. Up to rounding, the result is ridge regression on all samples seen, in any
order and in any batches.

By default it differs from RanPAC in three settings: the projection has 1,024 outputs (G is part of
the state and has the square of that); lam is fixed; M is divided by the root of the number of latents,
so that h stays in the unit range and lam means the same for wide and narrow latents. RanPAC without its
first phase is

    strategy.projection=10000 strategy.scaled=false strategy.choose_lam=true

With ``choose_lam`` lam is chosen after every experience from 10^-8, 10^-7, ... 10^8: each is fitted on
the first 80 % of its samples alone, and that of the least squared error on the last 20 % is used with
the sums over all experiences (as in the authors' code). Deviations: the encoder is not adapted to the
first task; all lams are solved by one eigendecomposition, in double precision. There is one pass and no
augmentation.

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
from clbench.latents import among_seen, batches, choose_ridge, solve_ridge, vectors, width
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
        scaled: bool = True
        """Whether the projection is divided by the root of the number of latents; false: standard
        normal, as in RanPAC."""
        choose_lam: bool = False
        """Choose lam after every experience, from 1e-8 to 1e8, by the error on its last fifth, as
        RanPAC does; strategy.lam holds until then. The random features of an experience must fit in
        memory."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        d, p, n = width(info), config.projection, info.n_classes
        drawn = torch.randn(d, p)
        self.register_buffer("projection", drawn / math.sqrt(d) if config.scaled else drawn)
        self.register_buffer("gram", torch.zeros(p, p))
        self.register_buffer("sums", torch.zeros(p, n))
        self.register_buffer("count", torch.zeros(n, dtype=torch.int64))
        self.register_buffer("solution", torch.zeros(p, n))
        if config.choose_lam:
            self.register_buffer("chosen", torch.tensor(config.lam))
        self.chosen: Tensor
        """0-d: lam as it was chosen last."""
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
        kept: list[tuple[Tensor, Tensor]] = []
        for x, of, labelled in batches(task, self.config.batch_size):
            is_class = (of[:, None] == classes) & (labelled[:, None] > 0)
            h = self.features(x).mul_(labelled[:, None])
            self.gram.addmm_(h.mT, h)
            self.sums.addmm_(h.mT, is_class.to(h.dtype))
            self.count.add_(is_class.sum(0))
            if self.config.choose_lam:
                kept.append((h, is_class.to(h.dtype)))
        if self.config.choose_lam:
            self.chosen.copy_(choose_ridge(kept, self.chosen))

    def prepare(self) -> None:
        """Solve for the regression's weights."""
        lam = self.chosen if self.config.choose_lam else self.config.lam
        self.solution.copy_(solve_ridge(self.gram, lam, self.sums))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Predict the one-hot labels: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        return among_seen(self.features(x) @ self.solution, self.count)
