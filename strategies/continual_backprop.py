"""Continual backpropagation: the hidden units that are of least use are started anew, a few at a time.

Dohare, Hernandez-Garcia, Lan, Rahman, Mahmood & Sutton 2024, "Loss of plasticity in deep continual
learning" (Nature 632:768). With h the activation of a hidden unit over the batch (and the positions
of an image), w_in and w_out its weights to and from, all averages means, each step takes a running
average (decay eta, corrected for its start at zero as in Adam) of the unit's utility,

- ``contribution``: u = mean|h| mean|w_out|,
- ``adaptable``: u = mean|h - h'| mean|w_out| / mean|w_in|, with h' the running average of h.

In each layer ``replacement_rate`` of the units older than ``maturity`` steps are due each step;
fractions add up until a unit is (how many follows from the ages, so the host counts along and waits
for nothing; which ones is known to the device). Units of lowest utility are replaced: w_in is drawn
anew, b and w_out become 0, what the unit gave on average, w_out h', goes to the next layer's biases,
and age, averages and the optimizer's memory of these weights begin at 0.

Deviations: w_in comes from the distribution that these models start from (torch's default, uniform
within 1/sqrt(fan_in)), not from Kaiming's with a gain. Adam's step count stays one for all weights;
the authors' AdamGnT has one for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.nets.optim import SHAPE_AWARE


class ContinualBackprop(GradientStrategy):
    """Gradient steps, and renewal of the least useful hidden units."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of continual backpropagation."""

        replacement_rate: float = 1e-4
        """Part of a layer's mature units that is replaced at each step (rho)."""
        maturity: int = 100
        """Steps for which a new unit is left alone (m)."""
        decay: float = 0.99
        """Decay of the running averages (eta)."""
        utility: Literal["contribution", "adaptable"] = "contribution"
        """contribution: what a unit gives; adaptable: its variation, relative to its weights."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.replacement_rate <= 1:
                raise UsageError(
                    f"strategy.replacement_rate={self.replacement_rate} must be in [0, 1]"
                )
            if self.maturity < 0:
                raise UsageError(f"strategy.maturity={self.maturity} must be >= 0")
            if not 0 <= self.decay < 1:
                raise UsageError(f"strategy.decay={self.decay} must be in [0, 1)")
            if self.optimizer.lower() in SHAPE_AWARE:
                raise UsageError(
                    f"strategy.optimizer={self.optimizer} has no memory of single weights that "
                    "could be cleared; use sgd or adam"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.layers = hidden_layers(self.model)
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
        """Read the ages, once: how many units become due in the steps to come follows from them."""
        sizes = [layer.units for layer in self.layers]
        counts = zip(self.age.split(sizes), self.due.tolist(), strict=True)
        self._counts = [AgeCount(age.cpu().numpy().copy(), due) for age, due in counts]
        return task

    def step(self, batch: Batch) -> None:
        """One update of the weights, then of the utilities; then the units that are due."""
        with self._watched() as read:
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
        """Keep the fractions of units that are due."""
        due = [count.due for count in self._counts]
        self.due.copy_(torch.tensor(due, device=self.due.device))

    @contextmanager
    def _watched(self) -> Iterator[dict[int, Tensor]]:
        """Inside, what the layers after hidden ones read is noted, by their place in the model."""
        read: dict[int, Tensor] = {}

        def note(place: int, x: Tensor) -> None:
            read[place] = x.detach()

        handles = [
            self.model.get_submodule(str(layer.reader)).register_forward_pre_hook(
                lambda _, args, place=layer.reader: note(place, args[0])
            )
            for layer in self.layers
        ]
        try:
            yield read
        finally:
            for handle in handles:
                handle.remove()

    def _usual(self, layer: HiddenLayer, average: Tensor) -> Tensor:
        """``(units,)``: a running average, corrected for its start at zero."""
        age = self.age[layer.of].to(average.dtype)
        corrected: Tensor = average[layer.of] / (1 - self.config.decay**age)
        return corrected

    def _assess(self, layer: HiddenLayer, read: Tensor) -> None:
        """Update a layer's averages from what the next layer ``read``, ``(B, units, ...)``."""
        w_in, _, w_out, _ = layer.parts(self._flat.split(self.weights))
        h = read.flatten(1).unflatten(1, (layer.units, -1))
        new = 1 - self.config.decay
        self.activation[layer.of].lerp_(h.mean((0, 2)), new)
        if self.config.utility == "adaptable":
            h = h - self._usual(layer, self.activation)[:, None]
        now = h.abs().mean((0, 2)) * w_out.abs().mean((0, 2))
        if self.config.utility == "adaptable":
            now = now / w_in.abs().mean(1).clamp_min(1e-12)
        self.running_utility[layer.of].lerp_(now, new)

    def _renew(self, layer: HiddenLayer, n: int) -> None:
        """Replace the n mature units of lowest utility in a layer."""
        young = self.age[layer.of] <= self.config.maturity
        utility = self._usual(layer, self.running_utility).masked_fill(young, torch.inf)
        worst = utility.topk(n, largest=False).indices
        w_in, bias, w_out, next_bias = layer.parts(self._flat.split(self.weights))
        usual = self._usual(layer, self.activation).index_select(0, worst)
        next_bias.add_(w_out.index_select(1, worst).sum(2) @ usual)
        fresh = w_in.new_empty(n, w_in.shape[1]).uniform_(-1, 1) / math.sqrt(w_in.shape[1])
        w_in.index_copy_(0, worst, fresh)
        bias.index_fill_(0, worst, 0)
        w_out.index_fill_(1, worst, 0)
        for memory in self._memories():
            for part, dim in zip(layer.parts(self._flat.split(memory))[:3], (0, 0, 1), strict=True):
                part.index_fill_(dim, worst, 0)
        for average in (self.age, self.activation, self.running_utility):
            average[layer.of].index_fill_(0, worst, 0)
        self.replaced.add_(n)

    def _memories(self) -> list[Tensor]:
        """The optimizer's vectors with one entry for each weight: momentum, averages."""
        state = self.optimizer.state.get(self._flat.vector, {})
        found = (v for v in state.values() if isinstance(v, Tensor))
        return [v for v in found if v.shape == self.weights.shape]

    def diagnostics(self) -> dict[str, Tensor]:
        """``replaced``: units replaced so far."""
        return {**super().diagnostics(), "replaced": self.replaced}


