"""GPM: gradient steps orthogonal to what the inputs of each layer were in earlier tasks.

Saha, Garg & Roy 2021, "Gradient Projection Memory for Continual Learning" (ICLR, arXiv 2103.09762).
Let R hold, as columns, the inputs of a layer for samples of a task (of a convolution: its patches),
and let the columns of M be an orthonormal basis of what earlier tasks used. After a task (eq. 8, 9)

    R' = R - M M^T R,   R' = U S V^T,
    M <- [M, u_1 ... u_k] with the least k such that |M M^T R|^2 + s_1^2 + ... + s_k^2 >= e |R|^2,

and in later tasks each layer's gradient becomes (eq. 7)

    G <- G - G M M^T,

so that outputs for inputs in the span of M stay as they are. e grows by ``threshold_step`` a task, as
in the authors' code. The state is P = M M^T of each layer, which has a fixed size; U and S^2 are the
eigenvectors and eigenvalues of R' R'^T.

Deviations: directions within rounding of zero are not added. A bias is the weight of a further
input that is always 1 (the paper's networks have none). Norm layers, with their statistics, are
trained in the first task and then kept. An experience is a task. Where tasks are told the output
layer is not projected: the rows of other tasks' classes get no gradient. Without task ids it is
projected as all layers are (the paper: permuted MNIST). A projected gradient is no longer one after
momentum, Adam or weight decay, so these are refused, and so are networks with other layers than
linear ones, plain convolutions and norms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, Needs, StreamInfo, TaskData, UsageError
from clbench.nets.layer_inputs import add_directions, gram, input_layers
from clbench.nets.modes import keep_statistics
from clbench.settings import AtLeast, Within
from clbench.space import Choices

AT_ONCE = 64
"""Samples whose layer inputs are held at once."""


class GPM(GradientStrategy):
    """Projects each layer's gradient away from the inputs of earlier tasks."""

    needs = Needs(boundaries=True)
    results_version: ClassVar[int] = 2
    """Raised where ``clbench.nets.layer_inputs``, which is not in this file, gives other directions."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of gradient projection memory."""

        threshold: Annotated[float, Within(0, 1)] = field(
            default=0.97, metadata={"space": Choices(0.9, 0.95, 0.97, 0.99)}
        )
        """Share of the squared length of a layer's inputs that the memory must hold (e)."""
        threshold_step: Annotated[float, AtLeast(0)] = 0.003
        """What is added to the threshold for each task that was learnt before, up to 1."""
        samples: Annotated[int, AtLeast(1)] = 300
        """Samples of a task whose layer inputs are looked at."""

        def __post_init__(self) -> None:
            super().__post_init__()
            plain = self.optimizer.lower() == "sgd" and not (self.momentum or self.weight_decay)
            if not plain or self.reset_weights:
                raise UsageError(
                    "gpm projects plain gradient steps: leave out strategy.optimizer, momentum, "
                    "weight_decay and reset_weights"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.layers, self.kept = input_layers(self.model, "gpm", output=not info.task_ids)
        for layer in self.layers:
            space = self.weights.new_zeros(layer.width, layer.width)
            self.register_buffer(layer.buffer, space)
        self.register_buffer("learnt", torch.zeros((), dtype=torch.int64))
        self.learnt: Tensor
        """0-d int64: tasks learnt so far."""
        self._is_first = True

    def begin(self, task: TaskData) -> TaskData:
        """Keep the statistics of norm layers after the first task."""
        self._is_first = int(self.learnt) == 0
        if not self._is_first:
            keep_statistics(self.model)
        return task

    def step(self, batch: Batch) -> None:
        """Update the weights along the projected gradient."""
        gradient = self.gradient(batch)
        if not self._is_first:
            parts = self.per_parameter(gradient)
            for layer in self.layers:
                joint = layer.joint(parts)
                layer.split(joint - joint @ self.get_buffer(layer.buffer), parts)
            for number in self.kept:
                parts[number].zero_()
        self.descend(gradient)

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Add the directions that this task's inputs need to the memory of each layer."""
        chosen = torch.randperm(len(task), device=task.y.device)[: self.config.samples]
        e = self.config.threshold + self.config.threshold_step * int(self.learnt)
        grams = gram(self.model, self.layers, task.samples(AT_ONCE, chosen))
        for layer in self.layers:
            add_directions(self.get_buffer(layer.buffer), grams[layer.buffer], min(e, 1.0))
        self.learnt.add_(1)

    def diagnostics(self) -> dict[str, Tensor]:
        """Add ``held``, the share of all input directions that the memory holds."""
        spaces = [self.get_buffer(layer.buffer) for layer in self.layers]
        rank = torch.stack([space.trace() for space in spaces]).sum()
        return {**super().diagnostics(), "held": rank / sum(map(len, spaces))}
