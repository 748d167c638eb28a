"""Operation counts against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from clbench.nets.flops import Count
from clbench.plugins.registry import find


def test_forward_and_training_step_of_an_mlp():
    n, d, h, c = 8, 6, 5, 3
    model = nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, c))
    x, y = torch.ones(n, d), torch.zeros(n, dtype=torch.long)
    with Count() as count, torch.no_grad():
        model(x)
    forward = 2 * n * (d * h + h * c)
    assert count.total == forward
    with Count() as count:
        nn.functional.cross_entropy(model(x), y).backward()
    # Backward: the weights' gradients, and those of the inputs but the first.
    assert count.total == forward + forward + 2 * n * h * c
    assert not count.uncounted


def test_convolution():
    n, c_in, c_out, kernel, side = 2, 3, 4, 5, 12
    layer = nn.Conv2d(c_in, c_out, kernel)
    with Count() as count, torch.no_grad():
        layer(torch.ones(n, c_in, side, side))
    out = side - kernel + 1
    assert count.total == 2 * n * c_out * out**2 * c_in * kernel**2


A = torch.eye(6) * 2
COUNTED = {
    "cholesky": (lambda: torch.linalg.cholesky(A), 6**3 // 3),
    "batched": (lambda: torch.linalg.cholesky(A.expand(4, 6, 6)), 4 * (6**3 // 3)),
    "eigh": (lambda: torch.linalg.eigh(A), 9 * 6**3),
    "solve": (lambda: torch.linalg.solve(A, torch.ones(6, 2)), 2 * 6**3 // 3 + 2 * 6**2 * 2),
    "solve for a vector": (
        lambda: torch.linalg.solve(A, torch.ones(6)),
        2 * 6**3 // 3 + 2 * 6**2,
    ),
    "cholesky_solve": (lambda: torch.cholesky_solve(torch.ones(6, 2), A), 2 * 6**2 * 2),
    "triangular": (
        lambda: torch.linalg.solve_triangular(A, torch.ones(6, 2), upper=False),
        6**2 * 2,
    ),
    "inverse": (lambda: torch.linalg.inv(A), 2 * 6**3),
    "cdist": (
        lambda: torch.cdist(
            torch.ones(3, 6), torch.ones(5, 6), compute_mode="donot_use_mm_for_euclid_dist"
        ),
        3 * 3 * 5 * 6,
    ),
    "topk": (lambda: torch.topk(A, 2), 36),
}


@pytest.mark.parametrize("name", COUNTED)
def test_decompositions_count(name: str):
    call, flops = COUNTED[name]
    with Count() as count:
        call()
    assert (count.total, count.uncounted) == (flops, set())


@pytest.mark.parametrize(
    "call",
    [torch.linalg.svd, torch.linalg.qr, torch.linalg.eig, torch.fft.fft],
    ids=["svd", "qr", "eig", "fft"],
)
def test_what_no_formula_covers_is_named(call):
    with Count() as count:
        call(A)
    assert len(count.uncounted) == 1
    assert count.total == 0


def test_elementwise_operations_and_norms_are_free():
    with Count() as count:
        (A * 2 + A.exp()).sum()
        torch.linalg.vector_norm(A)
    assert (count.total, count.uncounted) == (0, set())


@pytest.mark.parametrize("name", ["mlp", "scole_cnn", "slim_resnet18"])
@pytest.mark.parametrize("training", [True, False])
def test_models_count_as_in_torchs_own_counter(name: str, training: bool):
    model = find("model", name).load()().build((3, 16, 16), 4, 1 / 255).train(training)
    x, y = torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.zeros(2, dtype=torch.long)

    def run() -> None:
        if training:
            nn.functional.cross_entropy(model(x), y).backward()
        else:
            with torch.inference_mode():  # where torch does not take operators apart
                model(x)

    with Count() as count:
        run()
    with FlopCounterMode(display=False) as oracle:
        run()
    assert count.total == oracle.get_total_flops() > 0


@pytest.mark.parametrize("groups", [1, 4, 64])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_gradients_of_a_grouped_convolution_cost_what_it_costs_forward_each(
    kind: type[nn.Module], groups: int
):
    x = torch.randn(2, 64, 8, 8, requires_grad=True)
    layer = kind(64, 64, 3, padding=1, groups=groups)
    with Count() as forward:
        y = layer(x)
    with Count() as both:
        y.sum().backward(retain_graph=True)
    with Count() as weights:
        torch.autograd.grad(y.sum(), [*layer.parameters()])
    assert forward.total == 2 * x.shape[0] * 8 * 8 * 64 * (64 // groups) * 9
    assert (both.total, weights.total) == (2 * forward.total, forward.total)
