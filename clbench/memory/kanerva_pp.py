"""Kanerva++: a generative memory whose keys point at overlapping blocks of a latent image.

Ramapuram, Wu, Kalousis 2021, "Kanerva++: Extending the Kanerva Machine with Differentiable, Locally
Block Allocated Latent Memory" (ICLR, arXiv 2103.03905). An episode X of T samples is written by one
deterministic pass into a memory M. A sample has a key y of three numbers, which points at a block of
M (``block_reader``), and a latent z whose prior is read from the block:

    p(x, z, y | M) = p(x | z) p(z | block(M, y)) p(y),   p(y) = N(0, I).

The bound on log p(X | M) is (eq. 4)

    sum_t E_q [log p(x_t | z_t)] - E_q(y_t | x_t) KL(q(z_t | x_t) || p(z_t | M, y_t))
          - KL(q(y_t | x_t) || p(y)),

with one draw of y and z each. Abstract, introduction and Fig. 2 were at hand, the body was not. So
sizes, the map from a key to a block, one read head and the layers are our choices (the paper encodes
by a ResNet18 with temporal shift), and the published likelihoods are no target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clbench.memory.block_reader import pointer, read_blocks
from clbench.memory.episodic import MemoryWriter, SampleEncoder
from clbench.memory.vae import negative_log_likelihood, to_samples

KEY = 3
"""Numbers of a key: scale, and shift in two directions."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a Kanerva++ model. The memory has ``channels * side**2`` numbers."""

    latent: int = 32
    hidden: int = 256
    width: int = 16
    """Channels of the first layer of the encoders."""
    channels: int = 8
    side: int = 16
    block: int = 8
    """Cells on a side of a block, as it is read."""


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, both: Tensor) -> Gaussian:
        """Take the means and the log-variances from the two halves of the last axis."""
        return cls(*both.chunk(2, -1))

    def draw(self) -> Tensor:
        """One draw, with a gradient."""
        return self.mean + torch.randn_like(self.mean) * (self.log_variance / 2).exp()

    def log_density(self, at: Tensor) -> Tensor:
        """The log-density, summed over the last axis."""
        squares = (at - self.mean).square() / self.log_variance.exp()
        return -(squares + self.log_variance + math.log(2 * math.pi)).sum(-1) / 2

    def divergence(self, other: Gaussian) -> Tensor:
        """KL(self || other), summed over the last axis."""
        gap = self.log_variance - other.log_variance
        moved = (self.mean - other.mean).square() / other.log_variance.exp()
        return (gap.exp() + moved - 1 - gap).sum(-1) / 2


@dataclass(frozen=True)
class Terms:
    """The terms of the negative bound, ``(T,)`` each, in nats."""

    error: Tensor
    """-log p(x | z); of samples that are not integers, without its constant."""
    latent: Tensor
    """KL(q(z | x) || p(z | M, y))"""
    key: Tensor
    """KL(q(y | x) || p(y))"""

    def total(self) -> Tensor:
        """``(T,)``: the negative bound."""
        return self.error + self.latent + self.key


