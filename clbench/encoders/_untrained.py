"""The network of ``encoder=vit_s14`` with fresh weights: ``model=vit_s14`` has the released ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from clbench.encoders.vit_s14 import VitS14

VIT = "vit_s14"


@dataclass(frozen=True)
class UntrainedVitS14(VitS14):
    """Weights are drawn from torch's generator."""

    def weights(self) -> dict[str, Tensor]:
        """None that were released."""
        return {}
