"""Domain transforms: how a domain-incremental scenario changes the samples of domain d."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clbench.data.corruptions import check_corruption, corrupt
from clbench.data.filters import warp
from clbench.data.marks import check_mark, mark
from clbench.data.pool import Pool, Split
from clbench.errors import UsageError

CHUNK = 1024  # images that are floats at one time; fixed, because it determines the random numbers


@dataclass(frozen=True)
class Transform(ABC):
    """A family of input transforms, numbered by domain."""

    @property
    @abstractmethod
    def n_domains(self) -> int | None:
        """The number of domains; None: endless."""

    @abstractmethod
    def __call__(self, x: Tensor, domain: int, generator: torch.Generator) -> Tensor:
        """Transform samples to a domain.

        Args:
            x: ``(n, *input_shape)`` in the pool's dtype, on any device; is not changed.
            domain: ``0 <= domain < n_domains``.
            generator: on the CPU; source of the transform's random numbers.

        Returns:
            A tensor of the same shape, dtype and device; may be ``x`` itself.
        """

    def bound(self, split: Split, index: np.ndarray) -> Transform:
        """The transform for given samples of the pool; it may use their attributes."""
        return self

    def factors(
        self, pool: Pool, split: Split, index: np.ndarray, domain: int
    ) -> Mapping[str, np.ndarray]:
        """``(n,)`` numbers or names by factor: known attributes of samples in a domain."""
        return pool.factors(split, index)

    @abstractmethod
    def describe(self, domain: int) -> str:
        """Describe a domain for records and hashes; equal strings mean equal transforms."""

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Check before the run that the transform takes such samples.

        Raises:
            UsageError: the samples are vectors, and the transform needs images.
        """
        if len(input_shape) < 2:
            raise UsageError(
                f"{type(self).__name__.lower()} needs images, not samples of shape {input_shape}; "
                "choose another data set"
            )

    def _check_domain(self, domain: int) -> None:
        if domain < 0 or (self.n_domains is not None and domain >= self.n_domains):
            raise ValueError(f"domain {domain} is not in 0..{self.n_domains}")


@dataclass(frozen=True)
class Permute(Transform):
    """Permuted pixels (Goodfellow et al. 2013, arXiv 1312.6211); domain 0 is the identity.

    All channels of an image are permuted alike, and so are the features of a vector.
    """

    seed: int
    """Seed of the permutations; that of domain d does not depend on ``n``."""

    n: int | None = None
    """The number of domains; None: endless."""

    @property
    def n_domains(self) -> int | None:
        """The number of domains; None: endless."""
        return self.n

    def __call__(self, x: Tensor, domain: int, generator: torch.Generator) -> Tensor:
        """Permute the pixels; draws nothing from ``generator``."""
        self._check_domain(domain)
        if domain == 0:
            return x
        flat = x if x.dim() == 2 else x.flatten(-2)
        order = torch.as_tensor(self._order(domain, flat.shape[-1]), device=x.device)
        return flat.index_select(-1, order).reshape(x.shape)

    def _order(self, domain: int, n_pixels: int) -> np.ndarray:
        # Sorts raw bits, because NumPy keeps its bit streams stable, but not permutation().
        bits = np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(domain,)))
        return np.argsort(bits.random_raw(n_pixels), kind="stable")

    def describe(self, domain: int) -> str:
        """The seed and the domain, which determine the permutation."""
        self._check_domain(domain)
        return "identity" if domain == 0 else f"permute(seed={self.seed}, domain={domain})"

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Takes samples of any shape."""


@dataclass(frozen=True)
class Rotate(Transform):
    """Rotations about the centre, bilinear, with zeros at the corners."""

    degrees: tuple[float, ...]
    """The angle of each domain, counter-clockwise."""

    @property
    def n_domains(self) -> int:
        """The number of angles."""
        return len(self.degrees)

    def __call__(self, x: Tensor, domain: int, generator: torch.Generator) -> Tensor:
        """Rotate; draws nothing from ``generator``."""
        self._check_domain(domain)
        angle = math.radians(self.degrees[domain])
        if self.degrees[domain] % 360 == 0:
            return x
        cos, sin = math.cos(angle), math.sin(angle)
        return _on_floats(x, 1.0, lambda images: warp(images, ((cos, -sin), (sin, cos))))

    def describe(self, domain: int) -> str:
        """The angle."""
        self._check_domain(domain)
        return f"rotate(degrees={float(self.degrees[domain])!r})"


@dataclass(frozen=True)
class Corrupt(Transform):
    """Common corruptions, one kind for each domain; see ``clbench.data.corruptions``."""

    kinds: tuple[str, ...]
    """The kind of each domain; ``none`` leaves the samples unchanged."""

    severity: int
    """From 1 (weak) to 5 (strong)."""

    scale: float
    """Brings a raw value of the pool to the unit range, as ``Pool.scale`` does."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            check_corruption(kind, self.severity)

    @property
    def n_domains(self) -> int:
        """The number of kinds."""
        return len(self.kinds)

    def __call__(self, x: Tensor, domain: int, generator: torch.Generator) -> Tensor:
        """Corrupt; every call draws further numbers from ``generator``."""
        self._check_domain(domain)
        kind = self.kinds[domain]
        if kind == "none":
            return x
        return _on_floats(
            x, self.scale, lambda images: corrupt(kind, images, self.severity, generator)
        )

    def describe(self, domain: int) -> str:
        """The kind and the severity."""
        self._check_domain(domain)
        kind = self.kinds[domain]
        return "identity" if kind == "none" else f"corrupt({kind}, severity={self.severity})"


@dataclass(frozen=True)
class Mark(Transform):
    """Marks independent of the class, one value of an attribute for each domain.

    See ``clbench.data.marks``.
    """

    kind: str
    """The kind of mark: ``background``, ``stripes`` or ``patch``."""

    n: int
    """The number of values."""

    strength: float
    """From 0 (the mark is invisible) to 1 (it hides the image where it lies)."""

    scale: float
    """Brings a raw value of the pool to the unit range, as ``Pool.scale`` does."""

    def __post_init__(self) -> None:
        check_mark(self.kind)

    @property
    def n_domains(self) -> int:
        """The number of values."""
        return self.n

    def __call__(self, x: Tensor, domain: int, generator: torch.Generator) -> Tensor:
        """Mark; draws nothing from ``generator``."""
        self._check_domain(domain)
        return _on_floats(
            x, self.scale, lambda images: mark(self.kind, images, domain, self.n, self.strength)
        )

    def describe(self, domain: int) -> str:
        """The kind, the value and the strength."""
        self._check_domain(domain)
        return f"mark({self.kind}, {domain} of {self.n}, strength={float(self.strength)!r})"


def _on_floats(x: Tensor, scale: float, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply to ``(m, C, H, W)`` float32 chunks of ``x * scale``, and convert back to its dtype."""
    images = x.unsqueeze(1) if x.dim() == 3 else x
    out = torch.empty_like(images)
    for start in range(0, len(x), CHUNK):
        part = images[start : start + CHUNK]
        raw = transform(part.to(torch.float32) * scale) / scale
        out[start : start + CHUNK] = raw if x.is_floating_point() else raw.round()
    return out.reshape(x.shape)