class KanervaPP(nn.Module):
    """Writes episodes, reads blocks, and generates samples from them.

    Integer samples, such as images, are scaled to [0, 1] and have a Bernoulli likelihood per pixel;
    others have a Gaussian one with a shared variance (``clbench.memory.vae``).
    """

    def __init__(
        self, input_shape: tuple[int, ...], dtype: torch.dtype, scale: float, sizes: Sizes
    ) -> None:
        super().__init__()
        self.input_shape, self.dtype, self.scale, self.sizes = input_shape, dtype, scale, sizes
        size = math.prod(input_shape)
        self.writer = MemoryWriter(input_shape, sizes.width, sizes.channels, sizes.side)
        self.encoder = SampleEncoder(input_shape, sizes.width, shift=False)
        self.posterior = nn.Sequential(
            nn.Linear(self.encoder.size, sizes.hidden),
            nn.ReLU(),
            nn.Linear(sizes.hidden, 2 * (KEY + sizes.latent)),
        )
        self.prior = nn.Sequential(
            nn.Linear(sizes.channels * sizes.block**2, sizes.hidden),
            nn.ReLU(),
            nn.Linear(sizes.hidden, 2 * sizes.latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(sizes.latent, sizes.hidden),
            nn.ReLU(),
            nn.Linear(sizes.hidden, sizes.hidden),
            nn.ReLU(),
            nn.Linear(sizes.hidden, size),
        )

    @property
    def _weight(self) -> Tensor:
        return next(self.parameters())

    def _floats(self, x: Tensor) -> Tensor:
        return x.to(self._weight.dtype) * self.scale

    @property
    def memory_shape(self) -> tuple[int, int, int]:
        """The shape of a memory, ``(channels, side, side)``."""
        return self.sizes.channels, self.sizes.side, self.sizes.side

    def write(self, x: Tensor) -> Tensor:
        """Write an episode of raw samples ``(T, *input_shape)``: the memory, ``memory_shape``.

        The same episode gives the same memory.
        """
        memory: Tensor = self.writer(self._floats(x))
        return memory

    def infer(self, x: Tensor) -> tuple[Gaussian, Gaussian]:
        """Compute q(y | x) ``(T, 3)`` and q(z | x) ``(T, latent)`` of raw samples."""
        both = self.posterior(self.encoder(self._floats(x)))
        return Gaussian.of(both[..., : 2 * KEY]), Gaussian.of(both[..., 2 * KEY :])

    def read(self, memory: Tensor, key: Tensor) -> Gaussian:
        """Compute p(z | M, y): a memory and keys ``(T, 3)`` to priors ``(T, latent)``."""
        share = self.sizes.block / self.sizes.side
        blocks = read_blocks(memory, *pointer(key, share), self.sizes.block)
        return Gaussian.of(self.prior(blocks.flatten(1)))

    def terms(self, x: Tensor, memory: Tensor | None = None) -> Terms:
        """Compute the terms of the bound for raw samples ``(T, *input_shape)``.

        Args:
            x: the samples.
            memory: to be read; None: the samples are an episode, and it is written first.
        """
        memory = self.write(x) if memory is None else memory
        flat = self._floats(x).flatten(1)
        of_key, of_latent = self.infer(x)
        key, latent = of_key.draw(), of_latent.draw()
        prior = self.read(memory, key)
        zeros = torch.zeros_like(key)
        return Terms(
            negative_log_likelihood(self.decoder(latent), flat, self.dtype),
            of_latent.divergence(prior),
            of_key.divergence(Gaussian(zeros, zeros)),
        )

    def loss(self, x: Tensor, free: float = 0.0) -> Tensor:
        """``(T,)``: what training lowers for an episode of raw samples, in nats: the negative bound.

        The key's divergence counts as its mean over the episode, and below ``free`` as ``free`` (Kingma
        et al. 2016, arXiv 1606.04934, appendix C.8). Keys that cost from the start are not used at all:
        the latent learns to do without them.
        """
        found = self.terms(x)
        return found.error + found.latent + found.key.mean().clamp_min(free)

    @torch.no_grad()
    def importance_bound(self, x: Tensor, memory: Tensor, samples: int) -> Tensor:
        """``(T,)``: log of the mean of ``samples`` importance weights, in nats, for integer samples.

        It is a lower bound on log p(x | M) in expectation, and tends to it as samples grow (Burda,
        Grosse, Salakhutdinov 2016, arXiv 1509.00519, eq. 8).
        """
        flat = self._floats(x).flatten(1)
        of_key, of_latent = self.infer(x)
        standard = Gaussian(torch.zeros_like(of_key.mean), torch.zeros_like(of_key.mean))
        weights = []
        for _ in range(samples):
            key, latent = of_key.draw(), of_latent.draw()
            error = negative_log_likelihood(self.decoder(latent), flat, self.dtype)
            prior = self.read(memory, key).log_density(latent) + standard.log_density(key)
            weights.append(prior - error - of_latent.log_density(latent) - of_key.log_density(key))
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    @torch.no_grad()
    def sample(self, memory: Tensor, key: Tensor) -> Tensor:
        """``(T, *input_shape)`` samples at keys ``(T, 3)``, in the pool's dtype and range."""
        decoded = self.decoder(self.read(memory, key).draw())
        return to_samples(decoded, self.dtype, self.scale).view(len(key), *self.input_shape)
