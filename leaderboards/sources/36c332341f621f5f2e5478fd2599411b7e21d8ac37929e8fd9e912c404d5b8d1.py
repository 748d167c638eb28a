"""Elastic Weight Consolidation: a quadratic penalty holds the weights that earlier tasks need.

Kirkpatrick et al. 2017 (PNAS 114:3521). After a task, the penalty
``lam/2 * sum_i F_i (w_i - a_i)^2`` is added to the loss of all later tasks. F is the diagonal Fisher
information at the anchor a.

Conventions (eight public code bases have eight others): the penalty has the factor 1/2. ``F_t`` is a
mean over samples of the training data of task t, with the logits that the loss uses. ``gamma`` acts
once, ``F <- gamma F + F_t`` (Schwarz et al. 2018, Progress & Compress, without its normalisation).

- ``mode=online`` keeps one F and anchors at the newest weights (Huszar 2018).
- ``mode=separate`` is the published sum of one penalty per task. Up to a constant, that sum is one
  quadratic with ``F = sum_t F_t`` and the F-weighted mean of the anchors, so it costs no more.

``clbench.quadratic`` minimises the penalty as ``penalty_step`` says. Its default, the proximal step,
deviates from the paper.

A released Fisher R (``fisher_path``), taken at released weights (``weights_path``), counts as task 0.
It holds the network from the first step (Ovsianas et al. 2022, arXiv 2210.16365, for one further
task), and it does not decay. With ``mode=online`` the penalty is
``lam/2 * sum_i (R_i + F_i) (w_i - a_i)^2``, with F of the run's own tasks as above and the newest
weights as the anchor. With ``mode=separate`` it is the exact sum, in which R's term is anchored at the
released weights. The parameters that ``fisher_exclude`` names have R = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from clbench import QuadraticStrategy, StreamInfo, TaskData, UsageError
from clbench.fisher import anchored
from clbench.nets import parameters, weights
from clbench.quadratic import refuse_single_mask, task_fisher
from clbench.settings import AtLeast, Within
from clbench.space import Choices


class EWC(QuadraticStrategy):
    """Weights the quadratic penalty by the diagonal Fisher information."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of EWC."""

        gamma: Annotated[float, Within(0, 1)] = field(
            default=1.0, metadata={"space": Choices(1.0, 0.99, 0.9)}
        )
        """Decay of the running Fisher per task; only mode=online may have it below 1."""
        mode: Literal["online", "separate"] = "online"
        """online: one penalty at the newest weights; separate: the exact sum of all penalties."""
        fisher: Literal["exact", "sampled", "empirical", "batched"] = "exact"
        """Estimator of the Fisher diagonal. Each one needs a lam of its own."""
        fisher_samples: Annotated[int, AtLeast(1)] = 256
        """Training samples of each task that the Fisher is estimated on."""
        fisher_path: Path | None = None
        """Released Fisher (clbench fisher compute) that counts as task 0. The network must start from
        the weights at which it was taken: those of weights_path, or its own if it is pretrained."""
        fisher_sha256: str | None = None
        """SHA-256 of that file. It is filled in and is part of the run's identity; a hash that is
        given must be right."""
        fisher_exclude: str = parameters.OUTPUT
        """Parameters that the released Fisher does not hold: output (the last nn.Linear), none, or
        patterns of parameter names, separated by spaces."""

        def __post_init__(self) -> None:
            super().__post_init__()
            sha256 = weights.pinned("fisher", self.fisher_path, self.fisher_sha256)
            object.__setattr__(self, "fisher_sha256", sha256)
            if self.fisher_path is None and self.fisher_exclude != parameters.OUTPUT:
                raise UsageError(
                    "strategy.fisher_exclude needs strategy.fisher_path; set it, or drop both"
                )
            if self.mode == "separate" and self.gamma != 1:
                raise UsageError("strategy.mode=separate takes no strategy.gamma: set it to 1")
            refuse_single_mask(self)

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        if config.fisher_path is not None:
            self._start_from_release(config.fisher_path)

    def _start_from_release(self, path: Path) -> None:
        self.pretrained = True
        start, free = self.config.weights_path, self.config.fisher_exclude
        found = anchored.fit(self.model, path, start, free)
        self.importance.copy_(torch.cat([f.reshape(-1) for f in found.values()]))
        self.anchor.copy_(self.weights)
        if self.config.gamma < 1:  # if nothing decays, it is a summand like the others
            self.register_buffer("released", self.importance.clone())
            self.released: Tensor

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Add the task's Fisher to the importances and move the anchor."""
        new = task_fisher(self, task, self.config.fisher, self.config.fisher_samples)
        if self.config.mode == "online":
            self.importance.mul_(self.config.gamma).add_(new)
            if self.config.fisher_path is not None and self.config.gamma < 1:
                self.importance.add_(self.released, alpha=1 - self.config.gamma)
            self.anchor.copy_(self.weights)
        else:
            self.importance.add_(new)
            # Running F-weighted mean of the anchors; where all F are 0, any anchor will do.
            share = torch.where(self.importance > 0, new / self.importance.clamp_min(1e-38), 1.0)
            self.anchor.lerp_(self.weights, share)
