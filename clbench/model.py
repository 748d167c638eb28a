"""What a model plug-in is: a frozen dataclass of settings that builds a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Model(ABC):
    """Base of every model plug-in; its fields are the settings ``model.<field>``."""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """A fresh network ``(B, *input_shape) -> (B, n_classes)``, initialised from torch's generator.

        ``input_shape`` is ``(d,)``, ``(H, W)`` or ``(C, H, W)``; ``scale`` brings raw values (uint8
        for images) to the unit range and belongs into the first layer.

        Raises:
            UsageError: the network does not take samples of this shape.
        """


class ToFloat(nn.Module):
    """First layer of every model: raw values to floats of the model's own precision."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        # Not persistent: a setting, not something learnt; a buffer, so that .double() reaches it.
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """``(B, ...)`` of any dtype to the same shape in the model's float dtype."""
        return x.to(self.scale.dtype) * self.scale
