"""Online Laplace: after each task a Gaussian takes the place of the posterior, and is the next prior.

Ritter, Botev & Barber 2018 (NeurIPS, arXiv 1805.07810), with a diagonal precision; the recursion is
that of Huszar 2018 (PNAS, arXiv 1712.03847): one Gaussian, centred at the newest MAP estimate a, whose
precision adds up. With N_t samples in task t and F_t the Fisher diagonal (a *mean* over samples) at a,

    P_0 = prior_precision (at a = 0),     P_t = P_(t-1) + lam N_t F_t

and while task t is learnt the *sum* of its log likelihoods meets the log prior; divided by -N_t:

    mean cross-entropy + 1 / (2 N_t) * sum_i P_i (w_i - a_i)^2

``lam=1`` is Bayes' rule; other values multiply the curvature of each task, but not the prior (the
paper's lambda multiplies the Hessian, too; whether exactly here is unverified).

How it differs from ``strategy=ewc mode=online gamma=1 lam=1``, which has ``mean loss + 1/2 sum of
F_1..F_(t-1)``: a task's Fisher weighs as many samples as the task had, against the size of the
task being learnt, ``N_s / N_t`` where EWC has 1; and there is a prior, at 0, from the first step on
(EWC: none). With tasks of equal size and ``prior_precision=0`` the two are the same. Every delivery
counts as new evidence: a sample that comes again is counted again.

Deviations: diagonal (the paper's point is its Kronecker factors), the Fisher from a sample of the
task, scaled up to N_t, and the proximal step (``clbench.quadratic``). An experience is taken for a
task, so hidden boundaries do not matter.

The defaults are Bayes' rule. On few tasks that come once lam = 100 forgets less; on long recurring
streams, where samples are counted again and again, values from 10 on cost accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from clbench import QuadraticStrategy, StreamInfo, TaskData, UsageError
from clbench.quadratic import refuse_single_mask, task_fisher


class OnlineLaplace(QuadraticStrategy):
    """Bayes' rule with diagonal Gaussians; ``importance`` is the posterior's precision."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of online Laplace."""

        prior_precision: float = 1.0
        """Inverse variance of each weight before any data."""
        fisher: Literal["exact", "sampled", "empirical", "batched"] = "exact"
        """Estimator of the Fisher diagonal; only the first two estimate the curvature."""
        fisher_samples: int = 256
        """Training samples of each task that the Fisher is estimated on."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (math.isfinite(self.prior_precision) and self.prior_precision >= 0):
                raise UsageError(
                    f"strategy.prior_precision={self.prior_precision} must be finite and >= 0"
                )
            if self.fisher_samples < 1:
                raise UsageError(f"strategy.fisher_samples={self.fisher_samples} must be >= 1")
            refuse_single_mask(self)

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.importance.fill_(config.prior_precision)
        self.anchor.zero_()
        self._n_samples = 1

    @property
    def strength(self) -> float:
        """With 1 / N, N samples being learnt, mean loss and penalty are -1/N of a log posterior."""
        return 1 / self._n_samples

    def begin(self, task: TaskData) -> TaskData:
        """Note how many samples speak against the prior."""
        self._n_samples = len(task)
        return super().begin(task)

    def consolidate(self, task: TaskData) -> None:
        """Posterior to prior: add the task's curvature and move to the MAP estimate."""
        found = task_fisher(self, task, self.config.fisher, self.config.fisher_samples)
        self.importance.add_(found, alpha=self.config.lam * len(task))
        self.anchor.copy_(self.weights)

    def get_extra_state(self) -> dict[str, Any]:
        """Also the size of the last experience, for the diagnostics."""
        return {**super().get_extra_state(), "n_samples": self._n_samples}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        super().set_extra_state(state)
        self._n_samples = state["n_samples"]
