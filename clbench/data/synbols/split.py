"""Splits images into train, val and test: at random, or by their attributes.

The splits of Synbols (Lacoste et al. 2020, and its ``stratified_splits``):

- ``stratified:NAME`` of an attribute with separate values (char, font, patterns, counts): each value
  is in one part only. For a number, train has the middle 60 % of its distribution, val the lower and
  test the upper 20 %.
- ``compositional:NAME:NAME``: both attributes are divided like this, into parts a and b; train has
  a = b, val a = b + 1 and test a = b + 2 (mod 3): every value occurs in training, not every pair.

Deviations: intervals are quantiles of the distribution, not percentiles of the images; the division of
values is drawn from ``data.seed``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clbench.data.synbols.atlas import Atlas
from clbench.data.synbols.attributes import PATTERN_NAMES, Attributes
from clbench.data.synbols.distributions import Choice, Distribution
from clbench.data.synbols.spec import RANGES, Spec
from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean

TRAIN, VAL, TEST = range(3)
SHARES = (0.6, 0.2, 0.2)
ATTRIBUTES = ("char", "font", "foreground", "background", *(n for n in RANGES if "occl" not in n))
KINDS = {"iid": 0, "stratified": 1, "compositional": 2}


@dataclass(frozen=True)
class Split:
    """The rule that assigns images to parts."""

    kind: str
    names: tuple[str, ...]

    def parts(self, spec: Spec, atlas: Atlas, seed: int, attributes: Attributes) -> np.ndarray:
        """``(n,)`` int64: the part of each image, TRAIN, VAL or TEST.

        Raises:
            UsageError: an attribute does not vary enough to be divided.
        """
        maps = [_part(name, spec, atlas, seed, attributes) for name in self.names]
        return maps[0] if len(maps) == 1 else (maps[0] - maps[1]) % 3


IID = Split("iid", ())


def parse_split(text: str) -> Split:
    """``iid``, ``stratified:font``, ``compositional:rotation:scale``.

    Raises:
        UsageError: it is none of these.
    """
    kind, *names = text.split(":")
    if kind not in KINDS or len(names) != KINDS[kind]:
        hint = did_you_mean(kind, KINDS)
        raise UsageError(
            f"data.split={text}: write iid, stratified:NAME or compositional:NAME:NAME{hint}"
        )
    for name in names:
        if name not in ATTRIBUTES:
            hint = did_you_mean(name, ATTRIBUTES)
            raise UsageError(f"data.split={text}: no attribute {name!r}{hint}")
    if len(set(names)) < len(names):
        raise UsageError(f"data.split={text}: the two attributes must differ")
    return Split(kind, tuple(names))


def _part(name: str, spec: Spec, atlas: Atlas, seed: int, attributes: Attributes) -> np.ndarray:
    values = getattr(attributes, name)
    values = values[:, 0] if values.ndim == 2 else values
    if name in ("char", "font"):
        known = np.arange(len(atlas.characters if name == "char" else atlas.fonts))
    else:
        distribution: Distribution = getattr(spec, name)
        if not isinstance(distribution, Choice):
            edges = distribution.quantile(np.array([0.2, 0.8]), np.zeros(2))
            if edges[0] == edges[1]:
                raise UsageError(f"data.split: {name} does not vary")
            return np.where(values < edges[0], VAL, np.where(values > edges[1], TEST, TRAIN))
        of = distribution.values
        known = np.array([PATTERN_NAMES.index(str(v)) if isinstance(v, str) else v for v in of])
    known = np.unique(known)
    if len(known) < len(SHARES):
        raise UsageError(f"data.split: {name} has {len(known)} values; a split needs {len(SHARES)}")
    return np.asarray(_of_values(known, seed)[np.searchsorted(known, values)])


def _of_values(known: np.ndarray, seed: int) -> np.ndarray:
    """``(k,)``: the part of each of k values, in a seeded order; each part has one at least."""
    n = len(known)
    n_test = max(1, round(SHARES[TEST] * n))
    part = np.full(n, TRAIN)
    order = np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")
    part[order[:n_test]], part[order[n_test : 2 * n_test]] = TEST, VAL
    return part
