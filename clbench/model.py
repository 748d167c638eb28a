"""The base of models: a frozen dataclass of settings that builds a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clbench.settings import check


@dataclass(frozen=True)
class Model(ABC):
    """Builds a network; its fields are the settings ``model.<field>``."""

    def __post_init__(self) -> None:
        check(self, "model")

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build a fresh network ``(B, *input_shape) -> (B, n_classes)``.

        Its weights are drawn from torch's generator. ``input_shape`` is ``(d,)``, ``(H, W)`` or
        ``(C, H, W)``. ``scale`` brings raw values (uint8 for images) to the unit range and belongs in
        the first layer.

        Raises:
            UsageError: the network does not take samples of this shape.
        """


class ToFloat(nn.Module):
    """Turns raw values into floats of the model's own precision; the first layer of every model."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        # It is not persistent, since it is not learnt. It is a buffer, so that .double() reaches it.
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``(B, ...)`` of any dtype; the result has the model's float dtype."""
        return x.to(self.scale.dtype) * self.scale
