"""Streaming linear discriminant analysis: updates class means and one covariance by batches.

Deep SLDA (Hayes & Kanan 2020, "Lifelong Machine Learning with Deep Streaming Linear Discriminant
Analysis", CVPR-W, arXiv 1909.01520), as Ostapenko et al. 2022 (arXiv 2205.00329) use it on latents.
For a sample x of class y, with n samples and the class mean mu before it,
``Sigma <- (n Sigma + w (x - mu_y)(x - mu_y)^T) / (n + 1)``. Then the mean moves. Scores are
``x Lambda mu_c - mu_c Lambda mu_c / 2`` with ``Lambda = ((1 - shrinkage) Sigma + shrinkage I)^-1``.

- ``weighting=published``: w = n / (n + 1), where n counts all classes. A class's first sample is
  compared with a mean of zero, with almost full weight. So this is not the covariance within classes;
  it approaches it only as n grows.
- ``weighting=pooled``: w = k / (k + 1), where k counts samples of the class (Welford's update). This is
  exactly the covariance within classes over all n samples, and the classifier is LDA with equal
  priors.

``n Sigma`` is a sum over samples. So a batch of B adds one ``(d, B) (B, d)`` product of its rows, each
centred on the mean that the recursion would have had. Up to rounding, the result is that of the
recursion for every ``batch_size``.

Deviations: Sigma starts at zero, not at ones (the first sample erases both). It is not initialised on
other data. Lambda is applied by a Cholesky factor, not as a pseudo-inverse, since the shrunk matrix has
no null space. ``shrinkage`` is absolute, so it is meant for samples of about unit range. There is one
pass, no network, no gradient and no augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData
from clbench.latents import (
    ClassMeans,
    among_seen,
    batches,
    solve_ridge,
    vectors,
    width,
)
from clbench.memory.policies import rank_within
from clbench.settings import AtLeast, Within
from clbench.space import Log

AT_ONCE = 1 << 18
"""Entries of the small matrices that are computed at once, since many small operations are slow."""


def _moved(y: Tensor, back: Tensor, root: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield, for each batch, the ``(B, B)`` matrix that turns gaps into the recursion's rows.

    Gaps are to the means before the batch. Samples of the same class that come earlier in the batch
    have moved the mean.

    Args:
        y: ``(n,)`` int64 labels.
        back: ``(n, 1)``, from ``Slda._weights``.
        root: ``(n, 1)``, from ``Slda._weights``.
        batch_size: B; the last batch may be smaller.
    """
    n = max(1, AT_ONCE // batch_size**2) * batch_size
    for columns in zip(y.split(n), back.split(n), root.split(n), strict=True):
        whole = len(columns[0]) // batch_size * batch_size
        for part, shape in ((slice(whole), (-1, batch_size)), (slice(whole, None), (1, -1))):
            labels, minus, scale = (column[part].view(shape) for column in columns)
            if labels.numel():
                same = (labels[:, :, None] == labels[:, None]).to(minus.dtype)
                same.tril_(-1).mul_(minus[:, :, None]).diagonal(dim1=1, dim2=2).fill_(1)
                yield from same.mul_(scale[:, :, None])


class Slda(Strategy):
    """Classifies by linear discriminant analysis of all samples seen."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of streaming LDA."""

        shrinkage: Annotated[float, Within(0, 1, open_low=True)] = field(
            default=1e-4, metadata={"space": Log(1e-6, 0.1)}
        )
        """Share of the identity in the covariance; the paper's epsilon."""
        weighting: Literal["published", "pooled"] = "published"
        """Weight of a sample in the covariance. published: n/(n+1) over all samples; pooled: k/(k+1)
        over those of its class, which gives the covariance of LDA."""
        batch_size: Annotated[int, AtLeast(1)] = 64
        """Samples that the statistics are updated with at once; it changes speed alone."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        size = width(info)
        self.means = ClassMeans(info.n_classes, size)
        self.register_buffer("scatter", torch.zeros(size, size))
        self.register_buffer("coefficients", torch.zeros(size, info.n_classes))
        self.register_buffer("intercepts", torch.zeros(info.n_classes))
        self.scatter: Tensor
        """``(d, d)``: n times the covariance."""
        self.coefficients: Tensor
        """``(d, n_classes)``: Lambda mu_c as of the last ``prepare``."""
        self.intercepts: Tensor

    def _vectors(self, x: Tensor) -> Tensor:
        return vectors(x, self.info.scale, self.scatter.dtype)

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Update covariance and means, batch by batch."""
        size = self.config.batch_size
        moved = _moved(task.y, *self._weights(task.y), size)  # by the counts before the experience
        shares = self.means.shares(task.y, size).split(size)
        for (x, of, _), move, share in zip(batches(task, size), moved, shares, strict=True):
            gaps = self.means.gaps(self._vectors(x), of)
            rows = move @ gaps
            self.scatter.addmm_(rows.mT, rows)
            self.means.move(gaps, of, share)

    def _weights(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Compute ``-1/k`` and ``sqrt(w)`` of all samples of an experience, ``(n, 1)`` each."""
        count, dtype = self.means.count, self.scatter.dtype
        order = torch.arange(len(y), device=y.device)
        of_class = n = count.index_select(0, y.clamp_min(0)) + rank_within(y, order)
        labelled = (y >= 0).long()
        if self.config.weighting == "published":
            n = count.sum() + labelled.cumsum(0) - labelled
        weight = (labelled * n).to(dtype) / (n + 1)
        return -1 / of_class.clamp_min(1).to(dtype)[:, None], weight.sqrt()[:, None]

    def covariance(self) -> Tensor:
        """Compute Sigma, ``(d, d)``; it is zero before the first sample."""
        return self.scatter / self.means.count.sum().clamp_min(1)

    def prepare(self) -> None:
        """Solve for the discriminants of the current covariance."""
        shrinkage, mean = self.config.shrinkage, self.means.mean
        shrunk = (1 - shrinkage) * self.covariance()
        self.coefficients.copy_(solve_ridge(shrunk, shrinkage, mean.mT))
        self.intercepts.copy_((mean * self.coefficients.mT).sum(1) / -2)

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute the discriminants: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        scores = torch.addmm(self.intercepts, self._vectors(x), self.coefficients)
        return among_seen(scores, self.means.count)
