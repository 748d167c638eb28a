"""Continual backpropagation: reinitialises the hidden units of lowest utility, a few at each step.

Dohare, Hernandez-Garcia, Lan, Rahman, Mahmood & Sutton 2024, "Loss of plasticity in deep continual
learning" (Nature 632:768). Let h be the activation of a hidden unit, over the batch and the positions
of an image, and let w_in and w_out be the unit's weights to and from. Each step updates a running
average (decay eta, corrected for its start at zero as in Adam) of the unit's utility,

- ``contribution``: u = mean|h| mean|w_out|,
- ``adaptable``: u = mean|h - h'| mean|w_out| / mean|w_in|, with h' the running average of h.

At each step a share of ``replacement_rate`` of a layer's units older than ``maturity`` steps is due.
Fractions add up until a whole unit is due. The number of units follows from the ages, so the host
computes it and never waits; only the device knows which units they are. The units of lowest utility
are replaced: w_in is drawn again, b and w_out become 0, and the unit's average output, w_out h', is
added to the next layer's biases. The unit's age, its averages and the optimizer's state for its
weights restart at 0.

Deviations: w_in is drawn from the initial distribution of these models (torch's default, uniform
within 1/sqrt(fan_in)), not from Kaiming's with a gain. Adam has one step count for all weights; the
authors' AdamGnT has one for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.nets.chain import HiddenLayer, hidden_layers, reading
from clbench.nets.optim import SHAPE_AWARE
from clbench.settings import AtLeast, Within
from clbench.space import Log


class ContinualBackprop(GradientStrategy):
    """Trains by gradient steps and replaces the least useful hidden units."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of continual backpropagation."""

        replacement_rate: Annotated[float, Within(0, 1)] = field(
            default=1e-4, metadata={"space": Log(1e-6, 1e-2)}
        )
        """Share of a layer's mature units that is replaced at each step (rho)."""
        maturity: Annotated[int, AtLeast(0)] = 100
        """Steps for which a new unit is not replaced (m)."""
        decay: Annotated[float, Within(0, 1, open_high=True)] = 0.99
        """Decay of the running averages (eta)."""
        utility: Literal["contribution", "adaptable"] = "contribution"
        """contribution: the size of a unit's output; adaptable: its variation, divided by its input
        weights."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.optimizer.lower() in SHAPE_AWARE:
                raise UsageError(
                    f"strategy.optimizer={self.optimizer} keeps no state for single weights, so it "
                    "cannot be cleared for a unit; use sgd or adam"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.layers = hidden_layers(self.model, "continual_backprop")
        n_units = sum(layer.units for layer in self.layers)
        self.register_buffer("age", torch.zeros(n_units, dtype=torch.int64))
        self.register_buffer("activation", torch.zeros(n_units))
        self.register_buffer("running_utility", torch.zeros(n_units))
        self.register_buffer("due", torch.zeros(len(self.layers)))
        self.register_buffer("replaced", torch.zeros((), dtype=torch.int64))
        self.age: Tensor
        self.activation: Tensor
        self.running_utility: Tensor
        self.due: Tensor
        self.replaced: Tensor
        self._counts: list[AgeCount] = []

    def begin(self, task: TaskData) -> TaskData:
        """Read the ages once; they tell how many units become due at each coming step."""
        sizes = [layer.units for layer in self.layers]
        counts = zip(self.age.split(sizes), self.due.tolist(), strict=True)
        self._counts = [AgeCount(age.cpu().numpy().copy(), due) for age, due in counts]
        return task

    def step(self, batch: Batch) -> None:
        """Update the weights, then the utilities; then replace the units that are due."""
        with reading(self.model, self.layers) as read:
            gradient = self.gradient(batch)
        self.descend(gradient)
        self.age.add_(1)
        for layer in self.layers:
            self._assess(layer, read[layer.reader])
        for layer, count in zip(self.layers, self._counts, strict=True):
            n = count.due_now(self.config.maturity, self.config.replacement_rate)
            if n:
                self._renew(layer, n)

    def consolidate(self, task: TaskData) -> None:
        """Store the fractions of units that are due."""
        due = [count.due for count in self._counts]
        self.due.copy_(torch.tensor(due, device=self.due.device))

    def _usual(self, layer: HiddenLayer, average: Tensor) -> Tensor:
        """Correct a running average for its start at zero, ``(units,)``."""
        age = self.age[layer.of].to(average.dtype)
        corrected: Tensor = average[layer.of] / (1 - self.config.decay**age)
        return corrected

    def _assess(self, layer: HiddenLayer, read: Tensor) -> None:
        """Update a layer's averages from the next layer's input ``read``, ``(B, units, ...)``."""
        w_in, _, w_out, _ = layer.parts(self.per_parameter(self.weights))
        h = layer.per_unit(read)
        new = 1 - self.config.decay
        self.activation[layer.of].lerp_(h.mean((0, 2)), new)
        if self.config.utility == "adaptable":
            h = h - self._usual(layer, self.activation)[:, None]
        now = h.abs().mean((0, 2)) * w_out.abs().mean((0, 2))
        if self.config.utility == "adaptable":
            now = now / w_in.abs().mean(1).clamp_min(1e-12)
        self.running_utility[layer.of].lerp_(now, new)

    def _renew(self, layer: HiddenLayer, n: int) -> None:
        """Replace the ``n`` mature units of lowest utility in a layer."""
        young = self.age[layer.of] <= self.config.maturity
        utility = self._usual(layer, self.running_utility).masked_fill(young, torch.inf)
        worst = utility.topk(n, largest=False).indices
        w_in, bias, w_out, next_bias = layer.parts(self.per_parameter(self.weights))
        usual = self._usual(layer, self.activation).index_select(0, worst)
        next_bias.add_(w_out.index_select(1, worst).sum(2) @ usual)
        fresh = w_in.new_empty(n, w_in.shape[1]).uniform_(-1, 1) / math.sqrt(w_in.shape[1])
        w_in.index_copy_(0, worst, fresh)
        bias.index_fill_(0, worst, 0)
        w_out.index_fill_(1, worst, 0)
        for vector in self.optimizer_vectors():
            parts = layer.parts(self.per_parameter(vector))[:3]
            for part, dim in zip(parts, (0, 0, 1), strict=True):
                part.index_fill_(dim, worst, 0)
        for average in (self.age, self.activation, self.running_utility):
            average[layer.of].index_fill_(0, worst, 0)
        self.replaced.add_(n)

    def diagnostics(self) -> dict[str, Tensor]:
        """Add ``replaced``, the number of units replaced so far."""
        return {**super().diagnostics(), "replaced": self.replaced}


@dataclass
class AgeCount:
    """Holds the ages of a layer's units on the host, which tell how many are due but not which."""

    ages: np.ndarray
    """``(units,)`` int64 steps, in any order."""
    due: float
    """The fraction of a unit that is due so far, below 1."""

    def due_now(self, maturity: int, rate: float) -> int:
        """Go one step on and return how many units to replace. Here they are the oldest ones."""
        self.ages += 1
        self.due += rate * int(np.count_nonzero(self.ages > maturity))
        n = int(self.due)
        if n:
            self.due -= n
            self.ages.sort()
            self.ages[-n:] = 0
        return n
