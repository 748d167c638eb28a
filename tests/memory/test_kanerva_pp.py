"""Kanerva++: blocks by direct indexing, the bound by quadrature and importance sampling, one write."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clbench.memory.block_reader import pointer, read_blocks
from clbench.memory.episodic import FOLDS, SampleEncoder, temporal_shift
from clbench.memory.kanerva_pp import Gaussian, KanervaPP, Sizes

TINY = Sizes(latent=1, hidden=6, width=4, channels=2, side=8, block=4)


@pytest.fixture(autouse=True)
def _the_same_draws_each_time() -> None:
    torch.manual_seed(0)


def model(sizes: Sizes = TINY, shape: tuple[int, ...] = (5, 4)) -> KanervaPP:
    torch.manual_seed(0)
    return KanervaPP(shape, torch.uint8, 1 / 255, sizes).double()


def episode(n: int, shape: tuple[int, ...] = (5, 4)) -> torch.Tensor:
    return 255 * torch.randint(2, (n, *shape), dtype=torch.uint8)


@pytest.mark.parametrize(("side", "block"), [(16, 8), (9, 4), (8, 3)])
def test_blocks_at_whole_cells_are_slices_of_the_memory(side: int, block: int):
    memory = torch.randn(3, side, side, dtype=torch.float64)
    corners = [(i, j) for i in range(side - block + 1) for j in range(side - block + 1)]
    shift = torch.tensor(
        [[(2 * j + block) / side - 1, (2 * i + block) / side - 1] for i, j in corners],
        dtype=torch.float64,
    )
    scale = torch.full((len(corners),), block / side, dtype=torch.float64)
    found = read_blocks(memory, scale, shift, block)
    for (i, j), cut in zip(corners, found, strict=True):
        torch.testing.assert_close(cut, memory[:, i : i + block, j : j + block], atol=1e-12, rtol=0)


def test_blocks_anywhere_are_those_of_a_spatial_transformer():
    """Of torch's own, with zeros outside, in a memory that is not square."""
    memory = torch.randn(2, 10, 7, dtype=torch.float64)
    scale = torch.rand(20, dtype=torch.float64) * 1.5
    shift = torch.rand(20, 2, dtype=torch.float64) * 3 - 1.5
    theta = torch.zeros(20, 2, 3, dtype=torch.float64)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [20, 2, 5, 5], align_corners=False)
    wanted = F.grid_sample(memory.expand(20, -1, -1, -1), grid, align_corners=False)
    torch.testing.assert_close(read_blocks(memory, scale, shift, 5), wanted)


def test_keys_point_inside_of_the_memory():
    scale, shift = pointer(3 * torch.randn(1000, 3), 0.5)
    assert (scale[:, None] + shift.abs() <= 1 + 1e-6).all()
    scale, shift = pointer(torch.zeros(1, 3), 0.5)
    assert (scale.tolist(), shift.tolist()) == ([0.5], [[0.0, 0.0]])


def test_gradients_of_blocks_are_finite_differences():
    torch.manual_seed(1)
    memory = torch.randn(2, 6, 6, dtype=torch.float64, requires_grad=True)
    key = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, k: read_blocks(m, *pointer(k, 0.5), 3), (memory, key), atol=1e-5
    )


def test_gradients_of_the_bound_are_finite_differences():
    """By every parameter along a random direction, with the same noise."""
    kpp, x = model(Sizes(3, 8, 4, 2, 8, 4)), episode(6)

    def loss() -> torch.Tensor:
        torch.manual_seed(3)
        return kpp.terms(x).total().sum()

    gradients = torch.autograd.grad(loss(), list(kpp.parameters()))
    for parameter, gradient in zip(kpp.parameters(), gradients, strict=True):
        direction = torch.randn_like(parameter)
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter.add_(step * direction)
                ends.append(float(loss()))
                parameter.sub_(step * direction)
        wanted = (ends[0] - ends[1]) / 2e-6
        assert float((gradient * direction).sum()) == pytest.approx(wanted, rel=1e-3, abs=1e-5)
    assert all(gradient.any() for gradient in gradients)


def test_temporal_shift_by_hand():
    h = torch.randn(4, 2 * FOLDS, 3)
    found = temporal_shift(h)
    for t in range(4):
        before = h[t - 1, :2] if t else torch.zeros(2, 3)
        after = h[t + 1, 2:4] if t < 3 else torch.zeros(2, 3)
        assert torch.equal(found[t], torch.cat([before, after, h[t, 4:]]))


@pytest.mark.parametrize("shape", [(8, 8), (3, 9, 6), (7,), (2, 3)])
def test_a_sample_alone_does_not_depend_on_others_and_an_episode_does(shape: tuple[int, ...]):
    torch.manual_seed(0)
    x = torch.randn(5, *shape)
    alone, together = (SampleEncoder(shape, 8, shift).eval() for shift in (False, True))
    other = torch.cat([x[:1], torch.randn(4, *shape)])
    torch.testing.assert_close(alone(x)[0], alone(other)[0])
    assert not torch.allclose(together(x)[0], together(other)[0])
    assert alone(x).shape == (5, alone.size)
    assert together(x).shape == (5, together.size)


