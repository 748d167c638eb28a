"""ReDo: every so many steps, gives new weights to the hidden units that hardly fire.

Sokar, Agarwal, Castro & Evci 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement Learning"
(ICML, arXiv 2302.12902). With h_i the output of unit i of a layer of H units, its score is (eq. 1)

    s_i = mean|h_i| / (1/H sum_k mean|h_k|),

the means over a batch and, for convolutions, over the positions of the image. A unit with s_i <= tau is
dormant. Every ``reset_period`` steps (algorithm 1) each dormant unit gets new incoming weights and
outgoing weights of 0, so that what the network computes changes by no more than the unit gave.

The scores are those of the step's own batch, replayed samples included, before its update; the reset
follows the update. A unit's bias becomes 0, and so does the optimizer's state of its weights. Between
resets a step is one of plain training. Deviation: incoming weights are drawn from torch's default
distribution (uniform within 1/sqrt(fan_in)), with which these models start. The paper's tau is 0.1 or
0.025, with a period of 1,000 steps; that of the code of Dohare et al. 2024 (Nature 632:768) is 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.nets.chain import HiddenLayer, hidden_layers, reading
from clbench.nets.optim import SHAPE_AWARE
from clbench.settings import AtLeast
from clbench.space import Choices


class ReDo(GradientStrategy):
    """Trains by gradient steps and now and then gives dormant units new weights."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of ReDo."""

        reset_period: Annotated[int, AtLeast(1)] = field(
            default=1000, metadata={"space": Choices(100, 300, 1000, 3000)}
        )
        """Steps from one reset of dormant units to the next, counted over the whole stream."""
        tau: Annotated[float, AtLeast(0)] = field(
            default=0.1, metadata={"space": Choices(0.0, 0.01, 0.03, 0.1)}
        )
        """A unit is dormant if its mean activation is at most this share of its layer's mean."""

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
        self.layers = hidden_layers(self.model, "redo")
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("replaced", torch.zeros((), dtype=torch.int64))
        self.steps: Tensor
        """0-d int64: steps taken so far."""
        self.replaced: Tensor
        """0-d int64: units that got new weights so far."""
        self._taken = 0

    def begin(self, task: TaskData) -> TaskData:
        """Read the number of steps once; the host counts on from there."""
        self._taken = int(self.steps)
        return task

    def step(self, batch: Batch) -> None:
        """Update the weights; at the end of a period, renew the units that were dormant."""
        self._taken += 1
        if self._taken % self.config.reset_period:
            super().step(batch)
            return
        with reading(self.model, self.layers) as read:
            gradient = self.gradient(batch)
        self.descend(gradient)
        for layer in self.layers:
            self._renew(layer, dormant(layer.per_unit(read[layer.reader]), self.config.tau))

    def consolidate(self, task: TaskData) -> None:
        """Store the number of steps."""
        self.steps.fill_(self._taken)

    def _renew(self, layer: HiddenLayer, which: Tensor) -> None:
        """Give new weights to the units ``which``, ``(units,)`` bool. The host does not know them."""
        w_in = layer.parts(self.per_parameter(self.weights))[0]
        fresh = torch.empty_like(w_in).uniform_(-1, 1) / math.sqrt(w_in.shape[1])
        w_in.copy_(torch.where(which[:, None], fresh, w_in))
        for vector in self.optimizer_vectors():
            layer.parts(self.per_parameter(vector))[0].masked_fill_(which[:, None], 0)
            _clear(layer, self.per_parameter(vector), which)
        _clear(layer, self.per_parameter(self.weights), which)
        self.replaced.add_(which.sum())

    def diagnostics(self) -> dict[str, Tensor]:
        """Add ``replaced``, the number of units that got new weights so far."""
        return {**super().diagnostics(), "replaced": self.replaced}


def _clear(layer: HiddenLayer, parameters: list[Tensor], which: Tensor) -> None:
    """Set the bias and the outgoing weights of units to 0."""
    _, bias, w_out, _ = layer.parts(parameters)
    bias.masked_fill_(which, 0)
    w_out.masked_fill_(which[:, None], 0)


def dormant(h: Tensor, tau: float) -> Tensor:
    """Find the dormant units of a layer from activations ``(B, units, n)``: ``(units,)`` bool.

    Of a layer that is silent altogether, all units are dormant.
    """
    activity = h.abs().mean((0, 2))
    return activity <= tau * activity.mean()
