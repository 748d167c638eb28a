"""L2P: a pool of prompts, of which each sample is given those whose keys are nearest to it.

Wang et al. 2022, "Learning to Prompt for Continual Learning" (CVPR, arXiv 2112.08654). The query q of a
sample is the class token of the frozen transformer without prompts. The ``top`` prompts whose keys have
the largest cosine to q stand beside the tokens of the image from the first block on. The loss is the
cross-entropy over the task's own classes, less ``pull`` times the sum of those cosines (eq. 5).

Conventions follow a reading of a public implementation: a pool of 10 prompts of length 5, 5 of them for
a sample, pull .1. Deviations: every sample has its own choice (there, a batch agrees on one, in
prediction too, so that a sample's scores depend on the others); the output layer sees what
``model.pooling`` says of the image's tokens (there: the mean over the prompts' tokens); prompts and
keys are drawn from U(-d^-1/2, d^-1/2) (there: from a range of positive numbers, so that all keys are
near each other); no prompt is held back for having been chosen often (in the paper an option, from
memory). The pool has no slices, so the stream may hide its boundaries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Needs, StreamInfo, UsageError
from clbench.nets.prompts import Given, Prompts
from clbench.nets.vit import Vit
from clbench.prompting import PromptStrategy
from clbench.settings import AtLeast


class Pool(Prompts):
    """Prompts and their keys."""

    def __init__(self, width: int, count: int, length: int, top: int, pull: float) -> None:
        """Draw everything from torch's generator, uniformly.

        Args:
            width: d.
            count: prompts.
            length: tokens of a prompt.
            top: prompts for a sample.
            pull: weight of the cosines in the loss.
        """
        super().__init__()
        self.top, self.pull = top, pull
        bound = 1 / math.sqrt(width)
        self.keys = nn.Parameter(torch.empty(count, width).uniform_(-bound, bound))
        self.prompts = nn.Parameter(torch.empty(count, length, width).uniform_(-bound, bound))

    def forward(self, query: Tensor) -> Given:
        """Give each sample the prompts of the nearest keys, the nearest first."""
        cosines = F.normalize(query, dim=1) @ F.normalize(self.keys, dim=1).mT
        best, chosen = cosines.topk(self.top, dim=1)
        tokens = self.prompts.index_select(0, chosen.flatten())
        tokens = tokens.reshape(len(query), -1, query.shape[1])
        return Given(further=tokens, pull=-self.pull * best.sum(1).mean())


class L2P(PromptStrategy):
    """Trains a pool of prompts that samples choose from."""

    called = "l2p"
    needs = Needs()

    @dataclass(frozen=True)
    class Config(PromptStrategy.Config):
        """Settings of L2P."""

        prompts: Annotated[int, AtLeast(1)] = 10
        """Prompts in the pool."""
        length: Annotated[int, AtLeast(1)] = 5
        """Tokens of a prompt."""
        top: Annotated[int, AtLeast(1)] = 5
        """Prompts that a sample is given."""
        pull: Annotated[float, AtLeast(0)] = 0.1
        """Weight of the term that draws the chosen keys to the queries. Keys have no other gradient, so
        that Adam, which divides by its size, makes the same steps with any weight above 0."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.top > self.prompts:
                raise UsageError(
                    f"strategy.top={self.top} must be at most strategy.prompts={self.prompts}"
                )

    @staticmethod
    def pool(info: StreamInfo, config: Any, vit: Vit) -> Prompts:
        """Make the pool."""
        width = vit.position.shape[2]
        return Pool(width, config.prompts, config.length, config.top, config.pull)
