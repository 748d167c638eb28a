"""Continual backpropagation: the hidden units that are of least use are started anew, a few at a time.

Dohare, Hernandez-Garcia, Lan, Rahman, Mahmood & Sutton 2024, "Loss of plasticity in deep continual
learning" (Nature 632:768). With h the activation of a hidden unit over the batch (and the positions
of an image), w_in and w_out its weights to and from, all averages means, each step takes a running
average (decay eta, corrected for its start at zero as in Adam) of the unit's utility,

- ``contribution``: u = mean|h| mean|w_out|,
- ``adaptable``: u = mean|h - h'| mean|w_out| / mean|w_in|, with h' the running average of h.

In each layer ``replacement_rate`` of the units older than ``maturity`` steps are due each step;
fractions add up until a unit is. The units of lowest utility are replaced: w_in is drawn anew, b and
w_out become 0, what the unit gave on average, w_out h', goes to the next layer's biases, and age,
averages and the optimizer's memory of these weights begin at 0.

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

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.optim import SHAPE_AWARE
from clbench.strategy import Batch, GradientStrategy, StreamInfo


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
        self.register_buffer("utility", torch.zeros(n_units))
        self.register_buffer("due", torch.zeros(len(self.layers)))
        self.register_buffer("replaced", torch.zeros((), dtype=torch.int64))
        self.age: Tensor
        self.activation: Tensor
        self.utility: Tensor
        self.due: Tensor
        self.replaced: Tensor

    def step(self, batch: Batch) -> None:
        """One update of the weights, then of the utilities; then the units that are due."""
        with self._watched() as read:
            gradient = self.gradient(batch)
        self.descend(gradient)
        sizes = [layer.units for layer in self.layers]
        state = (v.split(sizes) for v in (self.age, self.activation, self.utility))
        for number, (layer, *units) in enumerate(zip(self.layers, *state, strict=True)):
            h = read[layer.reader].flatten(1).unflatten(1, (layer.units, -1))
            usual = self._assess(layer, h, *units)
            self._renew(layer, self.due[number], usual, *units)

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

    def _assess(
        self, layer: HiddenLayer, h: Tensor, age: Tensor, activation: Tensor, utility: Tensor
    ) -> Tensor:
        """Update a layer's averages from ``h: (B, units, positions)``; returns h', ``(units,)``."""
        w_in, _, w_out, _ = layer.parts(self._flat.split(self.weights))
        new = 1 - self.config.decay
        age.add_(1)
        activation.lerp_(h.mean((0, 2)), new)
        usual = activation / self._weight(age)
        if self.config.utility == "adaptable":
            h = h - usual[:, None]
        now = h.abs().mean((0, 2)) * w_out.abs().mean((0, 2))
        if self.config.utility == "adaptable":
            now = now / w_in.abs().mean(1).clamp_min(1e-12)
        utility.lerp_(now, new)
        return usual

    def _weight(self, age: Tensor) -> Tensor:
        """How much of a running average is not its start at zero: ``1 - eta^age``."""
        decayed: Tensor = 1 - self.config.decay ** age.to(self.weights.dtype)
        return decayed

    def _renew(
        self,
        layer: HiddenLayer,
        due: Tensor,
        usual: Tensor,
        age: Tensor,
        activation: Tensor,
        utility: Tensor,
    ) -> None:
        """Replace the units of a layer that are due; how many is known on the device alone."""
        mature = age > self.config.maturity
        due.add_(self.config.replacement_rate * mature.sum())
        # Never more than this: what is due grows by less than that, from less than one.
        most = min(layer.units, int(self.config.replacement_rate * layer.units) + 1)
        ranked = (utility / self._weight(age)).masked_fill(~mature, torch.inf)
        worst = ranked.topk(most, largest=False, sorted=True).indices
        chosen = torch.arange(most, device=due.device) < due.floor()
        chosen = chosen & mature.index_select(0, worst)
        due.sub_(chosen.sum())
        self.replaced.add_(chosen.sum())

        w_in, bias, w_out, next_bias = layer.parts(self._flat.split(self.weights))
        gone = w_out.index_select(1, worst).sum(2) * (usual.index_select(0, worst) * chosen)
        next_bias.add_(gone.sum(1))
        fresh = w_in.new_empty(most, w_in.shape[1]).uniform_(-1, 1) / math.sqrt(w_in.shape[1])
        put(w_in, 0, worst, chosen, fresh)
        zeroed = [(bias, 0), (w_out, 1), (age, 0), (activation, 0), (utility, 0)]
        for memory in self._memories():
            parts = layer.parts(self._flat.split(memory))
            zeroed += zip(parts[:3], (0, 0, 1), strict=True)
        for tensor, dim in zeroed:
            put(tensor, dim, worst, chosen, tensor.new_zeros(()))

    def _memories(self) -> list[Tensor]:
        """The optimizer's vectors with one entry for each weight: momentum, averages."""
        state = self.optimizer.state.get(self._flat.vector, {})
        found = (v for v in state.values() if isinstance(v, Tensor))
        return [v for v in found if v.shape == self.weights.shape]

    def diagnostics(self) -> dict[str, Tensor]:
        """``replaced``: units replaced so far."""
        return {**super().diagnostics(), "replaced": self.replaced}


@dataclass(frozen=True)
class HiddenLayer:
    """Where the weights to and from a layer of hidden units are."""

    units: int
    parameter: int
    """Position of its weight among the model's parameters; bias, next weight and bias follow."""
    reader: int
    """Place in the model of the layer that reads it."""

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
    found = []
    for number, ((_, layer), (place, reader)) in enumerate(pairwise(chain)):
        units = len(layer.weight)
        if reader.weight.shape[1] % units:
            refuse(f"mixes the units before layer {place}")
        found.append(HiddenLayer(units, 2 * number, place))
    if not found:
        refuse("has no hidden units")
    return found


def put(target: Tensor, dim: int, index: Tensor, chosen: Tensor, value: Tensor) -> None:
    """``target[index] = value`` along a dimension, in place, only where ``chosen: (k,)``."""
    shape = [-1 if d == dim else 1 for d in range(target.dim())]
    old = target.index_select(dim, index)
    target.index_copy_(dim, index, torch.where(chosen.view(shape), value, old))
