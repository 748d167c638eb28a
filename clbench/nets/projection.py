"""An encoder with a projection in the place of its output layer, for contrastive losses."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.parameters import output_layer


class Projecting(nn.Module):
    """A network whose output layer is replaced by a perceptron with one hidden layer of its width.

    ``encoder`` gives the features, ``(B, d)``; the whole gives projections, ``(B, size)``.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        """Take the output layer, the last ``nn.Linear``, out of ``network``.

        Raises:
            UsageError: it has none.
        """
        super().__init__()
        layer = output_layer(network)
        if layer is None:
            raise UsageError(
                f"{type(network).__name__} has no linear layer to take features in front of; use "
                "another model"
            )
        self.width = layer.in_features
        [name] = (name for name, module in network.named_modules() if module is layer)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, nn.Identity())
        self.encoder = network
        self.projection = nn.Sequential(
            nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, size)
        )

    def features(self, x: Tensor) -> Tensor:
        """Raw samples ``(B, *input_shape)`` to features of length one, ``(B, d)``."""
        return F.normalize(self.encoder(x).flatten(1), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Raw samples ``(B, *input_shape)`` to ``(B, size)``."""
        projected: Tensor = self.projection(self.encoder(x).flatten(1))
        return projected
