"""Features: the inputs of the output layer, and a network that is left as it was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.nets.features import features


def test_they_are_what_the_output_layer_sees():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(7, 3)
    found = features(model, x, batch_size=3)
    torch.testing.assert_close(model[2](found), model(x))
    assert not found.requires_grad
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert features(model, x[:0]).shape == (0, 4)


def test_every_module_keeps_its_mode():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2))
    model[0].eval()
    before = [module.training for module in model.modules()]
    x = torch.randn(5, 3)
    torch.testing.assert_close(features(model, x), model[0](x))
    assert [module.training for module in model.modules()] == before


def test_without_an_output_layer_there_are_none():
    assert features(nn.Sequential(nn.Flatten(), nn.ReLU()), torch.randn(5, 3)).shape == (0, 0)


class Again(nn.Module):
    """Calls its one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.layer(x))
        return out


def test_of_a_layer_that_is_called_twice_they_are_the_last_inputs():
    model = Again()
    x = torch.randn(4, 3)
    torch.testing.assert_close(features(model, x, batch_size=3), model.layer(x))
