"""X-DER with equal views, told which stored samples were drawn; the memory holds every sample."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from .bare import Keys, Net, Samples, Seen, Sgd, Task, Training, grad, losses


def xder(
    net: Net,
    tasks: list[Task],
    training: Training,
    drawn: deque[Keys],
    *,
    alpha: float,
    beta: float,
    lam: float,
    eta: float,
    margin: float,
    gamma: float,
    temperature: float,
    views: int,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Boschini et al. 2022: the weights, and the stored logits by key."""
    w, sgd, seen, stored = net.start, Sgd(training), Seen(drawn), {}
    classes = net.widths[-1]
    past: set[int] = set()

    def among(batch: Samples, of: set[int]) -> Tensor:
        return torch.tensor([c in of for c in range(classes)]).expand(len(batch.y), -1)

    for task in tasks:
        now = set(task.samples.y.tolist())
        later = [c for c in range(classes) if c not in past | now]
        for new in training.batches(task):
            dark, labelled = (seen.recall(), seen.recall()) if past else (None, None)

            def loss(w: Tensor, new=new, draws=(dark, labelled), sets=(past, now, later)) -> Tensor:
                (dark, labelled), (past, now, later) = draws, sets
                h, x, y = net.logits(w, new.x), new.x, new.y
                total = losses(h, y, among(new, now)).mean()
                if dark is not None:
                    z = torch.stack([stored[key] for key in dark.keys])
                    total = total + alpha * ((net.logits(w, dark.x) - z) ** 2).mean()
                    old = net.logits(w, labelled.x)
                    total = total + beta * losses(old, labelled.y, among(labelled, past)).mean()
                    x, y = torch.cat([x, dark.x]), torch.cat([y, dark.y])
                if not later:
                    return total
                gap = h[:, later].max(1).values + margin - h[:, sorted(now)].max(1).values
                total = total + eta * gap.clamp(min=0).mean()
                f = net.logits(w, x)[:, later].repeat(views, 1)
                f, y = f / f.norm(dim=1, keepdim=True), y.repeat(views)
                near = (f @ f.T / temperature).exp() * (1 - torch.eye(len(f)).double())
                partner = (y[:, None] == y) & ~torch.eye(len(f), dtype=torch.bool)
                share = torch.where(partner, near / near.sum(1, keepdim=True), 1.0)
                return total - lam * (share.log().sum(1) / partner.sum(1)).mean()

            w = sgd.step(w, grad(loss, w))
        for key, z in stored.items():
            sample = seen.samples[key]
            h, true = net.logits(w, sample.x)[0], z[int(sample.y)]
            most = h[sorted(now)].max()
            scale = min(1.0, max(0.0, float(gamma * true / most))) if most > 0 else 1.0
            for c in now:
                z[c] = scale * h[c]
        h = net.logits(w, task.samples.x)
        stored.update({key: h[i].clone() for i, key in enumerate(task.samples.keys)})
        seen.add(task.samples)
        past = past | now
    return w, stored
