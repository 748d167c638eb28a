"""The directions of gradient projection memory stay a projection, whatever recurs."""

from __future__ import annotations

import pytest
import torch

from clbench.nets.layer_inputs import add_directions


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_that_come_again_add_nothing(dtype: torch.dtype):
    """Without a bound on rounding, the noise that is left of held inputs was added to the sum."""
    torch.manual_seed(0)
    inputs = torch.randn(40, 12, dtype=dtype)
    gram = inputs @ inputs.T
    space = torch.zeros(40, 40, dtype=dtype)
    add_directions(space, gram, 1.0)
    assert round(float(space.trace())) == 12
    for _ in range(20):
        add_directions(space, gram, 1.0)
    assert float(space.trace()) == pytest.approx(12, abs=1e-3)
    torch.testing.assert_close(space @ space, space, atol=1e-4, rtol=0)


def test_the_fewest_directions_that_hold_the_share():
    lengths = torch.tensor([4.0, 3.0, 2.0, 1.0]).double()
    space = torch.zeros(4, 4).double()
    add_directions(space, torch.diag(lengths), 0.69)
    torch.testing.assert_close(space, torch.diag(torch.tensor([1.0, 1, 0, 0]).double()))
    add_directions(space, torch.diag(lengths), 0.9)
    torch.testing.assert_close(space, torch.diag(torch.tensor([1.0, 1, 1, 0]).double()))


@pytest.mark.parametrize("seed", [740, 1726, 2054, 2092])
def test_a_single_sample_is_one_direction(seed: int):
    """In single precision LAPACK gave up on these matrices of rank 1, on one processor."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (64,), generator=generator) / 255
    pixels *= torch.rand(64, generator=generator) < 0.5
    z = torch.cat([pixels, torch.ones(1)]).bfloat16().float()
    space = torch.zeros(65, 65)
    add_directions(space, z[:, None] * z, 0.97)
    torch.testing.assert_close(space @ z, z, atol=1e-5, rtol=0)
    assert float(space.trace()) == pytest.approx(1, abs=1e-5)
