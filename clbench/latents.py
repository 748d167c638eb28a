"""Helpers of gradient-free learners: samples as vectors, class means, ridge regression.

They are made for latents and work for pixels: a raw sample is flattened and brought to the unit
range. All statistics have a fixed size and are updated by batches on the device. An unlabelled sample
gets the weight 0, so that nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from clbench.strategy import StreamInfo
from clbench.stream import TaskData

AT_ONCE = 1 << 22
"""Entries of outer products that are made at once."""
FIT = 0.8
"""Share of an experience that each ridge is fitted on, before it is tried on the rest."""
EXPONENTS = range(-8, 9)
"""Of ten, for each ridge that is tried."""


def width(info: StreamInfo) -> int:
    """Count the values of a sample."""
    return math.prod(info.input_shape)


def vectors(x: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Flatten raw samples ``(B, *input_shape)`` to ``(B, d)`` in the unit range."""
    z = x.flatten(1).to(dtype)
    return z if scale == 1 else z * scale


def batches(task: TaskData, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Go through an experience once, by batches in the delivered order.

    It yields raw samples ``(B, *input_shape)``, their classes ``(B,)`` int64, and ``(B,)`` int64 that
    is 1 for a labelled sample. An unlabelled one has 0, and its class means nothing.
    """
    of, labelled = task.y.clamp_min(0), (task.y >= 0).long()
    return zip(task.samples(size), of.split(size), labelled.split(size), strict=True)


def among_seen(scores: Tensor, count: Tensor) -> Tensor:
    """Set the scores of classes that were never seen to minus infinity, once any class was seen.

    Args:
        scores: ``(B, n_classes)``.
        count: ``(n_classes,)``, the samples seen of each class.
    """
    seen = count > 0
    return scores.masked_fill(~seen & seen.any(), -torch.inf)


def squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    """Compute squared Euclidean distances ``(B, n)`` of ``(B, d)`` to ``(n, d)``, by one product.

    They have the rounding error of the squared lengths, so they may be slightly below zero.
    """
    lengths = centres.square().sum(1) + x.square().sum(1, keepdim=True)
    return torch.addmm(lengths, x, centres.mT, alpha=-2)


def solve_ridge(matrix: Tensor, ridge: float | Tensor, right: Tensor) -> Tensor:
    """Compute ``(matrix + ridge I)^-1 right`` in double precision.

    By rounding, a sum of squares in single precision may have eigenvalues below zero if samples are
    far from the unit range. All eigenvalues are then raised to at least ``ridge``.

    Args:
        matrix: ``(d, d)`` symmetric, positive semi-definite up to rounding.
        ridge: above 0; a number or a 0-d tensor.
        right: ``(d, n)``.

    Returns:
        ``(d, n)`` in the dtype of ``right``.
    """
    shifted = matrix.double()
    shifted = (shifted + shifted.mT) / 2
    shifted.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(shifted)
    if bool(failed):
        values, basis = torch.linalg.eigh(shifted)
        inverse = values.clamp_min(ridge).reciprocal()[:, None]
        found = basis @ (inverse * (basis.mT @ right.double()))
    else:
        found = torch.cholesky_solve(right.double(), factor)
    return cast(Tensor, found.to(right.dtype))


def choose_ridge(kept: list[tuple[Tensor, Tensor]], current: Tensor) -> Tensor:
    """Choose the ridge as RanPAC does: fitted on the first 80 % of an experience, tried on the rest.

    Of ``10^-8 .. 10^8`` that of the least squared error holds. With the eigenvectors of the smaller
    Gram matrix, of samples or of features, each ridge is a diagonal; all in double precision.

    Args:
        kept: batches of features ``(B, p)`` and one-hot labels ``(B, C)``.
        current: 0-d; it stays where there are too few samples to choose by.

    Returns:
        0-d, as ``current``.
    """
    h, y = (torch.cat(parts).double() for parts in zip(*kept, strict=True))
    n = int(FIT * len(h))
    if not 0 < n < len(h):
        return current
    fit, of, rest = h[:n], y[:n], h[n:]
    by_samples = n <= h.shape[1]
    values, basis = torch.linalg.eigh(fit @ fit.mT if by_samples else fit.mT @ fit)
    left = rest @ (fit.mT @ basis) if by_samples else rest @ basis
    right = basis.mT @ of if by_samples else (fit @ basis).mT @ of
    values = values.clamp_min(0)[:, None]
    found = [left @ (right / (values + 10.0**power)) for power in EXPONENTS]
    errors = torch.stack([(scores - y[n:]).square().mean() for scores in found])
    return (10.0 ** (errors.argmin() + EXPONENTS[0])).to(current.dtype)


class ClassMeans(nn.Module):
    """Keeps the mean and the number of the samples of each class, updated by batches."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_classes, width))
        self.register_buffer("count", torch.zeros(n_classes, dtype=torch.int64))
        self.mean: Tensor
        """``(n_classes, d)``: zero for a class that was never seen."""
        self.count: Tensor
        """``(n_classes,)`` int64"""

    def gaps(self, z: Tensor, of: Tensor) -> Tensor:
        """Subtract from samples ``(B, d)`` the current mean of their class ``(B,)``."""
        mean = self.mean.index_select(0, of)
        return torch.sub(z, mean, out=mean)

    def shares(self, y: Tensor, batch_size: int) -> Tensor:
        """Count an experience's samples; return how far each moves the mean of its class, ``(n, 1)``.

        This is one over the samples of its class up to the end of its batch. It is 0 for an
        unlabelled sample.

        Args:
            y: ``(n,)`` int64 labels in the delivered order; -1: unlabelled.
            batch_size: samples that are added to the means at once.
        """
        n_classes, labelled = len(self.count), (y >= 0).long()
        n_batches = -(-len(y) // batch_size)
        batch = torch.arange(len(y), device=y.device).div_(batch_size, rounding_mode="floor")
        place = y.clamp_min(0).add_(batch, alpha=n_classes)
        seen = self.count.new_zeros(n_batches, n_classes)
        seen.view(-1).scatter_add_(0, place, labelled)
        seen = seen.cumsum_(0).add_(self.count)
        self.count.copy_(seen[-1])
        count = seen.view(-1).index_select(0, place).clamp_min_(1)
        return labelled.to(self.mean.dtype).div_(count)[:, None]

    def move(self, gaps: Tensor, of: Tensor, share: Tensor) -> None:
        """Add samples to the means. The means are moved and not summed, so rounding does not add up.

        Args:
            gaps: ``(B, d)``, from ``gaps``; they are overwritten.
            of: ``(B,)`` int64 classes.
            share: ``(B, 1)``, from ``shares``.
        """
        self.mean.index_add_(0, of, gaps.mul_(share))


class ClassCovariances(nn.Module):
    """Keeps mean, number and scatter matrix of the samples of each class.

    The state has ``n_classes (d + d^2)`` numbers.
    """

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_classes, width))
        self.register_buffer("count", torch.zeros(n_classes, dtype=torch.int64))
        self.register_buffer("scatter", torch.zeros(n_classes, width, width))
        self.mean: Tensor
        """``(n_classes, d)``"""
        self.count: Tensor
        """``(n_classes,)`` int64"""
        self.scatter: Tensor
        """``(n_classes, d, d)``: the sum over samples of ``(z - mean)(z - mean)^T``."""

    def add(self, parts: Callable[[], Iterator[tuple[Tensor, Tensor, Tensor]]]) -> None:
        """Add the samples of an experience; they are gone through twice.

        The means of the experience come first, so that its scatter is of centred samples. Then both
        are merged with what is there (Chan, Golub & LeVeque 1983).

        Args:
            parts: goes through the samples: ``(B, d)``, their classes ``(B,)`` int64, and ``(B,)``
                int64 that is 1 for a labelled sample.
        """
        count, total = torch.zeros_like(self.count), torch.zeros_like(self.mean)
        for z, of, labelled in parts():
            count.index_add_(0, of, labelled)
            total.index_add_(0, of, z * labelled[:, None])
        mean = total / count.clamp_min(1)[:, None]
        size = max(1, AT_ONCE // self.mean.shape[1] ** 2)
        for z, of, labelled in parts():
            gaps = (z - mean.index_select(0, of)) * labelled[:, None]
            for gap, to in zip(gaps.split(size), of.split(size), strict=True):
                self.scatter.index_add_(0, to, gap[:, :, None] @ gap[:, None, :])
        both = (self.count + count).clamp_min(1)
        move = mean - self.mean
        weight = (self.count * count / both).to(move.dtype)[:, None, None]
        self.scatter.baddbmm_(move[:, :, None] * weight, move[:, None, :])
        self.mean.add_(move * (count / both).to(move.dtype)[:, None])
        self.count.add_(count)

    def covariance(self, number: int) -> Tensor:
        """The covariance of one class, ``(d, d)``, with n - 1; zero for a class of one sample."""
        return self.scatter[number] / (self.count[number] - 1).clamp_min(1)
