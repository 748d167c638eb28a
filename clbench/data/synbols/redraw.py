"""Domains of synbols: the same images drawn again at another stream time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clbench.data.pool import Pool, Split
from clbench.data.synbols.attributes import Attributes
from clbench.data.synbols.generator import Generator
from clbench.data.synbols.pool import SynbolsPool
from clbench.data.synbols.spec import Spec
from clbench.data.transforms import Transform


@dataclass(frozen=True)
class Redraw(Transform):
    """Domain d of n is stream time ``d / (n - 1)``; what does not drift stays as it was."""

    pool: SynbolsPool
    """Whose images they are."""
    generator: Generator
    """Of the same seed, with attributes that are functions of time."""
    n: int
    samples: tuple[Split, np.ndarray] | None = None
    """Which images of the pool ``x`` holds."""

    @classmethod
    def of(cls, pool: SynbolsPool, spec: Spec, n: int) -> Redraw:
        """Over a pool, with another spec of the same characters."""
        return cls(pool, pool.generator.with_spec(spec), n)

    @property
    def n_domains(self) -> int:
        """As many as times."""
        return self.n

    def bound(self, split: Split, index: np.ndarray) -> Redraw:
        """The transform of these images."""
        return dataclasses.replace(self, samples=(split, np.asarray(index)))

    def attributes(self, domain: int) -> Attributes:
        """What the images that it is bound to are drawn from in a domain."""
        self._check_domain(domain)
        assert self.samples is not None
        number = self.pool.numbers(*self.samples)
        time = np.full(len(number), domain / max(1, self.n - 1))
        return self.generator.attributes(number, time)

    def __call__(self, x: Tensor, domain: int, generator: torch.Generator) -> Tensor:
        """Draw; takes nothing from ``x`` and ``generator``."""
        return self.generator.renderer.images(self.attributes(domain))

    def factors(
        self, pool: Pool, split: Split, index: np.ndarray, domain: int
    ) -> Mapping[str, np.ndarray]:
        """The attributes that the domain's images are drawn from."""
        return self.bound(split, index).attributes(domain).factors(self.generator.atlas)

    def describe(self, domain: int) -> str:
        """The recipe and the time."""
        self._check_domain(domain)
        return f"synbols({self.generator.sha256}, time={domain / max(1, self.n - 1)!r})"
