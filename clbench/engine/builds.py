"""Sees whether a strategy builds the network that it is given, and whether it trains it.

A board's division *network* is for strategies that do. Only what is built in the constructor is
watched: what is built later cannot be loaded from a state. A parameter is compared by the sum of its
bits, which no device and no order of summation changes. A copy of the network that is trained in its
place is not seen, and a network that is changed without being trained (another's weights, say) counts
as trained.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clbench.errors import UsageError

if TYPE_CHECKING:
    from clbench.configure.config import RunConfig
    from clbench.configure.protocol import Protocol

FIX = "run it with division=any"


class Builds:
    """Builds networks, and remembers the parameters of those that the constructor asks for."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        """Wrap what builds a network."""
        self.build = build
        self.n_built = 0
        """Networks that the constructor asked for."""
        self.is_watching = True
        self.watched: list[tuple[weakref.ref[Tensor], int | None]] = []

    def __call__(self) -> nn.Module:
        """Build a network."""
        model = self.build()
        if self.is_watching:
            self.n_built += 1
            self.watched += [(weakref.ref(p), bits(p)) for p in model.parameters()]
        return model

    def stop(self) -> None:
        """Watch no further network: the strategy has been built."""
        self.is_watching = False

    @property
    def is_trained(self) -> bool:
        """Whether a parameter of a watched network has changed since it was built."""
        alive = ((ref(), before) for ref, before in self.watched)
        return any(p is not None and bits(p) != before for p, before in alive)

    def __getstate__(self) -> dict[str, Any]:
        """Without references to parameters, which cannot be pickled."""
        return {**vars(self), "watched": []}


def placed(device: torch.device) -> AbstractContextManager[object]:
    """A context in which tensors are made on a device."""
    # As a context the CPU, the default, would only make every call slower.
    is_default = device.type == "cpu" == torch.get_default_device().type
    return nullcontext() if is_default else device


def bits(parameter: Tensor) -> int | None:
    """The sum of a parameter's bits as integers; None where it has no values yet."""
    if parameter.is_meta or nn.parameter.is_lazy(parameter):
        return None
    values = parameter.detach().reshape(-1)
    if values.is_complex():
        values = torch.view_as_real(values).reshape(-1)
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return int(values.view(kinds[values.element_size()]).sum(dtype=torch.int64))


def in_fitting_division(config: RunConfig, builds: Callable[[], Builds]) -> RunConfig:
    """The configuration in the division that fits what the strategy does, where the user named none.

    Args:
        config: of a run, on a board or not.
        builds: constructs the strategy on trial; returns what it built.
    """
    protocol = config.protocol
    if protocol is None or protocol.is_settled:
        return config
    fitting = "network" if builds().n_built else "any"
    known = protocol.board.divisions
    division = fitting if fitting in known else known[0]
    return replace(config, protocol=replace(protocol, division=division, is_settled=True))


def refuse_misplaced(
    protocol: Protocol | None, is_pretrained: bool, builds: Builds, name: str
) -> None:
    """Refuse, before training, a strategy that is not of its run's division.

    Raises:
        UsageError: naming the division that it fits.
    """
    if protocol is None:
        return
    if is_pretrained and protocol.division != "open":
        raise UsageError(
            f"board {protocol.board.name!r}: the {protocol.division} division starts from scratch; a "
            "pretrained strategy runs with division=open"
        )
    if protocol.is_settled and protocol.division == "network" and builds.n_built == 0:
        raise UsageError(f"strategy {name!r} does not build the board's network: {FIX}")


def untrained(division: str, is_trained: bool | None, name: str) -> UsageError | None:
    """The error of a run that did not train the network that its division is of; None otherwise."""
    if division != "network" or is_trained is not False:
        return None
    return UsageError(f"strategy {name!r} never trained the board's network: {FIX}")
