"""Which samples a full memory keeps: admission policies as orderings of candidates.

A memory of size M sorts its stored and the new samples in the policy's order and keeps the first M.
Insertion is therefore one sort on the device. What ``reservoir`` and ``class_balanced`` keep depends
on *which* samples were seen, and neither on their order nor on how often they recurred.

Each sample has a random priority, a seeded hash of its key (``priorities``). The samples with the M
smallest priorities are a uniform sample without replacement of all distinct samples seen. This is
reservoir sampling by random tags: inclusion probabilities are those of Vitter's algorithm R (1985,
ACM TOMS 11:37) if no sample recurs, and of bottom-k sampling (Cohen & Kaplan 2007, PODC) if some do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clbench.memory import submodular

Name = Literal[
    "reservoir",
    "ring",
    "class_balanced",
    "herding",
    "task_balanced",
    "frequency_aware",
    "facility_location",
    "graph_cut",
    "k_center",
]


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
    """``(n, d)``, where the policy needs them."""
    quota: int | None = None
    """The most samples of a class that are kept; None: no limit but ``size``."""


@dataclass(frozen=True)
class Policy:
    """How a memory chooses the samples that it keeps."""

    order: Callable[[Candidates], Tensor]
    """``(n,)`` int64: the candidates, best first."""
    stamp: Literal["none", "experience", "rank", "times"] = "none"
    """What is stored with a sample: nothing, the experience it arrived in, its rank in its class, or in
    how many experiences its class has come."""
    by_priority: bool = False
    """Whether it keeps those of the smallest priorities, whatever else they are."""
    refreshes: bool = False
    """Whether a stored sample that recurs gets the present experience as its stamp."""
    needs_features: bool = False
    """Whether it chooses by features of the trained network."""


def priorities(key: Tensor, salt: Tensor) -> Tensor:
    """Hash ``(n,)`` int64 keys to int64; for each salt a bijection (splitmix64's finaliser)."""
    z = key ^ salt
    z = (z ^ _shifted(z, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ _shifted(z, 27)) * (0x94D049BB133111EB - 2**64)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros; torch's fills with the sign."""
    kept: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return kept


def rank_within(group: Tensor, order: Tensor) -> Tensor:
    """``(n,)``: for each element, how many of its group precede it in ``order``."""
    by_group = order[group[order].argsort(stable=True)]
    sorted_group = group[by_group]
    first = torch.searchsorted(sorted_group, sorted_group)
    rank = torch.empty_like(order)
    rank[by_group] = torch.arange(len(order), device=order.device) - first
    return rank


def spread(y: Tensor, wanted: Tensor) -> Tensor:
    """``(m,)`` random positions in labels ``y`` ``(n,)`` of the wanted ones, as different as possible.

    Every wanted label must occur in ``y``.
    """
    order = torch.randperm(len(y), device="cpu").to(y.device)
    order = order[y[order].argsort(stable=True)]
    labels = y[order]
    first = torch.searchsorted(labels, wanted)
    count = torch.searchsorted(labels, wanted, right=True) - first
    rank = rank_within(wanted, torch.arange(len(wanted), device=y.device))
    return order[first + rank % count]


def balanced(group: Tensor, order: Tensor, salt: Tensor) -> Tensor:
    """Reorder so that the first M, for any M, hold equally many of each group, as far as possible.

    Places that remain after equal shares go to groups in the order of a hash of the group. If there
    are more groups than M, a uniform sample of M groups gets one place each, whatever their sizes.
    """
    order = order[priorities(group[order], salt).argsort(stable=True)]
    return order[rank_within(group, order)[order].argsort(stable=True)]


def reservoir(candidates: Candidates) -> Tensor:
    """Keep a uniform sample of all distinct samples."""
    return candidates.priority.argsort()


def class_balanced(candidates: Candidates) -> Tensor:
    """Keep equally many samples of each class, drawn uniformly within the class."""
    return balanced(candidates.y, candidates.priority.argsort(), candidates.salt)


def task_balanced(candidates: Candidates) -> Tensor:
    """Keep equally many samples of each task.

    If tasks outnumber places, a uniform sample of tasks gets one place each.
    """
    return balanced(candidates.stamp, candidates.priority.argsort(), candidates.salt)


def ring(candidates: Candidates) -> Tensor:
    """Order candidates for a memory of the newest samples of each class, classes balanced.

    The ring buffer of Chaudhry et al. 2019 (arXiv 1902.10486). Samples of one experience are equally
    new; their random priorities decide.

    Returns:
        ``(n,)`` int64 positions of all candidates, best first; the memory keeps the first ``size``.
    """
    order = candidates.priority.argsort()
    newest_first = order[candidates.stamp[order].argsort(stable=True, descending=True)]
    return balanced(candidates.y, newest_first, candidates.salt)


def herding(candidates: Candidates) -> Tensor:
    """Keep, of each class, the samples whose running mean is nearest to the class mean; balanced.

    iCaRL's algorithms 4 and 5 (Rebuffi et al. 2017, arXiv 1611.07725). A class with new samples is
    ranked again from all its candidates; another class keeps its order and drops its last samples.
    """
    return _by_rank(candidates, herd)


def facility_location(candidates: Candidates) -> Tensor:
    """Keep, of each class, samples such that each of the class is similar to one of them; balanced.

    Greedy facility location (``submodular.facility_location``), a class at a time, as by herding.
    """
    return _by_rank(candidates, submodular.by_class(submodular.facility_location))


def graph_cut(candidates: Candidates) -> Tensor:
    """Keep, of each class, samples that are similar to the class and not to one another; balanced.

    Greedy graph cut (``submodular.graph_cut``), a class at a time, as by herding.
    """
    return _by_rank(candidates, submodular.by_class(submodular.graph_cut))


def k_center(candidates: Candidates) -> Tensor:
    """Keep, of each class, samples such that none of the class is far from all of them; balanced.

    Farthest points first (``submodular.k_center``), a class at a time, as by herding.
    """
    return _by_rank(candidates, submodular.by_class(submodular.k_center))


def _by_rank(candidates: Candidates, ranks: submodular.Ranks) -> Tensor:
    """Order candidates by ranks within their classes; classes without new samples keep theirs."""
    assert candidates.features is not None
    if len(candidates.y) == 0:
        return candidates.priority.argsort()
    y, rank = candidates.y, candidates.stamp.clone()
    again = torch.isin(y, y[candidates.is_new]).nonzero().squeeze(1)
    most = _largest_share(y, candidates.size)
    most = most if candidates.quota is None else min(most, candidates.quota)
    rank[again] = ranks(candidates.features[again], y[again], most)
    order = candidates.priority.argsort()
    return order[rank[order].argsort(stable=True)]


def frequency_aware(candidates: Candidates) -> Tensor:
    """Keep of each class a share that is proportional to 1 / (experiences in which it has come).

    The frequency-aware buffer of Hemati et al. 2023 (arXiv 2301.11396), for streams in which some
    classes come back less often than others. Every class keeps a sample, and further places go to the
    classes in turn: the r-th sample of a class that came n times stands at r n. Their code rounds
    shares up and takes what is too much from the smallest. If there are more classes than places, a
    class without a sample counts anew when it comes back.
    """
    order = candidates.priority.argsort()
    order = order[priorities(candidates.y[order], candidates.salt).argsort(stable=True)]
    rank = rank_within(candidates.y, order)
    place = torch.where(rank == 0, 0, (rank + 1) * candidates.stamp)
    return order[place[order].argsort(stable=True)]


def times(y: Tensor, stamp: Tensor, offered: Tensor, n_stored: int) -> Tensor:
    """``(n,)`` int64: in how many experiences the class of each candidate has come.

    Args:
        y: ``(n,)`` classes of the candidates, the stored ones first.
        stamp: ``(n_stored,)`` the same of the stored ones, before this experience.
        offered: ``(m,)`` classes of the present experience.
        n_stored: how many candidates are stored.
    """
    classes, which = y.unique(return_inverse=True)
    before = torch.zeros_like(classes).scatter_reduce(0, which[:n_stored], stamp, "amax")
    return (before + torch.isin(classes, offered))[which]


def _largest_share(y: Tensor, size: int) -> int:
    """The largest number of samples that a class keeps when ``size`` places are balanced."""
    rank = rank_within(y, torch.arange(len(y), device=y.device)).sort().values
    return int(rank[:size][-1]) + 1


def herd(features: Tensor, y: Tensor, most: int) -> Tensor:
    """``(n,)`` int64 ranks within each class by iCaRL's algorithm 4; ``most`` for all later ones.

    The k-th exemplar of a class minimises ``|mu - (f + sum of the chosen)/k|`` over unit-length
    features f, where mu is their mean. One loop over k serves all classes.

    Args:
        features: ``(n, d)``
        y: ``(n,)`` int64 classes.
        most: the number of exemplars to rank in each class.
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
    "reservoir": Policy(reservoir, by_priority=True),
    "ring": Policy(ring, "experience", refreshes=True),
    "class_balanced": Policy(class_balanced),
    "herding": Policy(herding, "rank", needs_features=True),
    "task_balanced": Policy(task_balanced, "experience"),
    "frequency_aware": Policy(frequency_aware, "times"),
    "facility_location": Policy(facility_location, "rank", needs_features=True),
    "graph_cut": Policy(graph_cut, "rank", needs_features=True),
    "k_center": Policy(k_center, "rank", needs_features=True),
}
