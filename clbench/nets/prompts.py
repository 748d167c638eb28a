"""Prompts that a frozen vision transformer is given for each sample, chosen by a query.

The query of a sample is the class token that the network gives without prompts. A pool of prompts
answers it with keys and values that blocks attend to, or with further tokens. Pool and output layer
are what is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.frozen import constants
from clbench.nets.vit import Vit, prompted, vit_in


@dataclass(frozen=True)
class Given:
    """What a pool gives a batch."""

    prefixes: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values ``(B, length, d)`` by the number of the block."""
    further: Tensor | None = None
    """Tokens ``(B, n, d)``."""
    pull: Tensor | None = None
    """0-d: a term of the loss that draws the chosen keys to the queries."""


class Prompts(nn.Module):
    """Base of pools. Its components come in equal slices, one a task."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("opened", torch.zeros((), dtype=torch.int64))
        self.opened: Tensor
        """0-d int64: tasks that have begun."""

    def open(self) -> None:
        """Open the next task's slice."""
        self.opened.add_(1)

    def forward(self, query: Tensor) -> Given:
        """Answer queries ``(B, d)``."""
        raise NotImplementedError


class Prompted(nn.Module):
    """A network with a frozen transformer and a pool of prompts: raw samples to scores."""

    def __init__(self, network: nn.Module, make: Callable[[Vit], Prompts], who: str) -> None:
        """Put a pool beside a network.

        Args:
            network: of ``model.tune=head``.
            make: makes the pool for the transformer.
            who: the strategy, for errors.

        Raises:
            UsageError: the network is no sequence with a transformer, or trains it.
        """
        super().__init__()
        vit = frozen_vit(network, who, "prompts")
        self.place = [*network.children()].index(vit)
        self.prompts = make(vit)  # before the network, whose last layer is the output layer
        self.network = network

    @property
    def vit(self) -> Vit:
        """The transformer."""
        return cast(Vit, [*self.network.children()][self.place])

    @torch.no_grad()
    def query(self, x: Tensor) -> Tensor:
        """The class tokens ``(B, d)`` without prompts; they have no gradient."""
        for layer in [*self.network.children()][: self.place + 1]:
            x = layer(x)
        return x[:, 0]

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute scores ``(B, n_classes)`` of raw samples, and the pool's term of the loss."""
        given = self.prompts(self.query(x))
        with prompted(self.vit, given.prefixes, given.further):
            scores: Tensor = self.network(x)
        return scores, given.pull

    def forward(self, x: Tensor) -> Tensor:
        """Compute scores ``(B, n_classes)`` of raw samples."""
        return self.answer(x)[0]


def frozen_vit(network: nn.Module, who: str, trained: str) -> Vit:
    """The transformer of a network of ``model.tune=head``, one of its children.

    Raises:
        UsageError: there is none, or it is trained. The error names ``who``, and what is ``trained``.
    """
    vit = vit_in(network, who)
    is_frozen = len(constants(vit)) == len({*vit.state_dict(), *constants(vit)})
    if vit not in [*network.children()] or not is_frozen:
        raise UsageError(
            f"{who} trains {trained} and the output layer, and the transformer stays as it is: set "
            "model.tune=head"
        )
    return vit


def chosen_blocks(layers: tuple[int, ...], vit: Vit, setting: str) -> tuple[int, ...]:
    """The blocks that a setting names.

    Raises:
        UsageError: the transformer has not all of them.
    """
    if max(layers) >= len(vit.blocks):
        raise UsageError(
            f"{setting}={[*layers]}: this transformer has the blocks 0 to {len(vit.blocks) - 1}"
        )
    return layers


def per_task(components: int, n_tasks: int, setting: str) -> int:
    """Components of a task's slice.

    Raises:
        UsageError: there are fewer than tasks.
    """
    if components < n_tasks:
        raise UsageError(f"{setting}={components} must be at least the number of tasks, {n_tasks}")
    return components // n_tasks
