"""Squared gradients by layer leave the model as it was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.fisher.layers import Targets, squared_gradients


def test_a_model_that_is_its_own_score_is_left_as_it_was():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.scale = nn.Linear(3, 2), nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * self.scale  # no formula knows the scale

    model = Scaled()
    params = dict(model.named_parameters())
    squared_gradients(model, params, model, torch.randn(5, 3), Targets.all_classes)
    assert all(p is params[name] and p.requires_grad for name, p in model.named_parameters())
