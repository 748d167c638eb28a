"""Online Laplace: approximates the posterior after each task by a Gaussian, the next task's prior.

Ritter, Botev & Barber 2018 (NeurIPS, arXiv 1805.07810), with a diagonal precision. The recursion is
that of Huszar 2018 (PNAS, arXiv 1712.03847): there is one Gaussian, centred at the newest MAP estimate
a, and its precision adds up. With N_t samples in task t and F_t the Fisher diagonal (a *mean* over
samples) at a,

    P_0 = prior_precision (at a = 0),     P_t = P_(t-1) + lam N_t F_t

The objective of task t is the *sum* of its log likelihoods plus the log prior. Divided by -N_t it is

    mean cross-entropy + 1 / (2 N_t) * sum_i P_i (w_i - a_i)^2

``lam=1`` is Bayes' rule. Other values multiply the curvature of each task but not the prior (the
paper's lambda multiplies the Hessian too; whether in exactly this place is unverified).

It differs in two ways from ``strategy=ewc mode=online gamma=1 lam=1``, which has ``mean loss + 1/2 sum
of F_1..F_(t-1)``. First, the Fisher of a task s has the weight ``N_s / N_t``, where EWC has 1. Second,
there is a prior at 0 from the first step on (EWC has none). With tasks of equal size and
``prior_precision=0`` the two are the same. Every delivery counts as new evidence: a sample that recurs
is counted again.

Deviations: the precision is diagonal (the paper uses Kronecker factors); the Fisher is estimated on a
sample of the task and scaled up to N_t; and the proximal step (``clbench.quadratic``). An experience
counts as a task, so hidden boundaries do not matter.

The defaults are Bayes' rule. On few tasks that come once, lam = 100 forgets less. On long recurring
streams, where samples are counted again and again, values from 10 on cost accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from torch import nn

from clbench import QuadraticStrategy, StreamInfo, TaskData
from clbench.quadratic import refuse_single_mask, task_fisher
from clbench.settings import AtLeast
from clbench.space import Log


class OnlineLaplace(QuadraticStrategy):
    """Applies Bayes' rule with diagonal Gaussians; ``importance`` is the posterior's precision."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of online Laplace."""

        lam: Annotated[float, AtLeast(0)] = field(default=1.0, metadata={"space": Log(0.01, 1e4)})
        """Factor of each experience's curvature when it is added to the precision; 1: Bayes' rule. It
        does not multiply the prior."""
        prior_precision: Annotated[float, AtLeast(0)] = 1.0
        """Inverse variance of each weight before any data."""
        fisher: Literal["exact", "sampled", "empirical", "batched"] = "exact"
        """Estimator of the Fisher diagonal; only the first two estimate the curvature."""
        fisher_samples: Annotated[int, AtLeast(1)] = 256
        """Training samples of each task that the Fisher is estimated on."""

        def __post_init__(self) -> None:
            super().__post_init__()
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
        """1 / N for N samples: mean loss plus penalty is then the log posterior over -N."""
        return 1 / self._n_samples

    def begin(self, task: TaskData) -> TaskData:
        """Note the number of samples of the experience."""
        self._n_samples = len(task)
        return super().begin(task)

    def consolidate(self, task: TaskData) -> None:
        """Make the posterior the next prior: add the curvature, and move to the MAP estimate."""
        found = task_fisher(self, task, self.config.fisher, self.config.fisher_samples)
        self.importance.add_(found, alpha=self.config.lam * len(task))
        self.anchor.copy_(self.weights)

    def get_extra_state(self) -> dict[str, Any]:
        """Add the size of the last experience, which the diagnostics need."""
        return {**super().get_extra_state(), "n_samples": self._n_samples}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the state, with the size of the last experience."""
        super().set_extra_state(state)
        self._n_samples = state["n_samples"]
