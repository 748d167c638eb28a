"""The first layer of models: raw values to floats, scaled and, where that is asked for, normalised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Moments:
    """Means and standard deviations of samples in the unit range, for a network's first layer.

    Each has one value for a whole sample, for each channel ``(C,)`` or for each feature ``(d,)``.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Positive."""

    def column(self, values: tuple[float, ...], input_shape: tuple[int, ...]) -> Tensor:
        """The values in a shape that broadcasts over samples of ``input_shape``."""
        if len(values) == 1:
            return torch.tensor(values)
        return torch.tensor(values).reshape(-1, *[1] * (len(input_shape) - 1))


class ToFloat(nn.Module):
    """Turns raw values into floats of the model's own precision; the first layer of every model."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        # It is not persistent, since it is not learnt. It is a buffer, so that .double() reaches it.
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.scale: Tensor
        self.register_buffer("mean", None, persistent=False)
        self.register_buffer("std", None, persistent=False)
        self.mean: Tensor | None
        self.std: Tensor | None

    def normalise(self, moments: Moments, input_shape: tuple[int, ...]) -> None:
        """From now on, subtract the mean and divide by the standard deviation after scaling."""
        device, dtype = self.scale.device, self.scale.dtype
        self.mean = moments.column(moments.mean, input_shape).to(device, dtype)
        self.std = moments.column(moments.std, input_shape).to(device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``(B, ...)`` of any dtype; the result has the model's float dtype."""
        x = x.to(self.scale.dtype) * self.scale
        return x if self.mean is None or self.std is None else (x - self.mean) / self.std


def normalise(network: nn.Module, moments: Moments, input_shape: tuple[int, ...]) -> bool:
    """Let every ``ToFloat`` of a network normalise; False if it has none."""
    layers = [module for module in network.modules() if isinstance(module, ToFloat)]
    for layer in layers:
        layer.normalise(moments, input_shape)
    return bool(layers)


def is_normalised(module: nn.Module) -> bool:
    """Whether a ``ToFloat`` inside normalises."""
    layers = (part for part in module.modules() if isinstance(part, ToFloat))
    return any(layer.mean is not None for layer in layers)
