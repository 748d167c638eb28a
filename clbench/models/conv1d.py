"""Convolutional network for series: the fully convolutional baseline of Wang et al. 2017.

Wang, Yan & Oates 2017 (arXiv 1611.06455), "FCN": three convolutions over time with 128, 256 and 128
channels, each with batch normalisation and ReLU, the average over time, linear layer. Deviation: the
first kernel has 7 steps instead of 8, so that padding is the same on both sides. A training batch with
one value per channel is normalised by the running statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from clbench import Model, UsageError
from clbench.model import ToFloat
from clbench.nets.batch_norm import BatchNorm1d
from clbench.nets.head import build_head
from clbench.settings import AtLeast

KERNELS = (7, 5, 3)


class AsSeries(nn.Module):
    """``(B, T)`` to ``(B, 1, T)``; series of channels ``(B, C, T)`` stay as they are."""

    def forward(self, x: Tensor) -> Tensor:
        """Same values."""
        return x.unsqueeze(1) if x.dim() == 2 else x


@dataclass(frozen=True)
class Conv1d(Model):
    """Builds the network for series ``(T,)`` or ``(C, T)`` of any length."""

    hidden: Annotated[tuple[int, ...], AtLeast(1)] = (128, 256, 128)
    """Channels of the three convolutions."""
    head: Literal["linear", "weight_norm", "cosine"] = "linear"
    """Output layer: linear, weight_norm (weights of length one for each class, no bias), or cosine
    (a learnt factor times the cosine of features and weights; features then have no last ReLU)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.hidden) != len(KERNELS):
            raise UsageError(f"model.hidden={list(self.hidden)} must have {len(KERNELS)} values")

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples are no series.
        """
        if len(input_shape) not in (1, 2):
            raise UsageError(
                f"model=conv1d needs series (T,) or (C, T), not samples of shape {input_shape}; "
                "choose another model (clbench list models)"
            )
        before = input_shape[0] if len(input_shape) == 2 else 1
        layers: list[nn.Module] = []
        for number, (after, kernel) in enumerate(zip(self.hidden, KERNELS, strict=True)):
            layers += [
                nn.Conv1d(before, after, kernel, padding=kernel // 2),
                BatchNorm1d(after),
                *([] if self.head == "cosine" and number == 2 else [nn.ReLU()]),
            ]
            before = after
        return nn.Sequential(
            ToFloat(scale),
            AsSeries(),
            *layers,
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            build_head(self.head, before, n_classes),
        )
