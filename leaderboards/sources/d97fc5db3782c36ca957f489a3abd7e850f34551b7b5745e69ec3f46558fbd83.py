"""Sharpness-aware minimisation: uses the gradient at the worst point near the weights.

Foret, Kleiner, Mobahi & Neyshabur 2021 (ICLR, arXiv 2010.01412), with p = 2. With g the gradient of the
batch's loss at w, the update uses the gradient of the same batch's loss at w + rho g / |g|. So the
weights move to where the loss is low all around, and a later task's updates do less harm. Each step
takes two gradients, so it costs twice as much.

Batch normalisation sees each batch twice, the second time at the moved weights, and its running
statistics include both passes. Dropout draws again in the second pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch

from clbench import Batch, GradientStrategy
from clbench.settings import AtLeast
from clbench.space import Log


class SAM(GradientStrategy):
    """Follows the gradient at weights that were moved uphill first."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of sharpness-aware minimisation."""

        rho: Annotated[float, AtLeast(0)] = field(default=0.05, metadata={"space": Log(0.005, 0.5)})
        """Radius of the neighbourhood (the paper's default); 0 is plain SGD at twice the cost."""

    def step(self, batch: Batch) -> None:
        """Move to the worst point nearby, take the gradient there, move back, and follow it."""
        ascent = self.gradient(batch)
        before = self.weights.clone()
        self.weights.add_(ascent.mul_(self.config.rho / (torch.linalg.vector_norm(ascent) + 1e-12)))
        gradient = self.gradient_of(batch)
        self.weights.copy_(before)
        self.descend(gradient)
