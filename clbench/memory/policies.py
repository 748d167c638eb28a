"""Which samples a full memory keeps: admission policies as orderings of candidates.

A memory of size M looks at what it holds together with what is new, puts all of it in the policy's
order and keeps the first M. So insertion is a sort on the device whatever comes; and what
``reservoir`` and ``class_balanced`` keep depends on *which* samples came, not on their order and not
on how often: recurrence gives no sample a second chance.

Chance enters by ``priorities``: a random number per sample, a seeded hash of its key. The M smallest
of them are a uniform sample without replacement of all distinct samples so far: reservoir sampling
by random tags, with the inclusion law of Vitter's algorithm R (1985, ACM TOMS 11:37) where no sample
comes twice, and that of bottom-k sampling (Cohen & Kaplan 2007, PODC) where samples recur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Name = Literal["reservoir", "ring", "class_balanced", "herding", "task_balanced"]


@dataclass(frozen=True)
class Candidates:
    """Distinct samples that compete for ``size`` places: first those stored, then the new ones."""

    size: int
    salt: Tensor
    """0-d int64: the memory's seed."""
    priority: Tensor
    """``(n,)`` int64, all different: the smaller, the better."""
    y: Tensor
    """``(n,)`` int64"""
    stamp: Tensor
    """``(n,)`` int64: as ``Policy.stamp`` says."""
    is_new: Tensor
    """``(n,)`` bool"""
    features: Tensor | None = None
    """``(n, d)`` for herding."""


@dataclass(frozen=True)
class Policy:
    """How a memory chooses."""

    order: Callable[[Candidates], Tensor]
    """``(n,)`` int64: the candidates, best first."""
    stamp: Literal["none", "experience", "rank"] = "none"
    """What is remembered of a sample: nothing; the experience it came in; its rank in its class."""
    refreshes: bool = False
    """Whether a stored sample that comes again counts as new."""


def priorities(key: Tensor, salt: Tensor) -> Tensor:
    """``(n,)`` int64 keys to int64 hashes, a bijection (splitmix64's finaliser) for every salt."""
    z = key ^ salt
    z = (z ^ _shifted(z, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ _shifted(z, 27)) * (0x94D049BB133111EB - 2**64)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros; torch's fills with the sign."""
    kept: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return kept


def rank_within(group: Tensor, order: Tensor) -> Tensor:
    """``(n,)``: how many of its own group come before each in ``order``."""
    by_group = order[group[order].argsort(stable=True)]
    sorted_group = group[by_group]
    first = torch.searchsorted(sorted_group, sorted_group)
    rank = torch.empty_like(order)
    rank[by_group] = torch.arange(len(order), device=order.device) - first
    return rank


def balanced(group: Tensor, order: Tensor, salt: Tensor) -> Tensor:
    """Reorder so that any first M hold as equal a number of each group as there are samples for.

    Which groups get what remains after equal shares, a hash of the group decides: so where the groups
    outnumber M, a uniform sample of M groups has one sample each, however large the groups are.
    """
    order = order[priorities(group[order], salt).argsort(stable=True)]
    return order[rank_within(group, order)[order].argsort(stable=True)]


def reservoir(candidates: Candidates) -> Tensor:
    """A uniform sample of all distinct samples."""
    return candidates.priority.argsort()


def class_balanced(candidates: Candidates) -> Tensor:
    """Equally many of each class, each class's a uniform sample of it."""
    return balanced(candidates.y, candidates.priority.argsort(), candidates.salt)


def task_balanced(candidates: Candidates) -> Tensor:
    """Equally many of each task; where tasks outnumber places, of a uniform sample of tasks."""
    return balanced(candidates.stamp, candidates.priority.argsort(), candidates.salt)


def ring(candidates: Candidates) -> Tensor:
    """Per class first in, first out (Chaudhry et al. 2019, arXiv 1902.10486), classes balanced.

    Within one experience, which is delivered in random order, chance decides.
    """
    order = candidates.priority.argsort()
    newest_first = order[candidates.stamp[order].argsort(stable=True, descending=True)]
    return balanced(candidates.y, newest_first, candidates.salt)


def herding(candidates: Candidates) -> Tensor:
    """Per class the samples whose running mean stays nearest to the class mean; classes balanced.

    iCaRL's algorithms 4 and 5 (Rebuffi et al. 2017, arXiv 1611.07725): classes with new samples are
    herded anew, from all their candidates; others keep their order and lose their last.
    """
    assert candidates.features is not None
    if len(candidates.y) == 0:
        return candidates.priority.argsort()
    y, rank = candidates.y, candidates.stamp.clone()
    again = torch.isin(y, y[candidates.is_new]).nonzero().squeeze(1)
    most = _largest_share(y, candidates.size)
    rank[again] = herd(candidates.features[again], y[again], most)
    order = candidates.priority.argsort()
    return order[rank[order].argsort(stable=True)]


def _largest_share(y: Tensor, size: int) -> int:
    """The most samples that any class keeps when ``size`` places are shared in a balanced way."""
    rank = rank_within(y, torch.arange(len(y), device=y.device)).sort().values
    return int(rank[:size][-1]) + 1


def herd(features: Tensor, y: Tensor, most: int) -> Tensor:
    """``(n,)`` int64 ranks within each class by iCaRL's algorithm 4; ``most`` where beyond that.

    The k-th exemplar of a class minimises ``|mu - (f + sum of the chosen)/k|`` over unit-length
    features f, mu being their mean. All classes go through one loop over k.

    Args:
        features: ``(n, d)``
        y: ``(n,)`` int64 classes.
        most: exemplars a class to find.
    """
    features = F.normalize(features, dim=1)
    _, group, count = y.unique(return_inverse=True, return_counts=True)
    zeros = features.new_zeros(len(count), features.shape[1])
    mean = zeros.index_add(0, group, features) / count.unsqueeze(1)
    chosen = torch.zeros_like(mean)
    at = torch.arange(len(y), device=y.device)
    rank = torch.full_like(y, most)
    taken = torch.zeros_like(y, dtype=torch.bool)
    for k in range(min(most, int(count.max())) if len(count) else 0):
        gap = ((k + 1) * mean - chosen)[group] - features
        distance = gap.square().sum(1).masked_fill(taken, torch.inf)
        least = distance.new_full((len(count),), torch.inf)
        least = least.scatter_reduce(0, group, distance, "amin")
        first = torch.full_like(count, len(y))
        tied = torch.where((distance == least[group]) & ~taken, at, len(y))
        first = first.scatter_reduce(0, group, tied, "amin")
        best = first[first < len(y)]
        rank[best], taken[best] = k, True
        chosen.index_add_(0, group[best], features[best])
    return rank


POLICIES: dict[str, Policy] = {
    "reservoir": Policy(reservoir),
    "ring": Policy(ring, "experience", refreshes=True),
    "class_balanced": Policy(class_balanced),
    "herding": Policy(herding, "rank"),
    "task_balanced": Policy(task_balanced, "experience"),
}
