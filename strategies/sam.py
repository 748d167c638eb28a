"""Sharpness-aware minimisation: each step follows the gradient at the worst point close by.

Foret, Kleiner, Mobahi & Neyshabur 2021 (ICLR, arXiv 2010.01412), p = 2: with g the gradient of the
batch's loss at w, the update uses the gradient of the same batch's loss at w + rho g / |g|, so the
weights move to where the loss is low all around, which a later task's updates do less harm to. Two
gradients a step, hence twice the cost.

Batch normalisation sees each batch twice, the second time at the moved weights, and its running
statistics take in both passes. Dropout draws anew in the second pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from clbench import Batch, GradientStrategy, UsageError


class SAM(GradientStrategy):
    """Descends the gradient at the ascended weights."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of sharpness-aware minimisation."""

        rho: float = 0.05
        """Radius of the neighbourhood (the paper's default); 0 is plain SGD at twice the cost."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (math.isfinite(self.rho) and self.rho >= 0):
                raise UsageError(f"strategy.rho={self.rho} must be finite and >= 0")

    def step(self, batch: Batch) -> None:
        """Up to the worst point close by, take the gradient there, and follow it from where we were."""
        ascent = self.gradient(batch)
        before = self.weights.clone()
        self.weights.add_(ascent.mul_(self.config.rho / (torch.linalg.vector_norm(ascent) + 1e-12)))
        gradient = self._flat.gradient(self.loss(batch))
        self.weights.copy_(before)
        self.descend(gradient)
