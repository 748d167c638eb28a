"""What gradient-free learners share: samples as vectors, class means, regularised solutions.

Made for latents, and good for pixels: a raw sample is flattened and brought to the unit range. All
statistics are of fixed size, are updated by batches on the device, and leave out what is unlabelled
by giving it the weight 0, so nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.strategy import StreamInfo
from clbench.stream import TaskData


def check_at_least(**sizes: int) -> None:
    """Refuse settings ``strategy.<name>`` below 1.

    Raises:
        UsageError: naming the first of them.
    """
    for name, value in sizes.items():
        if value < 1:
            raise UsageError(f"strategy.{name}={value} must be at least 1")


def width(info: StreamInfo) -> int:
    """The number of values of a sample."""
    return math.prod(info.input_shape)


def vectors(x: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """``(B, *input_shape)`` raw samples to ``(B, d)`` in the unit range."""
    z = x.flatten(1).to(dtype)
    return z if scale == 1 else z * scale


def batches(task: TaskData, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """An experience by batches, in the delivered order, once.

    Yields ``(B, *input_shape)`` raw samples, their ``(B,)`` int64 classes, and ``(B,)`` int64: 1, or
    0 where a sample is unlabelled and its class means nothing.
    """
    of, labelled = task.y.clamp_min(0), (task.y >= 0).long()
    return zip(task.x.split(size), of.split(size), labelled.split(size), strict=True)


def among_seen(scores: Tensor, count: Tensor) -> Tensor:
    """``(B, n_classes)`` scores, minus infinity for classes never seen once any has been.

    Args:
        scores: ``(B, n_classes)``.
        count: ``(n_classes,)`` samples seen of each class.
    """
    seen = count > 0
    return scores.masked_fill(~seen & seen.any(), -torch.inf)


def squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    """``(B, d)`` and ``(n, d)`` to ``(B, n)`` squared Euclidean distances, by one matrix product.

    They are off by rounding of the squared lengths, and so may be a little below zero.
    """
    lengths = centres.square().sum(1) + x.square().sum(1, keepdim=True)
    return torch.addmm(lengths, x, centres.mT, alpha=-2)


def solve_ridge(matrix: Tensor, ridge: float, right: Tensor) -> Tensor:
    """``(matrix + ridge I)^-1 right`` in double precision, for a matrix that has no negative side.

    A sum of squares in single precision may fall short of that by rounding, where samples are far
    from the unit range; its eigenvalues are then brought back to at least ``ridge``.

    Args:
        matrix: ``(d, d)`` symmetric, positive semi-definite but for rounding.
        ridge: above 0.
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


class ClassMeans(nn.Module):
    """The mean and the number of the samples of each class, updated by batches."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_classes, width))
        self.register_buffer("count", torch.zeros(n_classes, dtype=torch.int64))
        self.mean: Tensor
        """``(n_classes, d)``: zero where nothing has been seen."""
        self.count: Tensor
        """``(n_classes,)`` int64"""

    def gaps(self, z: Tensor, of: Tensor) -> Tensor:
        """``(B, d)``: samples minus the mean of their class ``(B,)`` as it stands."""
        mean = self.mean.index_select(0, of)
        return torch.sub(z, mean, out=mean)

    def shares(self, y: Tensor, batch_size: int) -> Tensor:
        """``(n, 1)``: how far a sample moves its class's mean; counts the samples of an experience.

        One over the samples of its class up to the end of its batch, 0 where it is unlabelled.

        Args:
            y: ``(n,)`` int64 labels in the delivered order; -1: unlabelled.
            batch_size: samples that come into the means at once.
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
        """Take samples, given by their ``(B, d)`` gaps, which it overwrites, into the means.

        Steps and not sums: a mean keeps its magnitude, so rounding does not pile up.

        Args:
            gaps: of ``gaps``.
            of: ``(B,)`` int64 classes.
            share: ``(B, 1)`` of ``shares``.
        """
        self.mean.index_add_(0, of, gaps.mul_(share))
