"""Several encoders beside each other: the latents of each, one after the other.

``encoder=joined:efficientnet_lite0+vit_s14``. Ostapenko et al. 2022 (arXiv 2205.00329) point to
ensembles of pretrained models as one way to better latents. Each member has its default settings. By
default a sample's latents are divided by their length, member by member, so that none outweighs the
others by its scale alone; this is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Encoder, UsageError
from clbench.plugins.registry import find


class Beside(nn.Module):
    """``(B, *input_shape)`` to the joined features ``(B, d)`` of all members."""

    def __init__(self, members: list[nn.Module], unit_length: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.unit_length = unit_length

    def forward(self, x: Tensor) -> Tensor:
        """Each member sees the raw samples."""
        found = [member(x).flatten(1) for member in self.members]
        return torch.cat([F.normalize(z, dim=1) if self.unit_length else z for z in found], 1)


@dataclass(frozen=True)
class Joined(Encoder):
    """Takes what all its members take."""

    argument: ClassVar[str] = "of"

    of: str = "identity+random"
    """The members, joined by +: encoders by name, with what each takes after a colon
    (``efficientnet_lite0+random:mlp``)."""
    unit_length: bool = True
    """Divide the latents of each member by their length."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.names) < 2 or not all(self.names):
            raise UsageError(
                f"encoder.of={self.of}: must name two encoders or more, as in "
                "encoder=joined:identity+random"
            )
        for name in self.names:
            if "/" in name or "\\" in name or name.endswith(".py"):
                raise UsageError(f"encoder.of: {Path(name).name}: must be the name of an encoder")
            if name.partition(":")[0] == "joined":
                raise UsageError(f"encoder.of={self.of}: name all members in one line")
            self.member(name)

    @property
    def names(self) -> list[str]:
        """The members' names."""
        return self.of.split("+")

    def member(self, name: str) -> Encoder:
        """A member with its default settings.

        Raises:
            UsageError: there is none of this name.
        """
        found: Encoder = find("encoder", name).with_defaults()
        return found

    @property
    def packages(self) -> tuple[str, ...]:  # type: ignore[override]
        """The members' packages."""
        return tuple(p for name in self.names for p in self.member(name).packages)

    def files(self) -> tuple[Path, ...]:
        """The members' sources, and theirs."""
        own = [find("encoder", name).path for name in self.names]
        return (*own, *(file for name in self.names for file in self.member(name).files()))

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """``(B, *input_shape)`` to ``(B, d)``, d the sum of the members'.

        Raises:
            UsageError: a member does not take samples of this shape, or its weights are missing.
        """
        members = [self.member(name).build(input_shape, scale) for name in self.names]
        return Beside(members, self.unit_length)
