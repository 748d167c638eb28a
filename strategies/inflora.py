"""InfLoRA: low-rank updates whose inputs are orthogonal to those of earlier tasks.

Liang & Li 2024, "InfLoRA: Interference-Free Low-Rank Adaptation for Continual Learning" (CVPR, arXiv
2404.00228). The layers of key and value of each block get, for task t, a branch: their output becomes

    W x + sum over s < t of B_s A_s x + B_t A_t x,    B_t = 0 at first,

and B_t and the output layer are all that is trained. A_t is fixed before the task starts: its rows are
the top singular vectors of the task's inputs H to the layer, less what lies in the space of earlier
tasks, over the root of 3:

    H' = H - M M^T H,   H' = U S V^T,   A_t = U[:, :rank]^T / sqrt(3).

M is the orthonormal basis of gradient projection memory
(``clbench.nets.layer_inputs.add_directions``). After a task it gets the fewest directions with
which it holds the share e of the inputs' squared length. e grows from ``threshold`` to 1, linearly
over the tasks. The loss is the cross-entropy over the task's own classes. Branches of earlier tasks
are summed up, and P = M M^T is kept, so the state has a fixed size.

Rank 10, thresholds from .95, Adam and the factor follow a reading of a public implementation
(LibContinual). Deviations: that code applies its thresholds to the squares of the eigenvalues of H H^T,
so that the same .95 keeps far fewer directions there, and its learning rate is 5e-4; it lets e grow by
the task's number over T, here over T - 1, so that it ends at 1; the singular vectors are those of H'
itself, while that code projects H H^T from one side; it keeps M or its complement, whichever is smaller
(DualGPM), meant to give the same P; the output layer is one, whose rows of other classes get no
gradient, and sees what ``model.pooling`` says (there: the class token); A and B are named as in that
code (the paper, from memory, has them the other way round); where a task comes in chunks, A_t is made
from the first one and M grows with each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import GradientStrategy, Needs, StreamInfo, TaskData, UsageError
from clbench.latents import among_seen
from clbench.nets.layer_inputs import InputLayer, add_directions, gram
from clbench.nets.losses import present
from clbench.nets.prompts import frozen_vit
from clbench.nets.tuning import become
from clbench.nets.vit import attention_in
from clbench.settings import AtLeast, Within
from clbench.space import Choices

AT_ONCE = 64
"""Samples whose layer inputs are held at once."""
SCALE = 3**-0.5
PARTS = ("key", "value")
NEGLIGIBLE = 1e-6
"""Share of the largest squared singular value below which a direction holds nothing."""
INSIDE = 1e-3
"""Share of a direction's squared length in the space of earlier tasks that rounding explains."""


