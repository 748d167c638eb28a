"""Batch normalisation that also learns from a batch with one value per channel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm1d(nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` for series, which differs as ``BatchNorm2d`` below does."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` to the same shape."""
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


class BatchNorm2d(nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d``, except where a training batch holds one value per channel.

    A single value has no variance, and torch's layer raises ``ValueError`` there: the last batch of a
    task may be one sample, and late layers of small images are one pixel. Such a batch is normalised
    by the running statistics, as in evaluation, and leaves them as they are. All other batches give
    the same bits as torch's layer.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


def tolerant(network: nn.Module) -> nn.Module:
    """Turn torch's own layers inside a network into ``BatchNorm2d``; nothing else changes.

    Layers of classes derived from torch's, which normalise in ways of their own, stay as they are.
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm2d
    return network
