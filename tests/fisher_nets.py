"""Networks of every kind that the Fisher is taken of, and the Fisher by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.fisher import layers as fisher_layers
from clbench.nets.head import WeightNormLinear

Fisher = dict[str, Tensor]


class Scale(nn.Module):
    """A layer without a formula."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(size) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.tanh()


class Twice(nn.Module):
    """Layers called twice in one forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.inner = nn.Linear(32, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(self.norm(self.conv(x)).relu())).flatten(1)
        return self.head(self.inner(self.inner(x).tanh()))


class Tied(nn.Module):
    """One weight in two layers, and one read from outside its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 32)
        self.second.weight = self.first.weight
        self.unused = nn.Linear(32, 3)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x.flatten(1)).tanh())
        return self.head(x) + F.linear(x.tanh(), self.head.weight)


class Pair(nn.Module):
    """A layer that returns more than a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(16))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, 0].flatten(1) * self.scale, x[:, 1].flatten(1)


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.head = Pair(), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.pair(x)
        return self.head(first).tanh() + self.head(second)


class Sequence(nn.Module):
    """A Linear over more than two dimensions, batch second; then over rows that are no samples."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.row, self.head = nn.Linear(16, 5), nn.Linear(5, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.token(x.flatten(2).transpose(0, 1)).tanh()
        rows = self.row(tokens.transpose(0, 1).reshape(-1, 5)).tanh()
        return self.head(rows.view(len(x), 8))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 7), nn.ReLU(inplace=True), nn.Linear(7, 3))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=(2, 1)),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), groups=2, bias=False),
        nn.Tanh(),
        nn.Conv2d(6, 4, 1, padding="same"),
        nn.MaxPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def plain_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(32, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)
    )


def plain_conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, stride=2, groups=1),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.BatchNorm1d(16),
        nn.Linear(16, 3),
    )


def custom() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(32, 6), Scale(6), nn.LayerNorm(6), nn.Dropout(), nn.Linear(6, 3)
    )


def frozen() -> nn.Module:
    model = conv()
    model[0].weight.requires_grad_(False)  # its bias stays
    model[2].weight.requires_grad_(False)
    return model


def unit_head() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 7), nn.ReLU(), WeightNormLinear(7, 3))


NETS = [mlp, conv, normed, custom, frozen, unit_head, Twice, Tied, Pairs, Sequence]


def build(make: Callable[[], nn.Module], n: int = 5) -> tuple[nn.Module, Tensor, Tensor]:
    """A network in float64 with lively statistics, samples and labels."""
    torch.manual_seed(0)
    model = make().double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, fisher_layers.NORMS):
            nn.init.normal_(module.weight)
    return model, torch.randn(n, 2, 4, 4).double(), torch.randint(3, (n,))


def by_hand(
    model: nn.Module, x: Tensor, y: Tensor | None = None, logits: Callable | None = None
) -> Fisher:
    """One forward and backward pass per (sample, class): exact, or empirical with ``y``."""
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    modes = [module.training for module in model.modules()]
    model.eval()
    for i in range(len(x)):
        scores = (logits or model)(x[i : i + 1])[0]
        for c in range(len(scores)) if y is None else [int(y[i])]:
            if scores[c] == -torch.inf:
                continue
            log_p = scores[c] - scores.logsumexp(0)
            gradients = torch.autograd.grad(
                log_p, list(params.values()), retain_graph=True, materialize_grads=True
            )
            weight = log_p.detach().exp() if y is None else 1
            for name, g in zip(params, gradients, strict=True):
                total[name] += weight * g**2 / len(x)
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    return total


def assert_equal(found: Fisher, expected: Fisher) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-14, msg=name)
