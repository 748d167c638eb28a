"""A chain of layers whose hidden units have gates, one for each task (Serra et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.nets.chain import hidden_layers

FLATTEST = 50.0
"""Largest |s e| in the factor of a gate's gradient."""


class Gated(nn.Module):
    """A chain of layers in which the output of each hidden unit is multiplied with its task's gate."""

    def __init__(self, chain: nn.Module, n_tasks: int, s_max: float, who: str) -> None:
        """Give each unit of ``chain`` a number for each task, drawn from N(0, 1); ``who`` asks.

        Raises:
            UsageError: it is no chain of linear and convolution layers.
        """
        super().__init__()
        self.layers = hidden_layers(chain, who)
        self.s_max = s_max
        self.embedding = nn.Parameter(torch.randn(n_tasks, self.layers[-1].of.stop))
        """``(n_tasks, units)``: e of all hidden layers."""
        self.chain = chain

    def gates(self, task_id: Tensor, s: float) -> Tensor:
        """Compute ``sigmoid(s e)`` for ``(B,)`` int64 task ids, ``(B, units)``.

        The gradient is that of arXiv 1801.01423, equation 4. The derivative of the sigmoid is
        1 / (2 cosh + 2), so it is the one of ``s_max sigmoid(e)``, and less where |s e| > 50.
        """
        e = self.embedding.index_select(0, task_id)
        steep, slow = torch.sigmoid(s * e.detach()), torch.sigmoid(e)
        factor = self.s_max * (FLATTEST - (s * e.detach()).abs()).clamp_max(0).exp()
        return steep + factor * (slow - slow.detach())

    def forward(self, x: Tensor, task_id: Tensor, s: float) -> Tensor:
        """Raw samples with ``(B,)`` int64 task ids to ``(B, n_classes)``."""
        gates = self.gates(task_id, s)
        of = {layer.reader: layer for layer in self.layers}
        for place, module in enumerate(self.chain.children()):
            if place in of:
                gate = gates[:, of[place].of].unsqueeze(2)
                x = (of[place].per_unit(x) * gate).reshape(x.shape)
            x = module(x)
        return x
