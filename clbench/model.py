"""The base of models: a frozen dataclass of settings that builds a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from clbench.nets.frozen import copy_constants
from clbench.nets.inputs import ToFloat as ToFloat
from clbench.nets.tuning import Tuning, tune
from clbench.settings import AtLeast, check


@dataclass(frozen=True)
class Model(ABC):
    """Builds a network; its fields are the settings ``model.<field>``."""

    argument: ClassVar[str] = ""
    """The setting that takes the text after a colon, if one does."""

    tune: Literal["full", "head", "bias", "norm", "lora", "adapter", "prompt"] = "full"
    """What is trained, the output layer always. full: everything; head: nothing else; bias: all
    biases; norm: the norm layers, with their statistics; and, in the blocks of a transformer, lora:
    low-rank updates of query and value; adapter: a bottleneck beside each MLP; prompt: further tokens.
    All else is frozen: it is no part of the state, and its bytes are frozen_bytes."""
    tune_rank: Annotated[int, AtLeast(1)] = 8
    """Rank of tune=lora, or the width of the bottleneck of tune=adapter."""
    tune_layers: Annotated[tuple[int, ...], AtLeast(0)] = ()
    """Blocks, from 0, that tune=lora, adapter or prompt adds to; empty: all."""
    tune_length: Annotated[int, AtLeast(1)] = 8
    """Tokens that tune=prompt adds to each block."""
    tune_seed: int = 0
    """Seed of frozen weights that are not pretrained; the run's seed does not change them."""

    def __post_init__(self) -> None:
        check(self, "model")

    @property
    def starts_pretrained(self) -> bool:
        """Whether the network starts from weights of other data (a board's open division)."""
        return False

    def resolved(self, input_shape: tuple[int, ...]) -> dict[str, object]:
        """Say what settings that are null or auto come to, by name; only for the record."""
        return {}

    def build_tuned(
        self, name: str, input_shape: tuple[int, ...], n_classes: int, scale: float
    ) -> nn.Module:
        """Build a fresh network as ``build`` does, and freeze what is not tuned.

        Frozen weights follow from the settings alone, so that whoever builds the network again has
        the same ones. ``name`` is the model's, for errors.

        Raises:
            UsageError: the network does not take samples of this shape, or has not what is to be tuned.
        """
        network = self.build(input_shape, n_classes, scale)
        if self.tune == "full":
            return network
        tune(network, Tuning(self.tune, self.tune_rank, self.tune_layers, self.tune_length), name)
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(self.tune_seed)
            copy_constants(network, self.build(input_shape, n_classes, scale))
        return network

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build a fresh network ``(B, *input_shape) -> (B, n_classes)``.

        Its weights are drawn from torch's generator. ``input_shape`` is ``(d,)``, ``(H, W)`` or
        ``(C, H, W)``. ``scale`` brings raw values (uint8 for images) to the unit range and belongs in
        the first layer.

        Raises:
            UsageError: the network does not take samples of this shape.
        """
