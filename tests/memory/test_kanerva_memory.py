"""The Kanerva memory against Bayesian linear regression, the published formulas and exact KLs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from clbench.memory.kanerva import (
    KanervaMemory,
    address_kl,
    fixed_address,
    rows_within,
    solve_address,
    write_,
    write_kl,
)
from clbench.nets.flops import Count

seeds = st.integers(0, 2**31)
sizes = st.integers(1, 6)
noises = st.floats(0.01, 10)
examples = settings(max_examples=50, deadline=None)  # torch's first calls take a second


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


def belief(seed: int, k: int, c: int, *batch: int) -> tuple[Tensor, Tensor]:
    """Some mean and some positive definite covariance."""
    mean, root = drawn(seed, (*batch, k, c), (*batch, k, k))
    return mean, root @ root.mT / k + 0.1 * torch.eye(k, dtype=torch.float64)


def regression(
    mean: Tensor, covariance: Tensor, w: Tensor, z: Tensor, noise: float
) -> tuple[Tensor, Tensor]:
    """The posterior of all samples at once, in information form."""
    precision = covariance.inverse() + w.mT @ w / noise
    new = precision.inverse()
    return new @ (covariance.inverse() @ mean + w.mT @ z / noise), new


def written(
    mean: Tensor, covariance: Tensor, w: Tensor, z: Tensor, noise: float, block: int
) -> tuple[Tensor, Tensor]:
    mean, covariance = mean.clone(), covariance.clone()
    for w_part, z_part in zip(w.split(block, -2), z.split(block, -2), strict=True):
        write_(mean, covariance, w_part, z_part, noise)
    return mean, covariance


def assert_same(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@examples
@given(seeds, sizes, sizes, st.integers(1, 12), noises)
def test_writes_in_any_block_and_order_are_one_bayesian_regression(
    seed: int, k: int, c: int, n: int, noise: float
):
    prior = belief(seed, k, c)
    w, z = drawn(seed + 1, (n, k), (n, c))
    wanted = regression(*prior, w, z, noise)
    for block in (1, 2, 5, n):
        assert_same(written(*prior, w, z, noise, block), wanted)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert_same(written(*prior, w[order], z[order], noise, 2), wanted)


@examples
@given(seeds, sizes, sizes, noises)
def test_one_write_is_the_published_step(seed: int, k: int, c: int, noise: float):
    mean, covariance = belief(seed, k, c)
    w, z = drawn(seed + 1, (1, k), (1, c))
    error, spread = z[0] - w[0] @ mean, covariance @ w[0]
    gain = spread / (w[0] @ spread + noise)
    wanted = mean + torch.outer(gain, error), covariance - torch.outer(gain, spread)
    assert_same(written(mean, covariance, w, z, noise, 1), wanted)


@examples
@given(seeds, sizes, sizes, st.integers(1, 8), noises)
def test_writing_what_is_stored_changes_no_mean_and_a_zero_address_nothing(
    seed: int, k: int, c: int, n: int, noise: float
):
    mean, covariance = belief(seed, k, c)
    w, z = drawn(seed + 1, (n, k), (n, c))
    again, narrower = written(mean, covariance, w, w @ mean, noise, n)
    torch.testing.assert_close(again, mean)
    assert bool((covariance.diagonal() - narrower.diagonal() > 0).any())
    for new, old in zip(
        written(mean, covariance, 0 * w, z, noise, n), (mean, covariance), strict=True
    ):
        assert torch.equal(new, old)


@examples
@given(seeds, st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), noises)
def test_kl_of_a_write_is_that_of_the_matrix_normals(
    seed: int, k: int, c: int, n: int, noise: float
):
    """Against torch's KL of the columns, which are independent and share the covariance."""
    prior = belief(seed, k, c)
    w, z = drawn(seed + 1, (n, k), (n, c))
    posterior = regression(*prior, w, z, noise)
    columns = [
        MultivariateNormal(mean.mT, covariance.expand(c, k, k))
        for mean, covariance in (posterior, prior)
    ]
    wanted = kl_divergence(columns[0], columns[1]).sum()
    torch.testing.assert_close(write_kl(*prior, w, z, noise), wanted, rtol=1e-7, atol=1e-8)