def test_divergence_and_density_are_those_of_torch():
    p, q = (Gaussian(torch.randn(4, 3), torch.randn(4, 3)) for _ in range(2))
    d = torch.distributions
    theirs = [d.Normal(g.mean, (g.log_variance / 2).exp()) for g in (p, q)]
    torch.testing.assert_close(p.divergence(q), d.kl_divergence(*theirs).sum(1))
    at = torch.randn(4, 3)
    torch.testing.assert_close(p.log_density(at), theirs[0].log_prob(at).sum(1))


def likelihood(kpp: KanervaPP, x: torch.Tensor, memory: torch.Tensor) -> np.ndarray:
    """Compute log p(x | M) by Gauss-Hermite quadrature over y (3 numbers) and z (1 number)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    weights = weights / math.sqrt(2 * math.pi)
    grid = torch.tensor(np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1)).view(-1, 3)
    of_key = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    with torch.no_grad():
        prior = kpp.read(memory, grid)
        z = prior.mean + (prior.log_variance / 2).exp() * torch.tensor(nodes)
        p = torch.sigmoid(kpp.decoder(z.reshape(-1, 1)))
        pixels = x.flatten(1).double() / 255
        found = []
        for row in pixels:
            density = torch.where(row > 0, p, 1 - p).prod(1).view(len(grid), -1)
            found.append(math.log(of_key @ density.numpy() @ weights))
    return np.array(found)


def test_the_bound_is_below_the_likelihood_and_the_gap_closes_with_samples():
    """The likelihood is by quadrature, which knows nothing of q."""
    torch.manual_seed(2)
    kpp, x = model(), episode(8)
    with torch.no_grad():
        for parameter in kpp.parameters():
            parameter.mul_(1.7)  # so that latents and keys matter
        memory = kpp.write(x)
        wanted = likelihood(kpp, x, memory)
        elbo = -kpp.terms(x.repeat(4000, 1, 1), memory).total().view(4000, 8).mean(0).numpy()

        def bound(samples: int) -> np.ndarray:
            repeats = 2000 // samples
            found = kpp.importance_bound(x.repeat(repeats, 1, 1), memory, samples)
            return found.view(repeats, 8).mean(0).numpy()

        gaps = [(wanted - found).mean() for found in (elbo, bound(5), bound(50), bound(2000))]
    assert (elbo < wanted).all()
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.05
    assert abs(gaps[-1]) < 0.05 * gaps[0]


def test_free_nats_change_the_loss_only_below_them():
    kpp, x = model(), episode(6)

    def at(free: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(4)
        loss = kpp.loss(x, free)
        return loss.detach(), list(torch.autograd.grad(loss.mean(), list(kpp.parameters())))

    torch.manual_seed(4)
    terms = kpp.terms(x)
    torch.testing.assert_close(at(0.0)[0].mean(), terms.total().mean().detach())
    mean = float(terms.key.detach().mean())
    torch.testing.assert_close(at(mean + 2)[0] - at(0.0)[0], torch.full((6,), 2.0).double())
    assert all(torch.equal(a, b) for a, b in zip(at(0.0)[1], at(mean / 2)[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(at(0.0)[1], at(mean + 2)[1], strict=True))


def test_the_bound_of_one_sample_is_the_elbo():
    """In expectation over its noise."""
    kpp, x = model(), episode(4)
    with torch.no_grad():
        memory = kpp.write(x)
        many = x.repeat(3000, 1, 1)
        ours = kpp.importance_bound(many, memory, 1).view(3000, 4)
        elbo = -kpp.terms(many, memory).total().view(3000, 4)
    error = ((ours.var(0) + elbo.var(0)) / 3000).sqrt()
    assert ((ours.mean(0) - elbo.mean(0)).abs() < 5 * error).all()


def test_the_memory_has_the_same_bytes_for_any_number_of_samples():
    kpp = model()
    shapes = {kpp.write(episode(n)).shape for n in (1, 2, 7, 200)}
    assert shapes == {kpp.memory_shape} == {(2, 8, 8)}


def test_writing_the_same_episode_again_changes_nothing():
    kpp, x = model(), episode(9)
    with torch.no_grad():
        first = kpp.write(x)
        kpp.write(episode(9))
        assert torch.equal(kpp.write(x), first)
        assert not torch.allclose(kpp.write(x.flip(0)), first)  # an episode has an order


@pytest.mark.slow
def test_it_learns_to_generate_what_was_written():
    """Two images: reads at a sample's own key give this sample back."""
    torch.manual_seed(0)
    kpp = KanervaPP((6, 6), torch.uint8, 1 / 255, Sizes(4, 32, 8, 4, 8, 4))
    x = 255 * torch.randint(2, (2, 6, 6), dtype=torch.uint8)[torch.arange(32) % 2]
    optimizer = torch.optim.Adam(kpp.parameters(), lr=6e-3)
    first = float(kpp.loss(x).detach().mean())
    for _ in range(250):
        optimizer.zero_grad()
        kpp.loss(x, free=3.0).mean().backward()
        optimizer.step()
    assert float(kpp.loss(x).detach().mean()) < 0.2 * first
    found = kpp.sample(kpp.write(x), kpp.infer(x)[0].mean)
    assert found.dtype == torch.uint8
    assert ((found > 127) == (x > 127)).double().mean() > 0.9
