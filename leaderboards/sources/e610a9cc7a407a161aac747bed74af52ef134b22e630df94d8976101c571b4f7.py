"""Discrete key-value bottleneck: trains the values at the nearest of frozen keys.

Träuble et al. 2023, "Discrete Key-Value Bottleneck" (ICML, arXiv 2207.11240). C frozen random maps
project a latent. Each of C codebooks finds the nearest of its P frozen keys and reads the key's value,
which is one number for each class. The scores are the mean over codebooks. Only values that were read
are changed, so values elsewhere are not forgotten. Values start at zero. Predictions leave out keys
that were never selected in training. Tasks need not be known. It is made for latents and runs on
pixels too.

Deviations: there are C = 64 codebooks of P = 256 keys, to save bytes (the paper: 256 and 4,096). Keys
are not fitted by moving averages on unlabelled samples of another data set. They are drawn at the
first experience, from a normal distribution for each codebook. It has the mean and covariance of that
experience's projected samples, without labels, and is ``key_spread`` times as wide, since later
samples lie elsewhere. With the paper's 2,000 epochs a task, values become large; in a single pass
they stay near zero, and a read is a count of labels. The run's model is not used. ``reset_weights``
is not for this strategy: it loses the keys, which are not drawn from samples again.

``key_spread`` was chosen on validation parts (seed 100, class_incremental) among 0.5, 1, 2, 3 and 5.
On latents of mnist5k, 2 and 3 are best; on digits, 1 and 3 do not differ measurably.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData
from clbench.latents import vectors, width
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Log

FITTED_BYTES = 1 << 28
"""Bytes of samples of the first experience that the keys are fitted to; the rest is left out."""


class Bottleneck(nn.Module):
    """Scores raw samples, ``(B, *input_shape)`` to ``(B, n_classes)``, by projections, keys, values."""

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
        """``(C, P)`` bool: keys that were selected in training."""

    def heads(self, x: Tensor) -> Tensor:
        """Project ``(B, *input_shape)`` to ``(C, B, key_size)``."""
        z = vectors(x, self.scale, self.projection.dtype) @ self.projection
        return z.view(len(z), self.shape[0], self.shape[2]).transpose(0, 1)

    @torch.no_grad()
    def fit_keys(self, x: Tensor, spread: float) -> None:
        """Give standard normal keys the mean of x and its covariance, ``spread`` times as wide."""
        heads = self.heads(x)
        mean = heads.mean(1, keepdim=True)
        covariance = (heads - mean).mT @ (heads - mean) / heads.shape[1]
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        # A few samples, or constant pixels, span no volume, and all keys would coincide.
        diagonal.add_(1e-3 * diagonal.mean(1, keepdim=True) + 1e-6)
        factor = torch.linalg.cholesky_ex(covariance).L
        self.keys.copy_(mean + spread * self.keys @ factor.mT)

    @torch.no_grad()
    def select(self, x: Tensor, among: Tensor | None = None) -> Tensor:
        """Find the nearest key of each codebook; return its rows of the values, ``(B, C)`` int64.

        Args:
            x: ``(B, *input_shape)`` raw samples.
            among: ``(C, P)`` bool, the keys to choose from; None: all.
        """
        lengths = self.keys.square().sum(2)
        if among is not None:
            lengths = lengths.masked_fill(~among, torch.inf)
        distance = torch.baddbmm(lengths[:, None], self.heads(x), self.keys.mT, alpha=-2)
        first = torch.arange(self.shape[0], device=x.device) * self.shape[1]
        return distance.argmin(2).T + first

    def read(self, rows: Tensor) -> Tensor:
        """Average the values of ``(B, C)`` rows to ``(B, n_classes)``."""
        return F.embedding(rows, self.values).mean(1)

    def forward(self, x: Tensor) -> Tensor:
        """Read at the nearest used key, or at the nearest of all keys before any was used."""
        return self.read(self.select(x, self.used | ~self.used.any()))


class Dkvb(GradientStrategy):
    """Trains values at the nearest of frozen keys."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the bottleneck."""

        lr: Annotated[float | None, Positive] = 0.3
        """Learning rate (0.3 in the paper); null: 0.1 for SGD, 0.001 for every other optimizer."""
        clip_norm: Annotated[float | None, Positive] = 1.0
        """The gradient's norm is clipped to this (1 in the paper); null: not clipped."""
        label_smoothing: Annotated[float, Within(0, 1, open_high=True)] = 0.1
        """Share of the target that is spread over all classes that are not masked out."""
        codebooks: Annotated[int, AtLeast(1)] = 64
        """Projections, each with keys of its own (C)."""
        keys: Annotated[int, AtLeast(1)] = 256
        """Keys in a codebook (P)."""
        key_size: Annotated[int, AtLeast(1)] = 14
        """Dimensions of a key."""
        key_spread: Annotated[float, Positive] = field(default=2.0, metadata={"space": Log(0.5, 8)})
        """Width of the keys' distribution, as a multiple of the first experience's width."""

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
            size = math.prod(self.info.input_shape) * self.info.dtype.itemsize
            first = task.first(max(1, FITTED_BYTES // size))
            self.model.fit_keys(first.x, self.config.key_spread)
            self.fitted.fill_(True)
        return task

    def scores(self, batch: Batch) -> Tensor:
        """Read the logits that the loss uses, ``(B, n_classes)``, and note the keys as used."""
        rows = self.model.select(batch.x)
        self.model.used.view(-1)[rows.flatten()] = True
        return self.masked(self.model.read(rows), batch)

    def loss(self, batch: Batch) -> Tensor:
        """Compute the cross-entropy with smoothed labels, 0-d; masked classes get no share."""
        log_p = self.scores(batch).log_softmax(1)
        there = log_p > -torch.inf
        labelled = batch.y >= 0
        own = log_p.gather(1, batch.y.clamp_min(0)[:, None]).squeeze(1)
        spread = torch.where(there, log_p, 0.0).sum(1) / there.sum(1)
        smoothing = self.config.label_smoothing
        losses = -(1 - smoothing) * own - smoothing * spread
        return torch.where(labelled, losses, 0.0).sum() / labelled.sum().clamp_min(1)
