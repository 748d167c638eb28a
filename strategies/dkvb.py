"""Discrete key-value bottleneck: sparse, local updates of values at frozen keys.

Träuble et al. 2023, "Discrete Key-Value Bottleneck" (ICML, arXiv 2207.11240). A latent is projected
by C frozen random maps; in each codebook the nearest of P frozen keys is found, and its value, one
number for each class, is read; the scores are the mean over codebooks. Only values that were read are
changed, so what lies elsewhere is not forgotten. Values start at zero; at prediction, keys that were
never selected in training are left out. Task-free. Made for latents, runs on pixels, too.

Deviations: C = 64 codebooks of P = 256 keys (256 and 4,096 in the paper: state bytes). Keys are not
quantised by moving averages on unlabelled samples of another data set, but drawn when the first
experience comes: normal, with the mean and covariance, per codebook, of its projected samples without
their labels, and ``key_spread`` times as wide, for what comes later lies elsewhere. With 2,000 epochs
a task, as in the paper, values get large; in a single pass they stay near zero, where a read is a
count of labels. The model of the run is not used.

``key_spread`` was chosen on validation parts (seed 100, class_incremental): of 0.5, 1, 2, 3 and 5,
latents of mnist5k do best at 2 and 3; on digits 1 and 3 cannot be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.latents import check_at_least, vectors, width


class Bottleneck(nn.Module):
    """Projections, keys and values: ``(B, *input_shape)`` raw samples to ``(B, n_classes)``."""

    def __init__(self, info: StreamInfo, codebooks: int, keys: int, key_size: int) -> None:
        super().__init__()
        self.scale, self.shape = info.scale, (codebooks, keys, key_size)
        d = width(info)
        self.values = nn.Parameter(torch.zeros(codebooks * keys, info.n_classes))
        """``(C * P, n_classes)``"""
        projection = torch.randn(d, codebooks * key_size) / math.sqrt(d)
        self.register_buffer("projection", projection)
        self.register_buffer("keys", torch.randn(self.shape))
        self.register_buffer("used", torch.zeros(codebooks, keys, dtype=torch.bool))
        self.projection: Tensor
        """``(d, C * key_size)``"""
        self.keys: Tensor
        """``(C, P, key_size)``: standard normal until ``fit_keys``."""
        self.used: Tensor
        """``(C, P)`` bool: selected in training."""

    def heads(self, x: Tensor) -> Tensor:
        """``(B, *input_shape)`` to ``(C, B, key_size)``."""
        z = vectors(x, self.scale, self.projection.dtype) @ self.projection
        return z.view(len(z), self.shape[0], self.shape[2]).transpose(0, 1)

    @torch.no_grad()
    def fit_keys(self, x: Tensor, spread: float) -> None:
        """Give standard normal keys the mean and, ``spread`` times as wide, the covariance of x."""
        heads = self.heads(x)
        mean = heads.mean(1, keepdim=True)
        covariance = (heads - mean).mT @ (heads - mean) / heads.shape[1]
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        # A few samples, or constant pixels, span no volume: all keys would be at one place.
        diagonal.add_(1e-3 * diagonal.mean(1, keepdim=True) + 1e-6)
        factor = torch.linalg.cholesky_ex(covariance).L
        self.keys.copy_(mean + spread * self.keys @ factor.mT)

    @torch.no_grad()
    def select(self, x: Tensor, among: Tensor | None = None) -> Tensor:
        """``(B, C)`` int64 rows of the values: per codebook that of the nearest key.

        Args:
            x: ``(B, *input_shape)`` raw samples.
            among: ``(C, P)`` bool: keys to choose from; None: all.
        """
        lengths = self.keys.square().sum(2)
        if among is not None:
            lengths = lengths.masked_fill(~among, torch.inf)
        distance = torch.baddbmm(lengths[:, None], self.heads(x), self.keys.mT, alpha=-2)
        first = torch.arange(self.shape[0], device=x.device) * self.shape[1]
        return distance.argmin(2).T + first

    def read(self, rows: Tensor) -> Tensor:
        """``(B, C)`` rows to ``(B, n_classes)``: the mean of their values."""
        return F.embedding(rows, self.values).mean(1)

    def forward(self, x: Tensor) -> Tensor:
        """Read at the nearest of the keys that have been used, or of all before any has."""
        return self.read(self.select(x, self.used | ~self.used.any()))


class Dkvb(GradientStrategy):
    """Learns values at the nearest of frozen keys."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the bottleneck."""

        lr: float | None = 0.3
        """Learning rate (0.3 in the paper); null: 0.1 for SGD, 0.001 for every other optimizer."""
        clip_norm: float | None = 1.0
        """The gradient's norm is clipped to this (1 in the paper); null: not clipped."""
        label_smoothing: float = 0.1
        """Share of the target that is spread over all classes that take part."""
        codebooks: int = 64
        """Projections, each with keys of its own (C)."""
        keys: int = 256
        """Keys in a codebook (P)."""
        key_size: int = 14
        """Dimensions of a key."""
        key_spread: float = 2.0
        """How many times as wide as the first experience the keys are drawn."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_at_least(codebooks=self.codebooks, keys=self.keys, key_size=self.key_size)
            if not 0 <= self.label_smoothing < 1:
                raise UsageError(
                    f"strategy.label_smoothing={self.label_smoothing} must be in 0 to below 1"
                )
            if not (math.isfinite(self.key_spread) and self.key_spread > 0):
                raise UsageError(
                    f"strategy.key_spread={self.key_spread} must be finite and positive"
                )

    model: Bottleneck

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        sizes = config.codebooks, config.keys, config.key_size
        super().__init__(info, config, partial(Bottleneck, info, *sizes))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.fitted: Tensor

    def begin(self, task: TaskData) -> TaskData:
        """Draw the keys, if this is the first experience."""
        if not bool(self.fitted):
            self.model.fit_keys(task.x, self.config.key_spread)
            self.fitted.fill_(True)
        return task

    def scores(self, batch: Batch) -> Tensor:
        """``(B, n_classes)`` reads, masked as the loss is to see them; notes the keys as used."""
        rows = self.model.select(batch.x)
        self.model.used.view(-1)[rows.flatten()] = True
        return self.masked(self.model.read(rows), batch)

    def loss(self, batch: Batch) -> Tensor:
        """0-d: cross-entropy with smoothed labels; classes that are masked out get no share."""
        log_p = self.scores(batch).log_softmax(1)
        there = log_p > -torch.inf
        labelled = batch.y >= 0
        own = log_p.gather(1, batch.y.clamp_min(0)[:, None]).squeeze(1)
        spread = torch.where(there, log_p, 0.0).sum(1) / there.sum(1)
        smoothing = self.config.label_smoothing
        losses = -(1 - smoothing) * own - smoothing * spread
        return torch.where(labelled, losses, 0.0).sum() / labelled.sum().clamp_min(1)
