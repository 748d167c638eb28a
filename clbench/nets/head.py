"""Output layers of models."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError

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
    The scores do not depend on the length of a row, but its gradient goes with 1 / length. Weight decay
    shrinks a row that gets no gradient, such as that of a masked class to come. ``lucir`` and
    ``podnet`` leave such rows as they are (``clbench.exemplars.FixedOldRows``); others do not.
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


class ProxyLinear(nn.Linear):
    """Scores of several proxies a class: ``sigma * sum_k s_ck cos(w_ck, h)``, s the softmax over k.

    The local similarity classifier of PODNet (Douillard et al. 2020, arXiv 2004.13513, eq. 4), with a
    learnt factor ``sigma`` that starts at 1. ``s_ck`` is the softmax of the cosines themselves.
    """

    def __init__(self, in_features: int, n_classes: int, n_proxies: int) -> None:
        super().__init__(in_features, n_classes * n_proxies, bias=False)
        self.n_proxies = n_proxies
        self.sigma = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_features)`` to ``(B, n_classes)``."""
        cosine = F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))
        cosine = cosine.view(len(x), len(self.weight) // self.n_proxies, self.n_proxies)
        return self.sigma * (cosine.softmax(2) * cosine).sum(2)


def replace_output(model: nn.Module, layer: nn.Module) -> nn.Module:
    """Put another module in the place of the output layer (``output_layer``) of a network.

    Raises:
        UsageError: the network has none.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names or not names[-1]:
        raise UsageError(
            f"{type(model).__name__} has no linear layer to put another in the place of; use another "
            "model"
        )
    holder, _, name = names[-1].rpartition(".")
    setattr(model.get_submodule(holder), name, layer)
    return model
