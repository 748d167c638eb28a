"""HAT: hard attention to the task; learnt gates give each task units, which later tasks spare.

Serra, Suris, Miron & Karatzoglou 2018, "Overcoming Catastrophic Forgetting with Hard Attention to the
Task" (ICML, arXiv 1801.01423). Task t has a number e_l^t for each hidden unit of layer l. Its gate,
which the unit's output is multiplied with, is a = sigmoid(s e) (eq. 1). With b of B the batch of an
epoch, s rises from 1 / s_max to s_max in each epoch (eq. 3), and predictions use s_max:

    s = 1/s_max + (s_max - 1/s_max) (b - 1)/(B - 1).

With a^{<t} the largest gate of earlier tasks (at s_max), gradients are multiplied (eq. 2) by

    w_l,ij:  1 - min(a_l,i^{<t}, a_{l-1},j^{<t}),

and the loss is (eq. 5, 6)

    CE + c  sum a^t (1 - a^{<t}) / sum (1 - a^{<t}).

The gradient of e is multiplied by s_max (cosh(s e) + 1) / (s (cosh(e) + 1)) with |s e| <= 50 (eq. 4);
it is computed in closed form (``clbench.nets.gated``), since in floats the gradient of a gate near 1 is
0 before it is multiplied. |e| stays at most 6.

A unit's gate acts where the next layer reads it (after its ReLU, and pooling). A bias is spared as its
unit is, and the first layer's inputs count as used. All tasks share one output layer, whose scores
are masked by the task; rows of other tasks' classes get no gradient. The masks hold for plain
gradient steps, so momentum, Adam and weight decay are refused. So are networks that are no chain of
layers, and streams whose tasks are not told, are cut, or share classes. ``clip_norm`` is 10,000, as
in the authors' code (unverified).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, Needs, StreamInfo, TaskData, UsageError
from clbench.nets.gated import Gated
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Log

LARGEST = 6.0
"""Of |e|."""


class HAT(GradientStrategy):
    """Learns which units each task uses, and spares the units of earlier tasks."""

    model: Gated
    needs = Needs(task_id=True, boundaries=True, disjoint_classes=True, n_tasks=True)

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of hard attention to the task."""

        clip_norm: Annotated[float | None, Positive] = 10_000.0
        """The gradient's norm is clipped to this; null: not clipped."""
        c: Annotated[float, AtLeast(0)] = field(default=0.75, metadata={"space": Log(0.05, 5)})
        """Weight of the term that keeps a task from using many new units."""
        s_max: Annotated[float, Within(1)] = field(default=400.0, metadata={"space": Log(20, 1000)})
        """Steepness of the gates: the higher, the nearer to 0 or 1."""

        def __post_init__(self) -> None:
            super().__post_init__()
            plain = self.optimizer.lower() == "sgd" and not (self.momentum or self.weight_decay)
            if not plain or self.reset_weights or self.patience is not None:
                raise UsageError(
                    "hat masks plain gradient steps: leave out strategy.optimizer, momentum, "
                    "weight_decay, reset_weights and patience"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        assert info.n_tasks is not None
        n_tasks: int = info.n_tasks
        super().__init__(info, config, lambda: Gated(build_model(), n_tasks, config.s_max, "hat"))
        self.register_buffer("used", torch.zeros_like(self.model.embedding[0].detach()))
        self.used: Tensor
        """``(units,)``: the largest gate of all tasks learnt."""
        self._free, self._step, self._per_epoch, self._s = self.used, 0, 1, config.s_max

    def begin(self, task: TaskData) -> TaskData:
        """Work out what the weights' gradients are multiplied by."""
        self._free = torch.ones_like(self.weights)
        _, *parts = self.per_parameter(self._free)
        before = self.used.new_ones(1)
        for layer in self.model.layers:
            own = self.used[layer.of]
            w_in, bias, _, _ = layer.parts(parts)
            fan = w_in.view(layer.units, len(before), -1)
            fan.copy_((1 - torch.minimum(own[:, None], before))[:, :, None].expand_as(fan))
            bias.copy_(1 - own)
            before = own
        self._step, self._per_epoch = 0, -(-len(task) // self.config.batch_size)
        return task

    def scores(self, batch: Batch) -> Tensor:
        """Compute the gated logits, ``(B, n_classes)``."""
        return self.masked(self.model(batch.x, batch.task_id, self._s), batch)

    def loss(self, batch: Batch) -> Tensor:
        """Add the share of free units that the task uses, 0-d."""
        assert batch.task_id is not None
        gates = self.model.gates(batch.task_id[:1], self._s)
        free = 1 - self.used
        share = (gates[0] * free).sum() / free.sum().clamp_min(torch.finfo(free.dtype).tiny)
        total: Tensor = super().loss(batch) + self.config.c * share
        return total

    def step(self, batch: Batch) -> None:
        """Update weights and gates at this step's steepness."""
        most = self.config.s_max
        at = self._step % self._per_epoch
        self._step += 1
        rise = at / (self._per_epoch - 1) if self._per_epoch > 1 else 1.0
        self._s = 1 / most + (most - 1 / most) * rise
        self.descend(self.gradient(batch).mul_(self._free))
        self.per_parameter(self.weights)[0].clamp_(-LARGEST, LARGEST)

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Note the units that the task uses."""
        assert task.task_id is not None
        gates = self.model.gates(task.task_id[:1], self.config.s_max)[0]
        self.used.copy_(torch.maximum(self.used, gates))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Score with the gates of each sample's task: ``(B, n_classes)``."""
        scores: Tensor = self.model(x, task_id, self.config.s_max)
        return scores
