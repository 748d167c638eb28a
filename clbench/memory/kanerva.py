"""A memory that writes by Bayesian inference: the Kanerva Machine's linear-Gaussian memory.

Wu, Wayne, Graves, Lillicrap 2018 (ICLR, Kanerva Machine) and Wu, Wayne, Gregor, Lillicrap 2018
(NeurIPS, Dynamic Kanerva Machine, DKM). The memory is a matrix-normal belief over K rows of width C:
mean R ``(K, C)``, covariance U ``(K, K)`` between rows, identity between columns. A sample z is taken
to be ``w^T M`` plus noise, w its address. Writing is the posterior given z; reading is ``w^T R``.

Written at given addresses it is Bayesian linear regression, whatever the order and the blocks. The
published addresses are solved from R itself; then order matters, and so does the block, whose
addresses are all solved before any of it is written: it is part of the method, not of its speed.

Deviations from the published code: a block is written at once, by the Cholesky factor of its
innovation; U is float64 (in float32 its small eigenvalues come out wrong after 100,000 writes) and its
diagonal is not clipped, so that the posterior stays exact; ``map`` addresses minimise the stated
objective, where the code solves another system (``official``); R's prior is drawn and not learnt.
The functions take any leading dimensions, one memory each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

Address = Literal["map", "official", "fixed"]


def solve_address(mean: Tensor, z: Tensor, ridge: float, official: bool = False) -> Tensor:
    """Where in the memory samples are.

    The minimum of ``|z - w^T R|^2 + ridge |w|^2``, ``w = (A + ridge I)^-1 R z`` with ``A = R R^T``;
    ridge is the variance of the noise over that of addresses. The published code solves
    ``w = (A^T A + ridge I)^-1 A^T R z`` in its place.

    Args:
        mean: ``(..., K, C)``, R.
        z: ``(..., B, C)`` samples.
        ridge: positive.
        official: as the published code does.

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
    """``(..., B, K)``: addresses that no write moves, ``relu(keys z)`` brought to length sqrt(K).

    A graded form of the fixed random addresses of Kanerva 1988 (Sparse Distributed Memory), where a
    sample is at every address nearer than a radius. Writing at them is regression on random features.

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
    """Make R and U, in place, the belief after samples at given addresses.

    An address of zeros writes nothing.

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


def write_kl(mean: Tensor, covariance: Tensor, w: Tensor, z: Tensor, noise: float) -> Tensor:
    """``(...)``: KL in nats of the belief after a block's write from the belief before; exact.

    For one sample it is the DKM's step, ``-1/2 [C b - b/s |d|^2 + C log(1 - b)]`` with
    ``s = w^T U w + noise``, ``b = w^T U w / s`` and d the error. Of a block it is the KL of the whole
    write, which is not the sum of its steps' (and neither is the published code's total, which lacks
    the half and looks at diagonals alone). Arguments as for ``write_``.
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
    """``(..., B)``: KL of N(w, variance I) from the prior of addresses N(0, I), in nats.

    Args:
        w: ``(..., B, K)`` addresses.
        variance: of the posterior of every entry, positive.
    """
    return (w.square().sum(-1) + w.shape[-1] * (variance - 1 - math.log(variance))) / 2


class KanervaMemory(nn.Module):
    """One memory of samples ``[cue; rest]``, which finds the rest by the cue.

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
        """Draw the prior from torch's generator.

        Args:
            rows: K.
            cue: entries of the cue.
            width: entries of what is written, C. Solved addresses need the cue to be part of it.
            address: ``map`` and ``official`` solve for it, see ``solve_address``; ``fixed`` does not.
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

        Solved addresses take any c up to the width, fixed ones the cue and drop what follows it.
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
            cue: ``(B, c)``, what their addresses are found by; None: the first columns of z.
            weight: ``(B,)``, 0 for a sample that is not to be written, else 1; None: all are.
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
        """``(B, c)`` to ``(B, C)``: what the memory has at the cue.

        Args:
            cue: the first columns of samples.
            iterations: how often what was read is taken for the cue of another reading. The DKM
                passes it through its auto-encoder in between; without one a reading is linear, and
                repeating it sharpens nothing but leads to the strongest directions of R.
        """
        found = self.address(cue) @ self.mean
        for _ in range(iterations):
            found = self.address(found) @ self.mean
        return found

    def stored_basis(self) -> Tensor:
        """``(K, C)``: standard normal combinations of these rows are reads as stored ones are.

        They are at addresses with the second moment of those that were written, which U tells:
        ``sum w w^T = noise (U^-1 - I)``. Next to zero when nothing has been written.
        """
        eye = torch.eye(len(self.mean), dtype=self.covariance.dtype, device=self.mean.device)
        precision = torch.cholesky_solve(eye, torch.linalg.cholesky_ex(self.covariance).L)
        moment = (self.noise / self.written.clamp_min(1)) * (precision - eye)
        # Rows no write has touched leave it singular.
        moment = moment + 1e-6 * moment.diagonal().mean().clamp_min(1e-12) * eye
        factor: Tensor = torch.linalg.cholesky_ex(moment).L
        return factor.mT.to(self.mean.dtype) @ self.mean

    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self.buffers())


def rows_within(n_bytes: int, cue: int, width: int, address: Address = "map") -> int:
    """The most rows with which a memory's ``nbytes()`` is at most ``n_bytes``; 0: not even one.

    They are the root of ``8 K^2 + 4 (width + keys) K + 8 = n_bytes``: covariance, mean and keys, and
    the count. Keys, ``cue`` entries a row, are stored with fixed addresses only. ``cue``, ``width`` and
    ``address`` are those of ``KanervaMemory``.
    """
    linear = 4 * (width + (cue if address == "fixed" else 0))
    if n_bytes < 8:
        return 0
    return (math.isqrt(linear**2 + 32 * (n_bytes - 8)) - linear) // 16
