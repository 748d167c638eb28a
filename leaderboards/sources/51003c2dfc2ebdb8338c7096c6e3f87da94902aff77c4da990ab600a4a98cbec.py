"""RanPAC with its first phase: adapts the network to task 1, then solves ridge regression in it.

McDonnell et al. 2023, "RanPAC: Random Projections and Pre-trained Models for Continual Learning"
(NeurIPS, arXiv 2307.02251), algorithm 1. The network is tuned on the first task (``model.tune=adapter``
is the paper's choice for transformers) and frozen. Its features f become ``h = relu(f M)``, M standard
normal. ``G = sum h h^T`` and ``Q = sum h onehot(y)^T`` are summed over all tasks; scores are
``h (G + lam I)^-1 Q``. With ``choose_lam`` lam is chosen after every experience from 10^-8, 10^-7, ...
10^8: each is fitted on the first 80 % of its samples, and that of the least squared error on the last
20 % holds (as in the authors' code). It is not the default, since a tiny lam, which few samples lead
to, lets rounding into the scores. The method as published is

    model.tune=adapter model.tune_rank=64 strategy.projection=10000 strategy.choose_lam=true

``strategy.adapt=false`` leaves the first phase out; on the latents of an encoder, ``strategy=ridge``
with ``strategy.scaled=false`` is the same. Deviations: M has 1,024 outputs by default (the paper:
10,000, whose G alone is 400 MB); all lams are solved by one eigendecomposition in double precision; the
first experience is what is adapted to; the optimizer is the common one (the authors: SGD .01 with a
cosine, 20 epochs, batch 48).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import StreamInfo, TaskData
from clbench.first_session import FirstSession
from clbench.latents import among_seen, choose_ridge, solve_ridge
from clbench.settings import AtLeast, Positive
from clbench.space import Log


class RanPAC(FirstSession):
    """Predicts by ridge regression of labels on random features of an adapted network."""

    @dataclass(frozen=True)
    class Config(FirstSession.Config):
        """Settings of the projection and of the regression."""

        projection: Annotated[int, AtLeast(1)] = 1024
        """Random features (M in the paper); G has the square of that."""
        lam: Annotated[float, Positive] = field(default=1.0, metadata={"space": Log(1e-2, 1e6)})
        """Weight of the squared norm of the regression's weights, until it is chosen."""
        choose_lam: bool = False
        """Choose lam after every experience, from 1e-8 to 1e8, by the error on its last fifth. The
        random features of an experience must fit in memory."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        p, n = config.projection, info.n_classes
        self.register_buffer("projection", torch.randn(self.width, p))
        self.register_buffer("gram", torch.zeros(p, p))
        self.register_buffer("sums", torch.zeros(p, n))
        self.register_buffer("count", torch.zeros(n, dtype=torch.int64))
        self.register_buffer("solution", torch.zeros(p, n))
        self.register_buffer("chosen", torch.tensor(config.lam))
        self.projection: Tensor
        """``(d, p)``: drawn once, then frozen."""
        self.gram: Tensor
        """``(p, p)``: G."""
        self.sums: Tensor
        """``(p, n_classes)``: Q."""
        self.count: Tensor
        """``(n_classes,)`` int64"""
        self.solution: Tensor
        """``(p, n_classes)``: the weights as of the last ``prepare``."""
        self.chosen: Tensor
        """0-d: lam as it was chosen last."""

    def features(self, x: Tensor) -> Tensor:
        """Compute the random features of raw samples: ``(B, *input_shape)`` to ``(B, p)``."""
        return (super().features(x) @ self.projection).relu_()

    def collect(self, task: TaskData) -> None:
        """Add the samples to the sums, and choose lam; unlabelled ones count as zero."""
        classes = torch.arange(self.info.n_classes, device=task.y.device)
        kept: list[tuple[Tensor, Tensor]] = []
        for h, of, labelled in self.parts(task):
            is_class = (of[:, None] == classes) & (labelled[:, None] > 0)
            h, y = h * labelled[:, None], is_class.to(h.dtype)
            self.gram.addmm_(h.mT, h)
            self.sums.addmm_(h.mT, y)
            self.count.add_(is_class.sum(0))
            if self.config.choose_lam:
                kept.append((h, y))
        if self.config.choose_lam:
            self.chosen.copy_(choose_ridge(kept, self.chosen))

    @torch.no_grad()
    def prepare(self) -> None:
        """Solve for the regression's weights."""
        self.solution.copy_(solve_ridge(self.gram, self.chosen, self.sums))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Predict the one-hot labels: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        return among_seen(self.features(x) @ self.solution, self.count)
