"""Random projection and ridge regression: the core of RanPAC, in closed form.

McDonnell et al. 2023, "RanPAC: Random Projections and Pre-trained Models for Continual Learning"
(NeurIPS, arXiv 2307.02251). Latents z become ``h = relu(z M)`` by a frozen random M; the Gram matrix
``G = sum h h^T`` and the class sums ``C = sum h onehot(y)^T`` are all that is learnt; scores are
``h (G + lam I)^-1 C``. So the result is that of ridge regression on everything seen, in any order
and in any batches, but for rounding.

Deviations: the projection has 1,024 outputs (theirs 10,000: G is state, and has their square); lam is
a setting (theirs is chosen after every task by a validation split, from 10^-8 to 10^8); M is divided
by the root of the number of latents, so that h stays in the unit range and lam means the same for
wide and narrow latents; no first-session adaptation of the encoder. One pass, no augmentation.

On the validation part of latents of mnist5k (seed 100, class_incremental), lam = 0.01, 0.1, 10 and
100 are within half a point of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData, UsageError
from clbench.latents import among_seen, batches, check_at_least, solve_ridge, vectors, width


class Ridge(Strategy):
    """Ridge regression of labels on random features."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of the projection and of the regression."""

        projection: int = 1024
        """Random features (M in the paper)."""
        lam: float = 1.0
        """Weight of the squared norm of the regression's weights, beside a sum over samples."""
        batch_size: int = 64
        """Samples that the sums are updated with at once: a matter of speed."""

        def __post_init__(self) -> None:
            check_at_least(projection=self.projection, batch_size=self.batch_size)
            if not (math.isfinite(self.lam) and self.lam > 0):
                raise UsageError(f"strategy.lam={self.lam} must be finite and positive")

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
        """``(B, *input_shape)`` raw samples to ``(B, p)``."""
        return (vectors(x, self.info.scale, self.gram.dtype) @ self.projection).relu_()

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Add to the sums; what is unlabelled counts as zero."""
        classes = torch.arange(self.info.n_classes, device=task.y.device)
        for x, of, labelled in batches(task, self.config.batch_size):
            is_class = (of[:, None] == classes) & (labelled[:, None] > 0)
            h = self.features(x).mul_(labelled[:, None])
            self.gram.addmm_(h.mT, h)
            self.sums.addmm_(h.mT, is_class.to(h.dtype))
            self.count.add_(is_class.sum(0))

    def prepare(self) -> None:
        """Solve for the weights."""
        self.solution.copy_(solve_ridge(self.gram, self.config.lam, self.sums))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """``(B, *input_shape)`` to ``(B, n_classes)``: the regression of the one-hot labels."""
        return among_seen(self.features(x) @ self.solution, self.count)
