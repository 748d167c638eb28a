"""Output layers of models."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Head = Literal["linear", "weight_norm", "cosine"]


class WeightNormLinear(nn.Linear):
    """Scores ``w_c · h / |w_c|``: each class's weights have length one, and there is no bias.

    The ``weightnorm`` head in the code of SCoLe (Lesort et al. 2023, arXiv 2207.04543): a frequent
    class cannot dominate by the length of its weights or by its bias. Not the reparametrisation of
    Salimans & Kingma 2016, which learns the length.
    """

    def __init__(self, in_features: int, n_classes: int) -> None:
        super().__init__(in_features, n_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_features)`` to ``(B, n_classes)``."""
        return F.linear(x, F.normalize(self.weight, dim=1))


class CosineLinear(nn.Linear):
    """Scores ``sigma * cos(w_c, h)``, with one learnt factor for all classes and no bias.

    The classifier of LUCIR (Hou et al. 2019, "Learning a unified classifier incrementally via
    rebalancing"), in which the features have no ReLU. ``sigma`` starts at 1, as in PyCIL.
    """

    def __init__(self, in_features: int, n_classes: int) -> None:
        super().__init__(in_features, n_classes, bias=False)
        self.sigma = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_features)`` to ``(B, n_classes)``."""
        return self.sigma * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def build_head(head: Head, in_features: int, n_classes: int) -> nn.Linear:
    """Make the output layer of a model, with ``n_classes`` rows of weights."""
    if head == "weight_norm":
        return WeightNormLinear(in_features, n_classes)
    if head == "cosine":
        return CosineLinear(in_features, n_classes)
    return nn.Linear(in_features, n_classes)