@dataclass
class AgeCount:
    """The ages of a layer's units on the host: all it takes to tell how many are due, not which."""

    ages: np.ndarray
    """``(units,)`` int64 steps, in any order."""
    due: float
    """What has added up, below 1."""

    def due_now(self, maturity: int, rate: float) -> int:
        """One step on: how many units are to be replaced. The oldest stand in for them."""
        self.ages += 1
        self.due += rate * int(np.count_nonzero(self.ages > maturity))
        n = int(self.due)
        if n:
            self.due -= n
            self.ages.sort()
            self.ages[-n:] = 0
        return n


@dataclass(frozen=True)
class HiddenLayer:
    """Where the weights to and from a layer of hidden units are."""

    of: slice
    """Its units among those of all hidden layers."""
    parameter: int
    """Position of its weight among the model's parameters; bias, next weight and bias follow."""
    reader: int
    """Place in the model of the layer that reads it."""

    @property
    def units(self) -> int:
        """How many."""
        return int(self.of.stop - self.of.start)

    def parts(self, parameters: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Views: w_in ``(units, fan_in)``, b ``(units,)``, w_out ``(out, units, n)``, next b.

        n is the positions of an image, or those of a convolution's kernel.
        """
        w_in, bias, w_out, next_bias = parameters[self.parameter : self.parameter + 4]
        return w_in.flatten(1), bias, w_out.view(len(w_out), self.units, -1), next_bias


def hidden_layers(model: nn.Module) -> list[HiddenLayer]:
    """The hidden layers of a chain of linear and convolution layers.

    Raises:
        UsageError: the model is no such chain, a layer has no bias, or nothing is hidden.
    """

    def refuse(what: str) -> NoReturn:
        raise UsageError(
            f"continual_backprop needs a chain of linear and convolution layers with biases, and "
            f"this model {what}; use model=mlp or model=scole_cnn with model.head=linear"
        )

    if not isinstance(model, nn.Sequential):
        refuse("is no torch.nn.Sequential")
    if not all(p.requires_grad for p in model.parameters()):
        refuse("has frozen weights")
    chain: list[tuple[int, nn.Linear | nn.Conv2d]] = []
    for place, module in enumerate(model):
        if type(module) in (nn.Linear, nn.Conv2d) and getattr(module, "groups", 1) == 1:
            assert isinstance(module, nn.Linear | nn.Conv2d)
            if module.bias is None:
                refuse(f"has none in layer {place}")
            chain.append((place, module))
        elif any(True for _ in module.parameters()):
            refuse(f"has a {type(module).__name__}")
    found, start = [], 0
    for number, ((_, layer), (place, reader)) in enumerate(pairwise(chain)):
        units = len(layer.weight)
        if reader.weight.shape[1] % units:
            refuse(f"mixes the units before layer {place}")
        found.append(HiddenLayer(slice(start, start + units), 2 * number, place))
        start += units
    if not found:
        refuse("has no hidden units")
    return found
