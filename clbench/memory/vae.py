"""A variational autoencoder as a generative memory."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VAE(nn.Module):
    """Fully connected, with a standard normal latent (Kingma & Welling 2014, arXiv 1312.6114).

    Integer samples, such as images, are scaled to [0, 1] and have a Bernoulli likelihood per pixel.
    Other samples have a Gaussian likelihood with one shared variance. It is set to its optimum, the
    mean squared error (Rybkin et al. 2021, arXiv 2006.13202), so it is no hyperparameter.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        dtype: torch.dtype,
        scale: float,
        hidden: int,
        latent: int,
    ) -> None:
        super().__init__()
        self.input_shape, self.dtype, self.scale, self.latent = input_shape, dtype, scale, latent
        size = math.prod(input_shape)
        self.encoder = _layers(size, hidden, 2 * latent)
        self.decoder = _layers(latent, hidden, size)

    def loss(self, x: Tensor) -> Tensor:
        """``(B,)``: the negative evidence lower bound of ``(B, *input_shape)`` raw samples, in nats.

        The constant of the Gaussian likelihood is left out.
        """
        flat = x.flatten(1).to(self._weight.dtype) * self.scale
        encoded: Tensor = self.encoder(flat)
        mean, log_variance = encoded.chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        decoded: Tensor = self.decoder(z)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return negative_log_likelihood(decoded, flat, self.dtype) + divergence

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """``(n, *input_shape)`` new samples, in the pool's dtype and range."""
        weight = self._weight
        z = torch.randn(n, self.latent, device=weight.device, dtype=weight.dtype)
        decoded: Tensor = self.decoder(z)
        return to_samples(decoded, self.dtype, self.scale).view(n, *self.input_shape)

    @property
    def _weight(self) -> Tensor:
        return next(self.parameters())


def _layers(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, n_out),
    )


def negative_log_likelihood(decoded: Tensor, flat: Tensor, dtype: torch.dtype) -> Tensor:
    """``(B,)``: -log p(x | z) in nats, from what a decoder gives.

    Args:
        decoded: ``(B, d)``: logits of pixels for integer samples, else means.
        flat: ``(B, d)``: samples, scaled to [0, 1] where they are integers.
        dtype: of raw samples. Of floats the likelihood is Gaussian and its constant is left out.
    """
    if not dtype.is_floating_point:
        return F.binary_cross_entropy_with_logits(decoded, flat, reduction="none").sum(1)
    squared = (decoded - flat).square()
    # No gradient flows through the variance: at its optimum its own gradient is zero.
    variance = squared.detach().mean().clamp_min(1e-6)
    return squared.sum(1) / (2 * variance) + flat.shape[1] / 2 * variance.log()


def to_samples(decoded: Tensor, dtype: torch.dtype, scale: float) -> Tensor:
    """Turn what a decoder gives, ``(B, d)``, into raw values of ``dtype``: the means."""
    if dtype.is_floating_point:
        return (decoded / scale).to(dtype)
    return (decoded.sigmoid() / scale).round().to(dtype)
