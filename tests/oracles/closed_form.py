"""Streaming LDA and ridge regression on random features, in numpy."""

from __future__ import annotations

import numpy as np

from .bare import Task


def slda(tasks: list[Task], x: np.ndarray, *, shrinkage: float, pooled: bool) -> np.ndarray:
    """Hayes & Kanan 2020, one sample at a time; scores of ``x``, ``(m, C)``.

    ``pooled``: Welford's update of the covariance within classes, in place of the published weight.
    """
    n_classes, d = tasks[0].samples.open.shape[1], x.shape[1]
    mean, count = np.zeros((n_classes, d)), np.zeros(n_classes)
    sigma, n = np.zeros((d, d)), 0
    for task in tasks:
        for z, y in zip(task.samples.x.numpy(), task.samples.y.tolist(), strict=True):
            gap = z - mean[y]
            weight = count[y] / (count[y] + 1) if pooled else n / (n + 1)
            sigma = (n * sigma + weight * np.outer(gap, gap)) / (n + 1)
            mean[y] = (count[y] * mean[y] + z) / (count[y] + 1)
            n, count[y] = n + 1, count[y] + 1
    inverse = np.linalg.pinv((1 - shrinkage) * sigma + shrinkage * np.eye(d))
    weights = inverse @ mean.T
    scores = x @ weights - np.einsum("cd,dc->c", mean, weights) / 2
    return np.where(count > 0, scores, -np.inf)


def ridge(tasks: list[Task], x: np.ndarray, m: np.ndarray, *, lam: float) -> np.ndarray:
    """McDonnell et al. 2023: least squares on relu(x m) over all samples; scores of ``x``.

    It is solved as one stacked least-squares problem, with rows sqrt(lam) I for the penalty.
    """
    n_classes = tasks[0].samples.open.shape[1]
    h = np.concatenate([np.maximum(task.samples.x.numpy() @ m, 0) for task in tasks])
    y = np.concatenate([task.samples.y.numpy() for task in tasks])
    rows = np.concatenate([h, np.sqrt(lam) * np.eye(m.shape[1])])
    right = np.concatenate([np.eye(n_classes)[y], np.zeros((m.shape[1], n_classes))])
    weights = np.linalg.lstsq(rows, right, rcond=None)[0]
    seen = np.isin(np.arange(n_classes), y)
    return np.where(seen, np.maximum(x @ m, 0) @ weights, -np.inf)
