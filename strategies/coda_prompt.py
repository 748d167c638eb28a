"""CODA-Prompt: prompts that are sums of components, weighted by attention to a query.

Smith et al. 2023, "CODA-Prompt: COntinual Decomposed Attention-based Prompting for Rehearsal-Free
Continual Learning" (CVPR, arXiv 2211.13218). With q the class token of the frozen transformer without
prompts, the prompt of a block is (eq. 3 and 5)

    p = sum over m of alpha_m P_m,    alpha_m = cos(q * A_m, K_m),

with * elementwise. Its first half stands before the keys of the block's attention, its second before
the values (prefix tuning). Each task has its own slice of the components; those of earlier tasks are
used and no longer trained. ``ortho`` weighs the mean over entries of (B B^T - I)^2 for keys, attention
vectors and prompts, of the slices begun (eq. 7, which sums; 0 in the authors' code since it has
Gram-Schmidt). At the start of a task its slice is made orthonormal to all before it by Gram-Schmidt.
The loss is the cross-entropy over the task's own classes.

The equations' numbers are from memory, unverified; the form follows a reading of a public
implementation (LAMDA-PILOT): length 8, Adam 1e-3. Deviations: the paper has 100 components in blocks 1
to 5 of 12, here 20 in blocks 1 to 3 by default, so that a small transformer will do; the output layer
sees what ``model.pooling`` says (the paper: the class token).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import StreamInfo, UsageError
from clbench.nets.prompts import Given, Prompts, chosen_blocks, per_task
from clbench.nets.vit import Vit
from clbench.prompting import PromptStrategy
from clbench.settings import AtLeast


class Components(Prompts):
    """Keys, attention vectors and prompts of each block."""

    def __init__(
        self,
        width: int,
        blocks: tuple[int, ...],
        count: int,
        slice_: int,
        length: int,
        ortho: float,
    ) -> None:
        """Draw everything from torch's generator.

        Args:
            width: d.
            blocks: numbers of the blocks that get a prompt.
            count: components of a block.
            slice_: components of a task.
            length: of a prompt, keys and values together.
            ortho: weight of the orthogonality term.
        """
        super().__init__()
        self.blocks, self.slice, self.ortho = blocks, slice_, ortho
        n = len(blocks)
        self.attention = nn.Parameter(torch.randn(n, count, width))
        self.keys = nn.Parameter(torch.randn(n, count, width))
        self.prompts = nn.Parameter(torch.randn(n, count, length, width))

    @torch.no_grad()
    def open(self) -> None:
        """Make the next slice orthonormal to the components before it."""
        start = int(self.opened) * self.slice
        for parameter in (self.attention, self.keys, self.prompts):
            for vectors in parameter.flatten(2):
                basis = vectors[:0]
                for at, v in enumerate(vectors[: start + self.slice]):
                    for _ in range(2):  # once more, against rounding
                        v = v - (basis @ v) @ basis
                    basis = torch.cat([basis, F.normalize(v, dim=0)[None]])
                    if at >= start:
                        vectors[at] = basis[at]
        super().open()

    def forward(self, query: Tensor) -> Given:
        """Sum the components of all tasks begun; those of earlier ones get no gradient."""
        at = torch.arange(self.keys.shape[1], device=query.device)
        begun, is_old = at < self.opened * self.slice, at < (self.opened - 1) * self.slice
        attention, keys, prompts = (
            torch.where(is_old.view(-1, *[1] * (p.dim() - 2)), p.detach(), p)
            for p in (self.attention, self.keys, self.prompts)
        )
        seen = query[:, None, None] * attention  # (B, blocks, components, d)
        weights = F.cosine_similarity(seen, keys[None], dim=3) * begun
        made = torch.einsum("bnm,nmld->bnld", weights, prompts)
        half = made.shape[2] // 2
        pairs = {
            n: (p[:, :half], p[:, half:]) for n, p in zip(self.blocks, made.unbind(1), strict=True)
        }
        pull = None
        if self.ortho:
            parts = (p.flatten(2) * begun[:, None] for p in (attention, keys, prompts))
            pull = self.ortho * sum((_apart(p, begun) for p in parts), query.new_zeros(()))
        return Given(pairs, pull=pull)


def _apart(vectors: Tensor, begun: Tensor) -> Tensor:
    """The mean of (B B^T - I)^2 over the components begun, summed over blocks."""
    gap = vectors @ vectors.mT - torch.diag(begun.to(vectors.dtype))
    return gap.square().sum() / begun.sum().square()


class CodaPrompt(PromptStrategy):
    """Trains a slice of prompt components for each task."""

    called = "coda_prompt"

    @dataclass(frozen=True)
    class Config(PromptStrategy.Config):
        """Settings of CODA-Prompt."""

        components: Annotated[int, AtLeast(1)] = 20
        """Prompt components of each block, split equally over the tasks (the paper: 100)."""
        length: Annotated[int, AtLeast(2)] = 8
        """Length of a prompt: half of it are keys, half values."""
        blocks: Annotated[tuple[int, ...], AtLeast(0)] = (0, 1, 2)
        """Blocks, from 0, that get a prompt (the paper: the first five)."""
        ortho: Annotated[float, AtLeast(0)] = 0.0
        """Weight of the orthogonality term."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.length % 2:
                raise UsageError(f"strategy.length={self.length} must be even: keys and values")
            if not self.blocks:
                raise UsageError("strategy.blocks=[] names no block")

    @staticmethod
    def pool(info: StreamInfo, config: Any, vit: Vit) -> Prompts:
        """Make the components.

        Raises:
            UsageError: they are more than the transformer is wide, or fewer than the tasks.
        """
        assert info.n_tasks is not None
        width, count = vit.position.shape[2], config.components
        if count > width:
            raise UsageError(
                f"strategy.components={count}: at most {width}, the width of this transformer, can be "
                "orthogonal"
            )
        blocks = chosen_blocks(config.blocks, vit, "strategy.blocks")
        slice_ = per_task(count, info.n_tasks, "strategy.components")
        return Components(width, blocks, count, slice_, config.length, config.ortho)
