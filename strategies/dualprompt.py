"""DualPrompt: one prompt for all tasks in the first blocks, and one of its own for each task behind.

Wang et al. 2022, "DualPrompt: Complementary Prompting for Rehearsal-free Continual Learning"
(ECCV, arXiv 2204.04799). The general prompt stands in ``general_blocks``, the expert prompt in
``expert_blocks``, both before the keys and the values of attention (prefix tuning, eq. 4). Each task
has an expert prompt and a key; its expert starts as the last task's ended, as in the authors' code.
While a task is learnt, its own are used, and the loss is the cross-entropy over its classes less
``pull`` times the cosine of key and query (eq. 6). A sample is predicted with the expert whose key is
nearest to it, among the tasks begun. The query is the class token of the frozen transformer without
prompts.

The equations' numbers are from memory, unverified; lengths of 5 and a ``pull`` of 1 are those of the
authors' code. Deviations: the paper has blocks 1-2 and 3-5 of 12, here 1-2 and 3-4 by default, so that
a small transformer will do; the output layer sees what ``model.pooling`` says (the paper: the class
token); every sample has its own expert (in that code the samples of a batch vote for one, among those
of tasks to come too); prompts and keys are drawn from U(-d^-1/2, d^-1/2) (there: from U(0, .01)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import StreamInfo, UsageError
from clbench.nets.prompts import Given, Prompts, chosen_blocks
from clbench.nets.vit import Vit
from clbench.prompting import PromptStrategy
from clbench.settings import AtLeast

Blocks = tuple[int, ...]


class Dual(Prompts):
    """A general prompt, and the experts with their keys."""

    def __init__(
        self,
        width: int,
        n_tasks: int,
        blocks: tuple[Blocks, Blocks],
        lengths: tuple[int, int],
        pull: float,
    ) -> None:
        """Draw everything from torch's generator, uniformly.

        Args:
            width: d.
            n_tasks: experts.
            blocks: numbers of the blocks of the general and of the expert prompts.
            lengths: of both, in keys, and as many values.
            pull: weight of the cosine in the loss.
        """
        super().__init__()
        self.blocks, self.pull = blocks, pull
        bound = 1 / math.sqrt(width)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        self.general = drawn(len(blocks[0]), 2, lengths[0], width)
        self.experts = drawn(n_tasks, len(blocks[1]), 2, lengths[1], width)
        self.keys = drawn(n_tasks, width)

    @torch.no_grad()
    def open(self) -> None:
        """Open the next task's expert, which starts as the last one ended."""
        super().open()
        last = int(self.opened) - 1
        if last:
            self.experts[last] = self.experts[last - 1]

    def forward(self, query: Tensor) -> Given:
        """In training the newest task's expert; else that of the nearest key."""
        tasks = torch.arange(len(self.keys), device=query.device)
        cosines = F.normalize(query, dim=1) @ F.normalize(self.keys, dim=1).mT
        newest = (self.opened - 1).clamp_min(0)
        if self.training:
            chosen = newest.expand(len(query))
        else:
            chosen = cosines.masked_fill(tasks > newest, -torch.inf).argmax(1)
        made = self.experts.index_select(0, chosen)
        pairs = dict(zip(self.blocks[0], ((p[:1], p[1:]) for p in self.general), strict=True))
        for place, number in enumerate(self.blocks[1]):
            pairs[number] = made[:, place, 0], made[:, place, 1]
        pull = -self.pull * cosines.gather(1, chosen[:, None]).mean()
        return Given(pairs, pull=pull)


class DualPrompt(PromptStrategy):
    """Trains a general prompt, and an expert for each task."""

    called = "dualprompt"

    @dataclass(frozen=True)
    class Config(PromptStrategy.Config):
        """Settings of DualPrompt."""

        general_blocks: Annotated[tuple[int, ...], AtLeast(0)] = (0, 1)
        """Blocks, from 0, that get the general prompt."""
        expert_blocks: Annotated[tuple[int, ...], AtLeast(0)] = (2, 3)
        """Blocks that get an expert prompt (the paper: 2, 3 and 4)."""
        general_length: Annotated[int, AtLeast(1)] = 5
        """Keys of the general prompt, and as many values."""
        expert_length: Annotated[int, AtLeast(1)] = 5
        """Keys of an expert prompt, and as many values."""
        pull: Annotated[float, AtLeast(0)] = 1.0
        """Weight of the term that draws a task's key to its queries. Keys have no other gradient, so
        that Adam, which divides by its size, makes the same steps with any weight above 0."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if {*self.general_blocks} & {*self.expert_blocks} or not self.expert_blocks:
                raise UsageError(
                    "strategy.expert_blocks must name a block, and none of strategy.general_blocks"
                )

    @staticmethod
    def pool(info: StreamInfo, config: Any, vit: Vit) -> Prompts:
        """Make the prompts.

        Raises:
            UsageError: the transformer has not all of the blocks.
        """
        assert info.n_tasks is not None
        general = chosen_blocks(config.general_blocks or (0,), vit, "strategy.general_blocks")
        expert = chosen_blocks(config.expert_blocks, vit, "strategy.expert_blocks")
        blocks = (general if config.general_blocks else (), expert)
        lengths = (config.general_length, config.expert_length)
        return Dual(vit.position.shape[2], info.n_tasks, blocks, lengths, config.pull)
