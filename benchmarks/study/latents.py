"""Properties of latents: rank, overlap of tasks, similarity of classes.

Ostapenko et al. 2022 (CoLLAs; arXiv 2205.00329), where overlap correlates negatively with accuracy
(Pearson r = -0.68 over their encoders and streams); RankMe: Garrido et al. 2023 (arXiv 2210.02885).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from clbench.engine.diagnostics import rankme
from clbench.stream import Stream

TOP = 20
"""Number of directions of a task's subspace."""
RANKED = 25_600
"""Largest number of samples for RankMe, as in its authors' code."""


class Latents(NamedTuple):
    """Properties of the training samples of a stream."""

    dimension: int
    rankme: float
    subspace_overlap: float | None
    class_similarity: float | None


def describe(stream: Stream) -> Latents:
    """Collect the latents (or flattened raw samples) of each task of a stream."""
    assert stream.n_tasks is not None
    tasks = [stream.experience(t) for t in range(stream.n_experiences(stream.n_tasks))]
    parts = [task.x.flatten(1).float() * stream.pool.scale for task in tasks]
    x, y = torch.cat(parts), torch.cat([task.y for task in tasks])
    spread = torch.linspace(0, len(x) - 1, min(len(x), RANKED)).long()
    return Latents(
        dimension=x.shape[1],
        rankme=float(rankme(x[spread.to(x.device)])),
        subspace_overlap=subspace_overlap(parts),
        class_similarity=class_similarity(x, y),
    )


def subspace_overlap(tasks: Sequence[Tensor], k: int = TOP) -> float | None:
    """Mean over pairs of tasks of ``1/k ||U^T V||_F^2``, in [0, 1]; None for a single task.

    The columns of U are the k leading eigenvectors of the covariance of a task's latents.

    Args:
        tasks: ``(n, d)`` latents of each task.
        k: number of directions; fewer if a task has fewer samples or the latents fewer dimensions.
    """
    if len(tasks) < 2:
        return None
    k = min(k, tasks[0].shape[1], *(max(1, len(x) - 1) for x in tasks))
    bases = []
    for x in tasks:
        centred = (x - x.mean(0)).cpu().double()
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
        bases.append(vectors[:, -k:])
    pairs = [float((u.T @ v).square().sum()) / k for u, v in combinations(bases, 2)]
    return sum(pairs) / len(pairs)


def class_similarity(x: Tensor, y: Tensor) -> float | None:
    """Mean over pairs of classes of the cosine of their mean latents; None for a single class.

    Args:
        x: ``(n, d)`` latents.
        y: ``(n,)`` labels.
    """
    means = torch.stack([x[y == label].double().mean(0) for label in y.unique()])
    unit = F.normalize(means, dim=1)
    cosines = [float(a @ b) for a, b in combinations(unit, 2)]
    return sum(cosines) / len(cosines) if cosines else None
