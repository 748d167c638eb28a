"""Supervised contrastive replay without augmentation, told which stored samples were drawn."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from .bare import Keys, Net, Samples, Seen, Sgd, Task, Training, grad, join


def supcon(z: Tensor, y: Tensor, own: Tensor, temperature: float) -> Tensor:
    """Khosla et al. 2020, equation 2, row by row; a row's other views are of its class."""
    z = z / z.norm(dim=1, keepdim=True)
    total = z.new_zeros(())
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        below = sum(((z[i] @ z[a]) / temperature).exp() for a in others)
        partners = [p for p in others if own[p] == own[i] or (y[p] == y[i] and y[i] >= 0)]
        logs = [((z[i] @ z[p] / temperature).exp() / below).log() for p in partners]
        total = total - sum(logs) / len(logs)
    return total / len(z)


def scr(
    net: Net, tasks: list[Task], training: Training, drawn: deque[Keys], *, temperature: float
) -> tuple[Tensor, Seen]:
    """Mai et al. 2021 with two equal views: weights, and all samples seen."""
    w, sgd, seen = net.start, Sgd(training), Seen(drawn)
    for task in tasks:
        for new in training.batches(task):
            both = join(new, seen.recall()) if seen.samples else new

            def loss(w: Tensor, b: Samples = both) -> Tensor:
                z = net.logits(w, b.x)
                z = (z / z.norm(dim=1, keepdim=True)).repeat(2, 1)
                near = (z @ z.T / temperature).exp()
                near = near * (1 - torch.eye(len(z), dtype=torch.float64))
                y = b.y.repeat(2)
                partner = (y[:, None] == y) & ~torch.eye(len(z), dtype=torch.bool)
                logs = torch.where(partner, (near / near.sum(1, keepdim=True)).clamp_min(1e-300), 1)
                return -(logs.log().sum(1) / partner.sum(1)).mean()

            w = sgd.step(w, grad(loss, w))
            seen.add(new)
    return w, seen


def nearest_mean(features: Tensor, y: Tensor, asked: Tensor, classes: int) -> Tensor:
    """Minus squared distances of unit-length features to unit-length class means."""
    unit = features / features.norm(dim=1, keepdim=True)
    asked = asked / asked.norm(dim=1, keepdim=True)
    scores = torch.full((len(asked), classes), -torch.inf, dtype=torch.float64)
    for c in y.unique().tolist():
        mean = unit[y == c].mean(0)
        scores[:, c] = -(asked - mean / mean.norm()).square().sum(1)
    return scores
