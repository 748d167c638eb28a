"""The base of models: a frozen dataclass of settings that builds a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from clbench.nets.inputs import ToFloat as ToFloat
from clbench.settings import check


@dataclass(frozen=True)
class Model(ABC):
    """Builds a network; its fields are the settings ``model.<field>``."""

    argument: ClassVar[str] = ""
    """The setting that takes the text after a colon, if one does."""

    def __post_init__(self) -> None:
        check(self, "model")

    @property
    def starts_pretrained(self) -> bool:
        """Whether the network starts from weights of other data (a board's open division)."""
        return False

    def resolved(self, input_shape: tuple[int, ...]) -> dict[str, object]:
        """Say what settings that are null or auto come to, by name; only for the record."""
        return {}

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build a fresh network ``(B, *input_shape) -> (B, n_classes)``.

        Its weights are drawn from torch's generator. ``input_shape`` is ``(d,)``, ``(H, W)`` or
        ``(C, H, W)``. ``scale`` brings raw values (uint8 for images) to the unit range and belongs in
        the first layer.

        Raises:
            UsageError: the network does not take samples of this shape.
        """
