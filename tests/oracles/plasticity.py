"""ReDo and UPGD. Their draws come from the generator that is seeded for each experience."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .bare import Net, Sgd, Task, Training, grad

Seed = Callable[[int], None]
"""Seeds the generator for an experience."""


def redo(
    net: Net, tasks: list[Task], training: Training, seed: Seed, *, period: int, tau: float
) -> Tensor:
    """Sokar et al. 2023, equation 1 and algorithm 1, of one hidden layer."""
    w, sgd, step = net.start.clone(), Sgd(training), 0
    d, hidden, classes = net.widths
    for number, task in enumerate(tasks):
        seed(number)
        for batch in training.batches(task):
            step += 1
            into, bias = w[: d * hidden].view(hidden, d), w[d * hidden :][:hidden]
            h = (batch.x @ into.T + bias).clamp(min=0)
            w = sgd.step(w, grad(lambda w, b=batch: net.ce(w, b), w)).clone()
            if step % period:
                continue
            fresh = torch.empty(hidden, d, dtype=torch.float64).uniform_(-1, 1) / math.sqrt(d)
            out = w[d * hidden + hidden :][: hidden * classes].view(classes, hidden)
            for unit in range(hidden):
                if h[:, unit].abs().mean() / h.abs().mean() <= tau:
                    w[unit * d : (unit + 1) * d] = fresh[unit]
                    w[d * hidden + unit] = 0
                    out[:, unit] = 0
    return w


def upgd(
    net: Net,
    tasks: list[Task],
    training: Training,
    seed: Seed,
    *,
    beta: float,
    sigma: float,
    decay: float,
    protects: bool,
) -> Tensor:
    """Elsayed & Mahmood 2024, the update of the authors' code."""
    w, u, lr = net.start, torch.zeros_like(net.start), training.lr
    for number, task in enumerate(tasks):
        seed(number)
        for batch in training.batches(task):
            g = grad(lambda w, b=batch: net.ce(w, b), w)
            u = beta * u + (1 - beta) * (-g * w)
            s = 1 / (1 + (-u / u.max()).exp())
            xi = sigma * torch.randn(len(w), dtype=torch.float64)
            change = 2 * (g + xi) * (1 - s) if protects else g + 2 * xi * (1 - s)
            w = (1 - lr * decay) * w - lr * change
    return w
