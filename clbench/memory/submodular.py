"""Choosing a few of many samples by their features: facility location, graph cut, k-center.

Samples i and j of unit-length features have the similarity ``s_ij = (1 + cos) / 2``, in [0, 1]. Each
function picks greedily, as submodular selection of training data does (Renduchintala et al. 2023,
"INGENIOUS", arXiv 2305.06677: facility location, lazily), and returns the picks in their order:

- facility location maximises ``sum_i max_{j in S} s_ij`` (Nemhauser, Wolsey & Fisher 1978: greedy
  gives at least 1 - 1/e of the best);
- graph cut maximises ``sum_{i, j in S} s_ij - lambda sum_{j, k in S} s_jk``, i over all samples and
  lambda = 1/2, the largest for which it never falls by a pick (our choice);
- k-center minimises ``max_i min_{j in S} |f_i - f_j|`` (Gonzalez 1985: the farthest sample next, at
  most twice the best; Sener & Savarese 2018, arXiv 1708.00489, for networks). The first pick is the
  sample nearest to the mean.

Equal gains go to the first of the samples. The host waits at every pick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STORED = 8192
"""The most samples whose similarities are stored, 256 MiB in float32; those of more are computed when
they are needed."""
BLOCK = 32
"""Samples whose gains are computed at once."""
LAMBDA = 0.5


@dataclass(frozen=True)
class Picks:
    """Samples in the order in which they were picked."""

    index: Tensor
    """``(k,)`` int64"""
    evaluations: int
    """How many gains were computed, at n similarities each. Plain greedy computes n for each pick."""


Pick = Callable[[Tensor, int], Picks]
"""``(n, d)`` features and a number of picks to the picks; fewer samples are all picked."""
Ranks = Callable[[Tensor, Tensor, int], Tensor]
"""``(n, d)`` features, ``(n,)`` classes and a number of picks to ``(n,)`` ranks within each class;
samples that are not picked have the number of picks as theirs."""


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """``(n, m)``: similarities of unit-length features ``(n, d)`` and ``(m, d)``."""
    return torch.mm(a, b.mT).add_(1).div_(2)


def _alone(unit: Tensor) -> Tensor:
    """``(n,)``: the sum of each sample's similarities to all, by their mean."""
    return (1 + unit @ unit.mean(0)) * (len(unit) / 2)


def facility_location(features: Tensor, most: int, stored: int = STORED) -> Picks:
    """Pick by facility location, lazily: a gain can only fall, so only those that lead are computed.

    Minoux 1978, "Accelerated greedy algorithms for maximizing submodular set functions". The picks are
    those of plain greedy.

    Args:
        features: ``(n, d)``
        most: the number of picks.
        stored: the most samples whose similarities are stored.
    """
    unit = F.normalize(features, dim=1)
    n = len(unit)
    matrix = similarity(unit, unit) if n <= stored else None
    bound = _alone(unit)
    fresh = torch.ones(n, dtype=torch.bool, device=unit.device)
    covered = unit.new_zeros(n)
    picks: list[int] = []
    evaluations = n
    while len(picks) < min(most, n):
        best = int(bound.argmax())
        if bool(fresh[best]):
            picks.append(best)
            own = similarity(unit[best : best + 1], unit) if matrix is None else matrix[best]
            covered = torch.maximum(covered, own.view(n))
            bound[best] = -torch.inf
            fresh.fill_(False)
            continue
        at = bound.masked_fill(fresh, -torch.inf).topk(min(BLOCK, n - len(picks))).indices
        rows = similarity(unit[at], unit) if matrix is None else matrix[at]
        gain = (rows - covered).clamp_min_(0).sum(1)
        # Picked and fresh samples come last in a short list, and stay as they are.
        stale = bound[at].isfinite() & ~fresh[at]
        bound[at] = torch.where(stale, gain, bound[at])
        fresh[at] = True
        evaluations += len(at)
    return Picks(torch.tensor(picks, dtype=torch.int64, device=unit.device), evaluations)


def graph_cut(features: Tensor, most: int) -> Picks:
    """Pick by graph cut. A pick lowers all gains by one row of similarities, so none is computed anew.

    Args:
        features: ``(n, d)``
        most: the number of picks.
    """
    unit = F.normalize(features, dim=1)
    gain = _alone(unit) - LAMBDA
    picks: list[int] = []
    for _ in range(min(most, len(unit))):
        best = int(gain.argmax())
        picks.append(best)
        gain -= 2 * LAMBDA * similarity(unit[best : best + 1], unit)[0]
        gain[best] = -torch.inf
    index = torch.tensor(picks, dtype=torch.int64, device=unit.device)
    return Picks(index, len(unit) + len(picks))


def k_center(features: Tensor, most: int) -> Picks:
    """Pick the sample nearest to the mean, and then always the one farthest from all picks.

    Args:
        features: ``(n, d)``
        most: the number of picks.
    """
    unit = F.normalize(features, dim=1)
    distance = _alone(unit)  # of no meaning but for its order, before the first pick
    picks: list[int] = []
    for number in range(min(most, len(unit))):
        best = int(distance.argmax())
        picks.append(best)
        far = 1 - similarity(unit[best : best + 1], unit)[0]
        distance = torch.minimum(distance, far) if number else far
        distance[picks] = -torch.inf
    index = torch.tensor(picks, dtype=torch.int64, device=unit.device)
    return Picks(index, len(unit) + len(picks))


def by_class(pick: Pick) -> Ranks:
    """Rank within each class by the picks among its samples alone."""

    def ranks(features: Tensor, y: Tensor, most: int) -> Tensor:
        rank = torch.full_like(y, most)
        for label in y.unique().tolist():
            members = (y == label).nonzero().squeeze(1)
            index = pick(features[members], most).index
            rank[members[index]] = torch.arange(len(index), device=y.device)
        return rank

    return ranks
