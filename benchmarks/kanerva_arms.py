"""The models that ``kanerva_nll.py`` compares, with one encoder and one decoder.

- ``vae``: no memory (Kingma & Welling 2014).
- ``km``: a Kanerva machine (Wu et al. 2018, ICLR): a key y with the prior N(0, I) gives an address
  w(y) by a network, and z has the prior ``N(w^T R, (w^T U w + 1) I)``. What is written is the mean of
  q(z | x) at the address of the mean of q(y | x).
- ``dkm``: a dynamic Kanerva machine (Wu et al. 2018, NeurIPS): the address is solved from the memory,
  w has the prior N(0, I) and a learnt posterior variance, and ``z = w^T R``.
- ``kpp``: Kanerva++ (``clbench.memory.kanerva_pp``).

Each is trained on its own bound of ``log p(x | M)`` alone: the divergence of the memory from its prior,
which the papers of KM and DKM add, is no part of a conditional likelihood. The noise of the memory is
1; codes can have any scale, so that nothing is lost. DKM writes 8 samples at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from clbench.memory.episodic import SampleEncoder
from clbench.memory.kanerva import solve_address, written
from clbench.memory.kanerva_pp import Gaussian, KanervaPP, Sizes
from clbench.memory.vae import negative_log_likelihood

Name = Literal["vae", "km", "dkm", "kpp"]
SHAPE = (28, 28)
FREE = 3.0
"""Nats of a key that cost nothing in training, of KM and of K++ (their bound counts them)."""
BLOCK, NOISE = 8, 1.0


class Belief(NamedTuple):
    """A memory as KM and DKM know it."""

    mean: Tensor
    """``(K, C)``"""
    covariance: Tensor
    """``(K, K)`` float64"""


def standard(like: Tensor) -> Gaussian:
    """N(0, I) of a shape."""
    return Gaussian(torch.zeros_like(like), torch.zeros_like(like))


class Arm(nn.Module):
    """A model of images ``(T, 28, 28)`` uint8 of 0 and 255, which may write an episode first."""

    def __init__(self, width: int, hidden: int, code: int, outputs: int) -> None:
        super().__init__()
        self.encoder = SampleEncoder(SHAPE, width, shift=False)
        self.posterior = nn.Sequential(
            nn.Linear(self.encoder.size, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, math.prod(SHAPE)),
        )

    def write(self, x: Tensor) -> Belief | Tensor | None:
        """Write an episode; None: there is no memory."""
        return None

    def infer(self, x: Tensor) -> Tensor:
        """Compute what the encoder and the posterior give."""
        outputs: Tensor = self.posterior(self.encoder(self._floats(x)))
        return outputs

    def _floats(self, x: Tensor) -> Tensor:
        return x.to(next(self.parameters()).dtype) / 255

    def error(self, code: Tensor, x: Tensor) -> Tensor:
        """``(T,)``: -log p(x | code)."""
        return negative_log_likelihood(self.decoder(code), self._floats(x).flatten(1), x.dtype)

    def terms(self, x: Tensor, memory: Belief | Tensor | None) -> tuple[Tensor, Tensor]:
        """``(T,)`` twice: the negative bound without the key's divergence, and that."""
        raise NotImplementedError

    def weights(self, x: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """``(T,)``: one draw of the log importance weights."""
        raise NotImplementedError

    def loss(self, x: Tensor) -> Tensor:
        """0-d: what training lowers, in nats an image."""
        rest, key = self.terms(x, self.write(x))
        return rest.mean() + (key.mean().clamp_min(FREE) if isinstance(self, KM) else key.mean())

    @torch.no_grad()
    def bounds(self, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """``(T,)`` twice: negative bounds of an episode, by one draw and by ``samples`` weights."""
        memory = self.write(x)
        rest, key = self.terms(x, memory)
        drawn = torch.stack([self.weights(x, memory) for _ in range(samples)])
        return rest + key, math.log(samples) - drawn.logsumexp(0)

    def address(self, cue: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """Find where a cue points: ``(T, k)`` keys, addresses or codes."""
        raise NotImplementedError

    def at(self, address: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """``(T, 784)``: means of pixels at addresses."""
        raise NotImplementedError

    address_size: int


class VAE(Arm):
    """Has no memory."""

    def __init__(self, width: int, hidden: int, latent: int) -> None:
        super().__init__(width, hidden, latent, 2 * latent)
        self.address_size = latent

    def terms(self, x: Tensor, memory: Belief | Tensor | None) -> tuple[Tensor, Tensor]:
        """The latent's divergence is part of the first."""
        q = Gaussian.of(self.infer(x))
        z = q.draw()
        total = self.error(z, x) + q.divergence(standard(z))
        return total, torch.zeros_like(total)

    def weights(self, x: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """By one draw of z."""
        q = Gaussian.of(self.infer(x))
        z = q.draw()
        return standard(z).log_density(z) - self.error(z, x) - q.log_density(z)

    def address(self, cue: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """The mean of the posterior."""
        return Gaussian.of(self.infer(cue)).mean

    def at(self, address: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """Decode."""
        return self.decoder(address).sigmoid()


class KM(Arm):
    """Kanerva machine."""

    def __init__(self, width: int, hidden: int, latent: int, rows: int, key: int) -> None:
        super().__init__(width, hidden, latent, 2 * (latent + key))
        self.address_size = key
        self.to_address = nn.Sequential(nn.Linear(key, 64), nn.ReLU(), nn.Linear(64, rows))
        self.prior_mean = nn.Parameter(torch.randn(rows, latent) / math.sqrt(rows))

    def _posteriors(self, x: Tensor) -> tuple[Gaussian, Gaussian]:
        outputs, split = self.infer(x), 2 * self.address_size
        return Gaussian.of(outputs[:, :split]), Gaussian.of(outputs[:, split:])

    def write(self, x: Tensor) -> Belief:
        """Write the means at once; given addresses the order does not matter."""
        key, latent = self._posteriors(x)
        rows = len(self.prior_mean)
        covariance = torch.eye(rows, dtype=torch.float64, device=x.device)
        w = self.to_address(key.mean)
        return Belief(*written(self.prior_mean, covariance, w, latent.mean, NOISE))

    def read(self, key: Tensor, memory: Belief) -> Gaussian:
        """The prior of z at keys."""
        w = self.to_address(key)
        known = w.to(memory.covariance.dtype)
        spread = ((known @ memory.covariance) * known).sum(1).to(w.dtype) + NOISE
        mean = w @ memory.mean
        return Gaussian(mean, spread.log()[:, None].expand_as(mean))

    def terms(self, x: Tensor, memory: Belief | Tensor | None) -> tuple[Tensor, Tensor]:
        """Divergences of z from what is read, and of the key."""
        assert isinstance(memory, Belief)
        of_key, of_latent = self._posteriors(x)
        key, z = of_key.draw(), of_latent.draw()
        rest = self.error(z, x) + of_latent.divergence(self.read(key, memory))
        return rest, of_key.divergence(standard(key))

    def weights(self, x: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """By one draw of key and z."""
        assert isinstance(memory, Belief)
        of_key, of_latent = self._posteriors(x)
        key, z = of_key.draw(), of_latent.draw()
        prior = self.read(key, memory).log_density(z) + standard(key).log_density(key)
        return prior - self.error(z, x) - of_latent.log_density(z) - of_key.log_density(key)

    def address(self, cue: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """The mean key."""
        return self._posteriors(cue)[0].mean

    def at(self, address: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """Decode the mean of what is read."""
        assert isinstance(memory, Belief)
        return self.decoder(self.read(address, memory).mean).sigmoid()


class DKM(Arm):
    """Dynamic Kanerva machine."""

    def __init__(self, width: int, hidden: int, code: int, rows: int) -> None:
        super().__init__(width, hidden, code, code)
        self.address_size = rows
        self.prior_mean = nn.Parameter(torch.randn(rows, code) / math.sqrt(rows))
        self.log_variance = nn.Parameter(torch.tensor(2 * math.log(0.3)))

    def write(self, x: Tensor) -> Belief:
        """Write a few at once, each by its address in the memory as it stands."""
        rows = len(self.prior_mean)
        memory = Belief(self.prior_mean, torch.eye(rows, dtype=torch.float64, device=x.device))
        for z in self.infer(x).split(BLOCK):
            w = solve_address(memory.mean, z, NOISE)
            memory = Belief(*written(*memory, w, z, NOISE))
        return memory

    def _addresses(self, x: Tensor, memory: Belief | Tensor | None) -> Gaussian:
        assert isinstance(memory, Belief)
        w = solve_address(memory.mean, self.infer(x), NOISE)
        return Gaussian(w, self.log_variance.expand_as(w))

    def terms(self, x: Tensor, memory: Belief | Tensor | None) -> tuple[Tensor, Tensor]:
        """The error and the divergence of the address."""
        assert isinstance(memory, Belief)
        of = self._addresses(x, memory)
        w = of.draw()
        return self.error(w @ memory.mean, x), of.divergence(standard(w))

    def weights(self, x: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """By one draw of the address."""
        assert isinstance(memory, Belief)
        of = self._addresses(x, memory)
        w = of.draw()
        error = self.error(w @ memory.mean, x)
        return standard(w).log_density(w) - error - of.log_density(w)

    def address(self, cue: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """The solved address."""
        return self._addresses(cue, memory).mean

    def at(self, address: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """Decode what is read."""
        assert isinstance(memory, Belief)
        return self.decoder(address @ memory.mean).sigmoid()


class KPP(Arm):
    """Kanerva++."""

    def __init__(self, sizes: Sizes) -> None:
        nn.Module.__init__(self)
        self.model = KanervaPP(SHAPE, torch.uint8, 1 / 255, sizes)
        self.address_size = 3

    def write(self, x: Tensor) -> Tensor:
        """One pass."""
        return self.model.write(x)

    def loss(self, x: Tensor) -> Tensor:
        """As the strategy trains it."""
        return self.model.loss(x, FREE).mean()

    @torch.no_grad()
    def bounds(self, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """By the model's own."""
        memory = self.model.write(x)
        found = self.model.terms(x, memory).total()
        return found, -self.model.importance_bound(x, memory, samples)

    def address(self, cue: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """The mean key."""
        return self.model.infer(cue)[0].mean

    def at(self, address: Tensor, memory: Belief | Tensor | None) -> Tensor:
        """Decode the mean of what is read."""
        assert isinstance(memory, Tensor)
        return self.model.decoder(self.model.read(memory, address).mean).sigmoid()


LATENT, KEY, ROWS = 32, 3, 64
"""Of KM: its memory has as many numbers as that of DKM (32 rows of 64) and of K++ (8 x 16 x 16)."""


def build(name: Name, width: int, hidden: int) -> Arm:
    """Make a model; ``hidden`` is the width of its fully connected layers."""
    if name == "vae":
        return VAE(width, hidden, LATENT)
    if name == "km":
        return KM(width, hidden, LATENT, ROWS, KEY)
    if name == "dkm":
        return DKM(width, hidden, 2 * LATENT, ROWS // 2)
    return KPP(Sizes(latent=LATENT, hidden=hidden, width=width))


def n_parameters(arm: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(p.numel() for p in arm.parameters())


def hidden_for(name: Name, width: int, wanted: int) -> int:
    """The width of layers with which a model comes nearest to a number of parameters."""

    def sizes() -> Iterator[tuple[int, int]]:
        for hidden in range(8, 1025, 4):
            with torch.device("meta"):
                n = n_parameters(build(name, width, hidden))
            yield abs(n - wanted), hidden
            if n > wanted:
                return

    return min(sizes())[1]
