"""Subgroup shift: an attribute correlates with the label in training, but not in testing.

This is the set-up of Sagawa et al. 2020 (group DRO, arXiv 1911.08731: on Waterbirds 95 % of the birds
are on the background of their kind) and of Arjovsky et al. 2019 (Colored MNIST, arXiv 1907.02893).
With label y and attribute a, a training sample has ``a = (y + t) mod A`` with probability
``alignment``. Otherwise it has any other value, and all are equally likely. ``t`` is the number of the
task if ``shift=rotate``, and 0 if ``shift=none``. In testing, every group (y, a) holds the same test
images of class y, shown with attribute a. The groups are the cells, and the lowest accuracy among them
is the worst-group accuracy. One task is the field's set-up, and that of the transfer experiments of
Ovsianas et al. 2022 (arXiv 2210.16365). With several tasks, ``shift=rotate`` ties the attribute to
other labels one after another.

Deviations: the data keep their classes, so 10 classes and 2 attributes make 20 groups (the field makes
two super-classes). The attribute is drawn on the images (``clbench.data.marks``), again for every task
and independently for each sample (Waterbirds has exact shares). The world accuracy weights groups by
their test samples (Sagawa et al. weight their average by the shares in training). Strategies do not
know the attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.transforms import Mark
from clbench.scenario import tied
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within
from clbench.stream import PROBED_DOMAINS


@dataclass(frozen=True)
class SubgroupShift(Scenario):
    """Ties labels to an attribute in training, and tests on every pair of them."""

    n_tasks: Annotated[int | None, AtLeast(1)] = 1
    """Number of tasks, each with all classes; null: endless."""
    attribute: Literal["background", "stripes", "patch"] = "background"
    """The attribute: the tone of the image, stripes across it, or a square at its border."""
    n_attributes: Annotated[int, AtLeast(2)] = 2
    """Values of the attribute (A), at most as many as classes and at most 32."""
    alignment: Annotated[float, Within(0, 1)] = 0.95
    """Probability in training of the value that is tied to the label; 1 / A: no correlation."""
    strength: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = 0.5
    """Visibility of the attribute, between 0 (invisible) and 1 (nothing else is visible)."""
    shift: Literal["none", "rotate"] = "none"
    """rotate: each task ties every label to the next value of the attribute."""
    share: Annotated[float, Within(0, 1, open_low=True)] = 1.0
    """Share of the samples that a task delivers, drawn again for each task."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool of images. A domain is a value of the attribute."""
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
        """Refuse values that look the same on a black image: they are too many or too weak."""
        black = torch.zeros((1, *pool.raw.input_shape), dtype=pool.raw.dtype, device=pool.device)
        none = torch.Generator(device="cpu")
        shown = torch.cat([mark(black, a, none) for a in range(self.n_attributes)]).flatten(1)
        if len(shown.unique(dim=0)) < self.n_attributes:
            raise UsageError(
                f"scenario.attribute={self.attribute}: {self.n_attributes} values cannot be told "
                "apart on these images; lower scenario.n_attributes, or raise scenario.strength"
            )


@dataclass(frozen=True)
class _Plan:
    """Makes task ``t`` from ``t`` alone: all training samples, with an attribute for each."""

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
