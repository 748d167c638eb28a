"""Streaming LDA, ridge regression on random features, cosines and FeCAM, in numpy."""

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


def ranpac(tasks: list[Task], x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Ridge regression whose lam is chosen after each task on its last fifth; the last choice holds."""
    n_classes = tasks[0].samples.open.shape[1]
    h = np.maximum(tasks[-1].samples.x.numpy() @ m, 0)
    y = np.eye(n_classes)[tasks[-1].samples.y.numpy()]
    n = int(len(h) * 0.8)
    errors = {}
    for lam in 10.0 ** np.arange(-8, 9):
        gram = h[:n].T @ h[:n] + lam * np.eye(h.shape[1])
        weights = np.linalg.solve(gram, h[:n].T @ y[:n])
        errors[lam] = np.mean((h[n:] @ weights - y[n:]) ** 2)
    return ridge(tasks, x, m, lam=min(errors, key=errors.__getitem__))


def of_class(tasks: list[Task]) -> dict[int, np.ndarray]:
    """All samples of each class."""
    z = np.concatenate([task.samples.x.numpy() for task in tasks])
    y = np.concatenate([task.samples.y.numpy() for task in tasks])
    return {c: z[y == c] for c in np.unique(y)}


def among(found: dict[int, np.ndarray], n: int, n_classes: int) -> np.ndarray:
    scores = np.full((n, n_classes), -np.inf)
    for c, values in found.items():
        scores[:, c] = values
    return scores


def simple_cil(tasks: list[Task], x: np.ndarray) -> np.ndarray:
    """Zhou et al. 2023: the cosine to each class mean."""
    found = {}
    for c, z in of_class(tasks).items():
        mean = z.mean(0)
        found[c] = x @ mean / np.linalg.norm(x, axis=1) / np.linalg.norm(mean)
    return among(found, len(x), tasks[0].samples.open.shape[1])


def fecam(tasks: list[Task], x: np.ndarray, *, g1: float, g2: float, tukey: bool) -> np.ndarray:
    """Goswami et al. 2023: shrunk covariance, as a correlation matrix; normalised samples and means."""
    root = np.sqrt if tukey else np.asarray
    unit, found = root(x) / np.linalg.norm(root(x), axis=1, keepdims=True), {}
    for c, z in of_class(tasks).items():
        z = root(z)
        s, d = np.cov(z.T), z.shape[1]
        off = s[~np.eye(d, dtype=bool)].mean()
        s = s + g1 * np.trace(s) / d * np.eye(d) + g2 * off * (1 - np.eye(d))
        s = s / np.sqrt(np.outer(np.diag(s), np.diag(s)))
        mean = z.mean(0) / np.linalg.norm(z.mean(0))
        found[c] = -np.einsum("nd,de,ne->n", unit - mean, np.linalg.inv(s), unit - mean)
    return among(found, len(x), tasks[0].samples.open.shape[1])