class Branch(nn.Linear):
    """A frozen linear layer, the sum of earlier branches, and one whose B alone is trained."""

    added: ClassVar[tuple[str, ...]] = ("up",)
    up: nn.Parameter
    """B, ``(out, rank)``"""
    down: Tensor
    """A, ``(rank, in)``"""
    merged: Tensor
    """The sum of earlier B A, ``(out, in)``"""

    def add(self, rank: int) -> None:
        """Add a branch of zeros."""
        self.up = nn.Parameter(torch.zeros(self.out_features, rank))
        self.register_buffer("down", torch.zeros(rank, self.in_features))
        self.register_buffer("merged", torch.zeros(self.out_features, self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        kept = F.linear(x, self.weight + self.merged, self.bias)
        return kept + F.linear(F.linear(x, self.down), self.up)

    @torch.no_grad()
    def renew(self, down: Tensor) -> None:
        """Add the branch to the earlier ones, and start another with this A and B = 0."""
        self.merged.addmm_(self.up, self.down)
        self.up.zero_()
        self.down.copy_(down)


class InfLoRA(GradientStrategy):
    """Trains a low-rank branch for each task, away from the inputs of earlier tasks."""

    needs = Needs(boundaries=True, n_tasks=True)

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of InfLoRA."""

        optimizer: str = "adam"
        """sgd, adam, or any other class of torch.optim; adam_gnt: Adam with a step count for each
        weight, which restarts with units that get new weights. Its state is cleared before each
        task."""
        mask: Literal["none", "single", "group_zero", "group"] = "group"
        """What training does with the scores of classes outside mask_scope. none: nothing; group:
        leaves them out of the softmax (InfLoRA); group_zero: sets them to 0; single: sets all scores
        to 0 but that of the sample's own class."""
        mask_scope: Literal["batch", "task"] = "task"
        """Classes that a mask keeps: those of the batch, or also all others of the experience."""
        rank: Annotated[int, AtLeast(1)] = 10
        """Rank of a task's branch."""
        threshold: Annotated[float, Within(0, 1)] = field(
            default=0.95, metadata={"space": Choices(0.8, 0.9, 0.95, 0.98)}
        )
        """Share of the squared length of a layer's inputs that the space of earlier tasks holds after
        the first task; it grows to 1 over the tasks."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.reset_weights:
                raise UsageError(
                    "strategy.reset_weights=true would lose the branches; leave it out"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, partial(_branched, build_model, config.rank))
        branches = [(n, m) for n, m in self.model.named_modules() if isinstance(m, Branch)]
        keys = [name for name, _ in branches if name.endswith(PARTS[0])]
        width = branches[0][1].in_features
        self.layers = [InputLayer(name, 0, None, width) for name in keys]
        for layer in self.layers:
            self.register_buffer(layer.buffer, torch.zeros(width, width))
        self.register_buffer("begun", torch.zeros((), dtype=torch.int64))
        self.begun: Tensor
        """0-d int64: tasks that have begun."""
        self.register_buffer("is_between", torch.tensor(True))
        self.is_between: Tensor
        """0-d bool: whether the next experience begins a task."""
        self.register_buffer("seen", torch.zeros(info.n_classes, dtype=torch.bool))
        self.seen: Tensor
        """``(n_classes,)`` bool: classes that were trained on."""

    def begin(self, task: TaskData) -> TaskData:
        """Start a branch, and a new optimizer, where a task begins."""
        if bool(self.is_between):
            grams = gram(self.model, self.layers, task.samples(AT_ONCE))
            for layer in self.layers:
                down = directions(
                    self.get_buffer(layer.buffer), grams[layer.buffer], self.config.rank
                )
                attention = self.model.get_submodule(layer.name.rpartition(".")[0])
                for part in attention.children():
                    if isinstance(part, Branch):
                        part.renew(down * SCALE)
            self.optimizer.state.clear()
            self.begun.add_(1)
        return super().begin(task)

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Add what this experience's inputs need to the space of each block, and note its classes."""
        self.seen.logical_or_(present(task.y, self.info.n_classes))
        assert self.info.n_tasks is not None
        share = (int(self.begun) - 1) / max(1, self.info.n_tasks - 1)
        e = self.config.threshold + (1 - self.config.threshold) * share
        grams = gram(self.model, self.layers, task.samples(AT_ONCE))
        for layer in self.layers:
            add_directions(self.get_buffer(layer.buffer), grams[layer.buffer], min(e, 1.0))
        self.is_between.fill_(bool(task.ends_task))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute logits ``(B, n_classes)``; a class that was never seen has none, as in the code."""
        return among_seen(super().forward(x, task_id), self.seen)

    def diagnostics(self) -> dict[str, Tensor]:
        """Add ``held``, the share of all input directions that the space of earlier tasks holds."""
        rank = torch.stack([self.get_buffer(layer.buffer).trace() for layer in self.layers]).sum()
        return {**super().diagnostics(), "held": rank / sum(x.width for x in self.layers)}


def directions(space: Tensor, gram: Tensor, rank: int) -> Tensor:
    """The top left singular vectors, as rows ``(rank, d)``, of inputs less their part in ``space``.

    Rows are zero where no direction is left: what is left by rounding alone points into the space too.

    Args:
        space: the projection M M^T, ``(d, d)``.
        gram: H H^T, ``(d, d)``.
        rank: how many.
    """
    rest = torch.eye(len(space), dtype=space.dtype, device=space.device) - space
    # In single precision LAPACK gives up on a few in a thousand matrices of a single sample.
    squared, vectors = torch.linalg.eigh((rest @ gram @ rest).double())
    squared, vectors = squared.flip(0)[:rank], vectors.flip(1)[:, :rank]
    inside = (vectors * (space.double() @ vectors)).sum(0)
    kept: Tensor = vectors * ((squared > NEGLIGIBLE * squared[0].clamp_min(0)) & (inside < INSIDE))
    return F.pad(kept.mT, (0, 0, 0, rank - kept.shape[1])).to(space.dtype)


def _branched(build_model: Callable[[], nn.Module], rank: int) -> nn.Module:
    """A network whose frozen transformer has a branch at key and value of each block."""
    network = build_model()
    vit = frozen_vit(network, "inflora", "its own low-rank updates")
    for number in range(len(vit.blocks)):
        attention = attention_in(vit, number)
        for part in PARTS:
            become(attention.get_submodule(part), Branch).add(rank)
    return network
