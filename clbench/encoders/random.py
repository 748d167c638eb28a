"""A seeded untrained network, the control for pretraining.

``encoder=random:efficientnet_lite0`` is the network of ``encoder=efficientnet_lite0`` with torch's
initial weights (its batch normalisation has mean 0 and variance 1), ``random:vit_s14`` that of
``encoder=vit_s14``, ``random:mlp`` random features of vectors. The network depends on ``encoder.seed``
alone, so all seeds of a run share the latents. A model that starts from released weights is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from clbench.data.released import VIT_S14
from clbench.encoders._headless import Headless
from clbench.encoders._untrained import VIT, UntrainedVitS14


@dataclass(frozen=True)
class Random(Headless):
    """An untrained network; the default takes any image."""

    argument: ClassVar[str] = "of"

    seed: int = 0
    """Seed of the weights; the run's seed does not change them."""

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """Map ``(B, *input_shape)`` to the input of the network's last layer.

        Raises:
            UsageError: the network does not take samples of this shape.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(self.seed)
            if self.of == VIT:
                side = self.resolution or VIT_S14.resolution
                return UntrainedVitS14(resolution=side).build(input_shape, scale)
            return self.headless("random", input_shape, scale)
