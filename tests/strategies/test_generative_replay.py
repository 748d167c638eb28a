"""Generative replay: what is generated, and the bound that the generator learns by."""

from __future__ import annotations

import pytest
import torch
from test_replay import drawn

from clbench.memory.vae import VAE
from clbench.replay import mixture


def test_generative_replay_learns_to_generate_what_it_saw():
    """Two far-apart clusters: generated samples lie near one of them."""
    torch.manual_seed(0)
    vae = VAE((6,), torch.float32, 1.0, hidden=32, latent=2)
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.01)
    centres = torch.tensor([[2.0] * 6, [-2.0] * 6])
    for _ in range(300):
        x = centres[torch.randint(2, (64,))] + 0.1 * torch.randn(64, 6)
        optimizer.zero_grad()
        vae.loss(x).mean().backward()
        optimizer.step()
    nearest = torch.cdist(vae.sample(200), centres).min(1)
    assert (nearest.values < 1.0).double().mean() > 0.6
    assert nearest.indices.unique().tolist() == [0, 1]


def test_vae_bound_is_the_closed_form():
    """-ELBO = Bernoulli error + KL(N(m, s) || N(0, 1)), with torch's own distributions."""
    vae = VAE((2, 3), torch.uint8, 1 / 255, hidden=8, latent=4)
    x = torch.randint(256, (5, 2, 3), dtype=torch.uint8)
    torch.manual_seed(1)
    found = vae.loss(x)
    flat = x.flatten(1) / 255
    m, v = vae.encoder(flat).chunk(2, 1)
    torch.manual_seed(1)
    z = m + torch.randn_like(m) * (v / 2).exp()
    p = torch.sigmoid(vae.decoder(z))
    error = -(flat * p.log() + (1 - flat) * (1 - p).log()).sum(1)
    of = torch.distributions
    divergence = of.kl_divergence(of.Normal(m, (v / 2).exp()), of.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(found, error + divergence)
    assert vae.sample(3).dtype == torch.uint8


def test_generated_samples_carry_labels_seen_before():
    _, strategy, _, batch = drawn("generative_replay")
    assert set(batch.y[4:].tolist()) <= set(torch.where(strategy.seen)[0].tolist())


def test_new_samples_weigh_by_their_share_and_unlabelled_ones_not_at_all():
    found = mixture(torch.tensor([1.0, 3.0, 10.0]), 2, 0.25)
    assert float(found) == pytest.approx(0.25 * 2 + 0.75 * 10)
    found = mixture(torch.tensor([3.0, 0.0, 10.0]), 2, 0.25, torch.tensor(1))
    assert float(found) == pytest.approx(0.25 * 3 + 0.75 * 10)
    assert float(mixture(torch.tensor([1.0, 3.0]), 2, 0.25)) == 2
