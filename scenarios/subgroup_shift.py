"""Subgroup shift: in training an attribute goes with the label, in testing it does not.

The set-up of Sagawa et al. 2020 (group DRO, arXiv 1911.08731: on Waterbirds 95 % of the birds are
on the background of their kind) and of Arjovsky et al. 2019 (Colored MNIST, arXiv 1907.02893). With
label y and attribute a, a training sample has ``a = (y + t) mod A`` with probability ``alignment``
and otherwise any other value, all equally likely; ``t`` counts the tasks where ``shift=rotate`` and
is 0 where ``shift=none``. In testing every group (y, a) holds the same test images of class y, shown
with attribute a; the groups are the cells, and the lowest accuracy of any is the worst-group
accuracy. One task is the field's set-up, and that of the transfer experiments of Ovsianas et al.
2022 (arXiv 2210.16365); several tie the attribute to other labels one after another.

Deviations: the pool keeps its classes, 10 classes and 2 attributes make 20 groups, where the field
makes two super-classes; the attribute is drawn on the images (``clbench.data.marks``) and drawn anew
for every task, independently for each sample, where Waterbirds has exact shares; the world weighs
the groups alike, where Sagawa et al. weigh their average by the shares in training. Strategies are
not told the attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.transforms import Mark
from clbench.scenario import at_least, tied
from clbench.seeding import Axis
from clbench.stream import PROBED_DOMAINS


@dataclass(frozen=True)
class SubgroupShift(Scenario):
    """Labels tied to an attribute in training, every pair of them in testing."""

    n_tasks: int | None = 1
    """Number of tasks, each with all classes; null: endless."""
    attribute: Literal["background", "stripes", "patch"] = "background"
    """What goes with the label: the tone of the image, stripes across it, a square at its border."""
    n_attributes: int = 2
    """Values of the attribute (A), at most as many as classes, and 32."""
    alignment: float = 0.95
    """Probability in training of the value tied to the label; 1 / A: no tie."""
    strength: float = 0.5
    """How strongly the attribute shows, between 0 (not at all) and 1 (nothing else)."""
    shift: Literal["none", "rotate"] = "none"
    """rotate: each task ties every label to the next value of the attribute."""
    share: float = 1.0
    """Part of the samples that a task delivers, drawn anew each time."""
    chunk: int | None = None
    """Deliver tasks in pieces of so many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        at_least(1, self, "n_tasks", "chunk")
        at_least(2, self, "n_attributes")
        if not 0 <= self.alignment <= 1:
            raise UsageError(f"scenario.alignment={self.alignment} must be in [0, 1]")
        if not 0 < self.share <= 1:
            raise UsageError(f"scenario.share={self.share} must be in (0, 1]")
        if not 0 < self.strength < 1:
            raise UsageError(f"scenario.strength={self.strength} must be in (0, 1)")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """The stream over a pool of images; a domain is a value of the attribute."""
        most = min(pool.n_classes, PROBED_DOMAINS)
        if self.n_attributes > most:
            raise UsageError(
                f"scenario.n_attributes={self.n_attributes} must be at most {most} on these data "
                f"(as many as classes, and no more than {PROBED_DOMAINS})"
            )
        mark = Mark(self.attribute, self.n_attributes, self.strength, pool.raw.scale)
        mark.check(pool.raw.input_shape)
        self._check_visible(mark, pool)
        return Stream(
            pool=pool,
            seed=seed,
            plan=_Plan(self, pool, seed),
            n_tasks=self.n_tasks,
            labels=tuple(range(pool.n_classes)),
            chunk=self.chunk,
            share=self.share,
            transform=mark,
            n_domains=self.n_attributes,
            groups=True,
        )

    def _check_visible(self, mark: Mark, pool: Pool) -> None:
        """Refuse values that look the same on black: too many or too weak for these images."""
        black = torch.zeros((1, *pool.raw.input_shape), dtype=pool.raw.dtype, device=pool.device)
        none = torch.Generator(device="cpu")
        shown = torch.cat([mark(black, a, none) for a in range(self.n_attributes)]).flatten(1)
        if len(shown.unique(dim=0)) < self.n_attributes:
            raise UsageError(
                f"scenario.attribute={self.attribute}: {self.n_attributes} values cannot be told "
                "apart on these images; lower scenario.n_attributes or raise scenario.strength"
            )


@dataclass(frozen=True)
class _Plan:
    """Task ``t`` as a function of ``t``: every training sample, with an attribute for each."""

    settings: SubgroupShift
    pool: Pool
    seed: int

    def __call__(self, t: int) -> Task:
        n, s = self.pool.size("train"), self.settings
        rng = seeding.generator(self.seed, Axis.STREAM, t)
        turned = t if s.shift == "rotate" else 0
        labels = self.pool.labels("train") + turned
        attribute = tied(labels, s.n_attributes, s.alignment, rng)
        return Task(
            tuple(range(self.pool.n_classes)), domain=None, index=np.arange(n), attribute=attribute
        )