@examples
@given(seeds, sizes, sizes, noises)
def test_kl_of_one_write_is_the_published_step(seed: int, k: int, c: int, noise: float):
    mean, covariance = belief(seed, k, c)
    w, z = drawn(seed + 1, (1, k), (1, c))
    expected = w[0] @ covariance @ w[0]
    s = expected + noise
    b, d = expected / s, z[0] - w[0] @ mean
    wanted = -(c * b - b / s * d.square().sum() + c * torch.log(1 - b)) / 2
    found = write_kl(mean, covariance, w, z, noise)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


@examples
@given(seeds, sizes, st.floats(0.01, 10))
def test_kl_of_addresses(seed: int, k: int, variance: float):
    [w] = drawn(seed, (3, k))
    wanted = kl_divergence(Normal(w, math.sqrt(variance)), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(address_kl(w, variance), wanted)


@examples
@given(seeds, sizes, sizes, st.floats(0.01, 10))
def test_map_address_is_the_minimum_of_its_objective(seed: int, k: int, c: int, ridge: float):
    mean, z = drawn(seed, (k, c), (4, c))
    w = solve_address(mean, z, ridge).requires_grad_()
    objective = (z - w @ mean).square().sum() + ridge * w.square().sum()
    [gradient] = torch.autograd.grad(objective, w)
    torch.testing.assert_close(gradient, torch.zeros_like(w), rtol=0, atol=1e-8)


@examples
@given(seeds, sizes, sizes, st.floats(0.01, 10))
def test_official_address_is_the_published_least_squares(seed: int, k: int, c: int, ridge: float):
    mean, z = drawn(seed, (k, c), (4, c))
    a = mean @ mean.mT
    wanted = (a.mT @ a + ridge * torch.eye(k)).inverse() @ a.mT @ mean @ z.mT
    found = solve_address(mean, z, ridge, official=True)
    torch.testing.assert_close(found, wanted.mT, rtol=1e-7, atol=1e-8)


@examples
@given(seeds)
def test_leading_dimensions_are_memories_of_their_own(seed: int):
    k, c, n = 3, 5, 4
    mean, covariance = belief(seed, k, c, 2)
    w, z = drawn(seed + 1, (2, n, k), (2, n, c))
    kl, address = write_kl(mean, covariance, w, z, 0.5), solve_address(mean, z, 0.5)
    together = written(mean, covariance, w, z, 0.5, n)
    for i in range(2):
        one = mean[i], covariance[i]
        assert_same(written(*one, w[i], z[i], 0.5, n), (together[0][i], together[1][i]))
        torch.testing.assert_close(write_kl(*one, w[i], z[i], 0.5), kl[i])
        torch.testing.assert_close(solve_address(mean[i], z[i], 0.5), address[i])


def memory(seed: int = 0, **settings: Any) -> KanervaMemory:
    torch.manual_seed(seed)
    return KanervaMemory(**{"rows": 6, "cue": 4, "width": 7, **settings})


@pytest.mark.parametrize("address", ["map", "official", "fixed"])
@pytest.mark.parametrize("block", [1, 3, 64])
def test_a_block_is_addressed_before_it_is_written(address: str, block: int):
    found, wanted = memory(address=address, block=block).double(), memory(address=address).double()
    [z] = drawn(1, (10, 7))
    cue = z[:, :4]
    weight = torch.arange(10) % 4 != 1
    found.write(z, cue, weight)
    for z_part, cue_part, kept in zip(
        z.split(block), cue.split(block), weight.split(block), strict=True
    ):
        w = wanted.address(cue_part)[kept]
        update = regression(wanted.mean, wanted.covariance, w, z_part[kept], 1.0)
        wanted.mean, wanted.covariance = update
    assert_same((found.mean, found.covariance), (wanted.mean, wanted.covariance))
    assert float(found.written) == int(weight.sum())


def test_with_fixed_addresses_block_and_order_do_not_matter():
    [z] = drawn(1, (20, 7))
    ends = []
    for block, order in (
        (1, torch.arange(20)),
        (7, torch.arange(20)),
        (5, torch.arange(19, -1, -1)),
    ):
        m = memory(address="fixed", block=block).double()
        m.write(z[order], z[order])
        ends.append((m.mean, m.covariance))
    assert_same(ends[0], ends[1])
    assert_same(ends[0], ends[2])


@examples
@given(seeds, st.floats(0.01, 100))
def test_fixed_addresses_have_one_length_and_mind_direction_alone(seed: int, scale: float):
    keys, z = drawn(seed, (9, 4), (5, 4))
    keys = torch.cat([keys, -keys])  # some key answers to every sample
    w = fixed_address(keys, z)
    torch.testing.assert_close(w.norm(dim=1), torch.full((5,), math.sqrt(18)).double())
    torch.testing.assert_close(fixed_address(keys, scale * z), w)
    assert bool((w >= 0).all())
    assert not fixed_address(keys, 0 * z).any()


@pytest.mark.parametrize("address", ["map", "official"])
def test_a_pattern_is_completed_from_its_cue(address: str):
    """Fewer samples than rows and little noise: what was written comes back."""
    m = memory(rows=40, cue=20, width=25, address=address, noise=1e-4, block=5).double()
    [z] = drawn(1, (5, 25))
    m.write(z)
    for iterations in (0, 1, 3):
        torch.testing.assert_close(m.read(z[:, :20], iterations), z, rtol=0, atol=0.05)


def test_iterations_read_what_was_read():
    m = memory().double()
    [z] = drawn(1, (10, 7))
    m.write(z)
    found = m.read(z[:, :4])
    for iterations in (1, 2, 3):
        found = solve_address(m.mean, found, 1.0) @ m.mean
        torch.testing.assert_close(m.read(z[:, :4], iterations), found)


@examples
@given(seeds, st.integers(1, 30))
def test_the_covariance_tells_the_second_moment_of_written_addresses(seed: int, n: int):
    m = memory(address="fixed", noise=0.7).double()
    [z] = drawn(seed, (n, 7))
    m.write(z, z)
    w, basis = m.address(z), m.stored_basis()
    wanted = m.mean.mT @ (w.mT @ w / n) @ m.mean
    torch.testing.assert_close(basis.mT @ basis, wanted, rtol=1e-4, atol=1e-5)


def test_a_hundred_thousand_writes_leave_the_exact_posterior():
    """Few rows and little noise, so that every direction is known to near nothing."""
    m = memory(rows=8, cue=5, width=7, address="fixed", noise=1e-3)
    precision, information = torch.eye(8, dtype=torch.float64), torch.zeros(8, 7).double()
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        z = torch.randn(2000, 7, generator=generator)
        w = m.address(z).double()
        precision += w.mT @ w / 1e-3
        information += w.mT @ z.double() / 1e-3
        m.write(z, z)
    assert m.mean.dtype == torch.float32
    assert float(torch.linalg.eigvalsh(m.covariance).min()) > 0
    exact = precision.inverse()
    torch.testing.assert_close(m.covariance, exact, rtol=1e-5, atol=1e-6 * float(exact.max()))
    torch.testing.assert_close(m.mean.double(), exact @ information, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("address", ["map", "official", "fixed"])
def test_every_operation_is_counted(address: str):
    m = memory(address=address)
    z = torch.ones(10, 7)
    with Count() as count:
        m.write(z, z[:, :4])
        m.stored_basis()
        m.read(z[:, :4], 2)
    assert not count.uncounted
    assert count.total > 0


def test_a_write_costs_the_same_at_any_time_and_blocks_add_up():
    m = memory(rows=16, cue=8, width=9)
    z = torch.ones(64, 9)
    counts = []
    for n in (1, 1, 1, 2, 3, 1):
        with Count() as count:
            m.write(z.repeat(n, 1), z[:, :8].repeat(n, 1))
        counts.append(count.total / n)
    assert len(set(counts)) == 1


@examples
@given(st.integers(0, 20_000), sizes, sizes, st.sampled_from(["map", "fixed"]))
def test_rows_within_bytes(n_bytes: int, cue: int, rest: int, address: Any):
    def nbytes(rows: int) -> int:
        return KanervaMemory(rows, cue, cue + rest, address).nbytes()

    rows = rows_within(n_bytes, cue, cue + rest, address)
    assert rows == 0 or nbytes(rows) <= n_bytes
    assert nbytes(rows + 1) > n_bytes
