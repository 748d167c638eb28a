"""The linear-Gaussian memory of the Kanerva Machine, which is written by Bayesian inference.

Wu, Wayne, Graves, Lillicrap 2018 (ICLR, Kanerva Machine) and Wu, Wayne, Gregor, Lillicrap 2018
(NeurIPS, Dynamic Kanerva Machine, DKM). The memory is a matrix-normal belief over K rows of width C:
mean R ``(K, C)``, covariance U ``(K, K)`` between rows, identity between columns. The model of a
sample z is ``z = w^T M + noise``, where w is its address. Writing z replaces the belief by its
posterior given z. Reading at w returns the mean, ``w^T R``.

With given addresses, writing is Bayesian linear regression, and neither the order of the samples nor
their division into blocks matters. The published addresses are solved from R itself. Then the order
matters, and the size of a block too, because all its addresses are solved before any sample of it is
written. The block size is therefore a hyperparameter of the method.

Deviations from the published code:

- a block is written at once, by the Cholesky factor of its innovation;
- U is float64: in float32 its small eigenvalues are wrong after 100,000 writes;
- the diagonal of U is not clipped, so that the posterior stays exact;
- ``map`` addresses minimise the stated objective; the code solves another system (``official``);
- the prior mean of R is drawn, not learnt.

All functions take leading batch dimensions, one memory for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

Address = Literal["map", "official", "fixed"]


def solve_address(mean: Tensor, z: Tensor, ridge: float, official: bool = False) -> Tensor:
    """Solve for the addresses of samples.

    They minimise ``|z - w^T R|^2 + ridge |w|^2``, ``w = (A + ridge I)^-1 R z`` with ``A = R R^T``;
    ridge is the noise variance divided by the prior variance of addresses. The published code solves
    ``w = (A^T A + ridge I)^-1 A^T R z`` instead.

    Args:
        mean: ``(..., K, C)``, R.
        z: ``(..., B, C)`` samples.
        ridge: positive.
        official: solve the system of the published code.

    Returns:
        ``(..., B, K)``, in the dtype of ``mean``; solved in float64.
    """
    rows, width = mean.shape[-2:]
    # f(R R^T) R = R f(R^T R): the same addresses by the smaller of the two Gram matrices.
    wide = width >= rows
    gram = (mean @ mean.mT if wide else mean.mT @ mean).double()
    right = (mean @ z.mT if wide else z.mT).double()
    if official:
        gram, right = gram @ gram, gram @ right
    gram.diagonal(dim1=-2, dim2=-1).add_(ridge)
    factor = torch.linalg.cholesky_ex(gram).L
    found: Tensor = torch.cholesky_solve(right, factor).to(mean.dtype)
    return (found if wide else mean @ found).mT


def fixed_address(keys: Tensor, z: Tensor) -> Tensor:
    """``(..., B, K)`` addresses that do not depend on the memory: ``relu(keys z)``, of length sqrt(K).

    A graded form of the fixed random addresses of Kanerva 1988 (Sparse Distributed Memory), which
    stores a sample at every address within a radius. Writing is then regression on random features.

    Args:
        keys: ``(K, C)``, standard normal.
        z: ``(..., B, C)`` samples; their length does not matter.
    """
    activation = (z @ keys.mT).relu()
    length: Tensor = torch.linalg.vector_norm(activation, dim=-1, keepdim=True)
    return activation * (math.sqrt(len(keys)) / length.clamp_min(1e-12))


def _innovation(
    mean: Tensor, covariance: Tensor, w: Tensor, z: Tensor, noise: float
) -> tuple[Tensor, Tensor, Tensor]:
    """``L``, ``L^-1 W U`` and ``L^-1 (Z - W R)`` with ``L L^T = W U W^T + noise I``."""
    error = (z - w @ mean).to(covariance.dtype)
    w = w.to(covariance.dtype)
    spread = w @ covariance
    innovation = spread @ w.mT
    innovation.diagonal(dim1=-2, dim2=-1).add_(noise)
    factor = torch.linalg.cholesky_ex(innovation).L
    both = torch.linalg.solve_triangular(factor, torch.cat([spread, error], -1), upper=False)
    gain, scaled = both.split([spread.shape[-1], error.shape[-1]], -1)
    return factor, gain, scaled


def write_(mean: Tensor, covariance: Tensor, w: Tensor, z: Tensor, noise: float) -> None:
    """Update R and U in place to the posterior given samples at given addresses.

    A sample whose address is zero changes nothing.

    Args:
        mean: ``(..., K, C)``, R.
        covariance: ``(..., K, K)``, U.
        w: ``(..., B, K)`` addresses.
        z: ``(..., B, C)`` samples.
        noise: variance of the observation noise, positive.
    """
    _, gain, scaled = _innovation(mean, covariance, w, z, noise)
    mean.add_(gain.to(mean.dtype).mT @ scaled.to(mean.dtype))
    covariance.sub_(gain.mT @ gain)


def written(
    mean: Tensor, covariance: Tensor, w: Tensor, z: Tensor, noise: float
) -> tuple[Tensor, Tensor]:
    """Return R and U as ``write_`` leaves them, with gradients by all arguments; changes nothing."""
    _, gain, scaled = _innovation(mean, covariance, w, z, noise)
    return mean + gain.to(mean.dtype).mT @ scaled.to(mean.dtype), covariance - gain.mT @ gain


def write_kl(mean: Tensor, covariance: Tensor, w: Tensor, z: Tensor, noise: float) -> Tensor:
    """``(...)``: the exact KL divergence, in nats, of the belief after writing a block from before.

    For one sample it is the DKM's step, ``-1/2 [C b - b/s |d|^2 + C log(1 - b)]`` with
    ``s = w^T U w + noise``, ``b = w^T U w / s`` and d the error. For a block it is the KL of the whole
    write, which differs from the sum over single steps. The total of the published code is neither:
    it lacks the factor 1/2 and uses diagonals only. Arguments as for ``write_``.
    """
    factor, _, scaled = _innovation(mean, covariance, w, z, noise)
    eye = torch.eye(w.shape[-2], dtype=factor.dtype, device=factor.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
    known = eye - noise * (inverse @ inverse.mT)  # L^-1 (W U W^T) L^-T
    trace = known.diagonal(dim1=-2, dim2=-1).sum(-1)
    log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - len(eye) * math.log(noise)
    quadratic: Tensor = (scaled * (known @ scaled)).sum((-2, -1))
    return (quadratic + mean.shape[-1] * (log_det - trace)) / 2


def address_kl(w: Tensor, variance: float) -> Tensor:
    """``(..., B)``: KL divergence, in nats, of N(w, variance I) from the prior of addresses N(0, I).

    Args:
        w: ``(..., B, K)`` addresses.
        variance: posterior variance of every entry of an address, positive.
    """
    return (w.square().sum(-1) + w.shape[-1] * (variance - 1 - math.log(variance))) / 2


class KanervaMemory(nn.Module):
    """Stores samples ``[cue; rest]`` and recalls the rest from the cue.

    Buffers: ``mean`` ``(K, C)``; ``covariance`` ``(K, K)`` float64; ``written``, a count, 0-d float64;
    with fixed addresses also ``keys`` ``(K, cue)``.
    """

    def __init__(
        self,
        rows: int,
        cue: int,
        width: int,
        address: Address = "map",
        noise: float = 1.0,
        prior_std: float = 1.0,
        block: int = 64,
    ) -> None:
        """Draw the prior mean from torch's generator.

        Args:
            rows: K.
            cue: number of entries of the cue.
            width: C, number of entries of a sample. Solved addresses need it to include the cue.
            address: ``map`` and ``official``: see ``solve_address``; ``fixed``: see ``fixed_address``.
            noise: variance of the observation noise; addresses and the prior's rows have variance 1.
            prior_std: of the entries of R's prior, in the units of the cue. A mean of zero could not be
                addressed: every address would be zero. The columns past the cue start at zero, as
                does all of R with fixed addresses: nothing is known.
            block: samples written at once.
        """
        super().__init__()
        self.cue, self.kind, self.noise, self.block = cue, address, noise, block
        drawn = torch.randn(rows, cue)
        mean = torch.zeros(rows, width)
        if address == "fixed":
            self.register_buffer("keys", drawn)
        else:
            mean[:, :cue] = prior_std * drawn
        self.register_buffer("mean", mean)
        self.register_buffer("covariance", torch.eye(rows, dtype=torch.float64))
        self.register_buffer("written", torch.zeros((), dtype=torch.float64))
        self.keys: Tensor
        self.mean: Tensor
        self.covariance: Tensor
        self.written: Tensor

    def address(self, cue: Tensor) -> Tensor:
        """``(B, c)``, the first c columns of samples, to ``(B, K)`` addresses.

        Solved addresses take any c up to the width. Fixed ones use the cue and ignore later columns.
        """
        if self.kind == "fixed":
            return fixed_address(self.keys, cue[:, : self.cue])
        part = self.mean[:, : cue.shape[1]]
        return solve_address(part, cue, self.noise, self.kind == "official")

    @torch.no_grad()
    def write(self, z: Tensor, cue: Tensor | None = None, weight: Tensor | None = None) -> None:
        """Write samples, block by block.

        Args:
            z: ``(B, C)``.
            cue: ``(B, c)``, from which their addresses follow; None: the first columns of z.
            weight: ``(B,)``, 1 to write a sample and 0 to skip it; None: write all.
        """
        cue = z[:, : self.cue] if cue is None else cue
        weight = z.new_ones(len(z)) if weight is None else weight.to(z.dtype)
        for z_part, cue_part, weight_part in self._blocks(z, cue, weight):
            w = self.address(cue_part) * weight_part[:, None]
            write_(self.mean, self.covariance, w, z_part, self.noise)
        self.written.add_(weight.sum())

    def _blocks(self, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(part.split(self.block) for part in parts), strict=True)

    def read(self, cue: Tensor, iterations: int = 0) -> Tensor:
        """Recall samples from their cues: ``(B, c)`` to ``(B, C)``.

        Args:
            cue: the first columns of samples.
            iterations: how often the result is used as the cue of another reading. The DKM passes
                it through its autoencoder in between. Without one a reading is linear, and repeated
                readings converge to the leading directions of R.
        """
        found = self.address(cue) @ self.mean
        for _ in range(iterations):
            found = self.address(found) @ self.mean
        return found

    def stored_basis(self) -> Tensor:
        """``(K, C)`` rows whose standard normal combinations are distributed like stored samples.

        Their addresses have the second moment of the addresses that were written, which follows from
        U: ``sum w w^T = noise (U^-1 - I)``. It is close to zero if nothing was written.
        """
        eye = torch.eye(len(self.mean), dtype=self.covariance.dtype, device=self.mean.device)
        precision = torch.cholesky_solve(eye, torch.linalg.cholesky_ex(self.covariance).L)
        moment = (self.noise / self.written.clamp_min(1)) * (precision - eye)
        # It is singular if some rows were never written.
        moment = moment + 1e-6 * moment.diagonal().mean().clamp_min(1e-12) * eye
        factor: Tensor = torch.linalg.cholesky_ex(moment).L
        return factor.mT.to(self.mean.dtype) @ self.mean

    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self.buffers())


def rows_within(n_bytes: int, cue: int, width: int, address: Address = "map") -> int:
    """The largest number of rows whose memory has ``nbytes()`` of at most ``n_bytes``, or 0.

    It solves ``8 K^2 + 4 (width + keys) K + 8 = n_bytes`` for K: the bytes of covariance, mean and
    keys, and of the count. Only fixed addresses store keys, of ``cue`` entries each. ``cue``,
    ``width`` and ``address`` are those of ``KanervaMemory``.
    """
    linear = 4 * (width + (cue if address == "fixed" else 0))
    if n_bytes < 8:
        return 0
    return (math.isqrt(linear**2 + 32 * (n_bytes - 8)) - linear) // 16
