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
    came: list[set[int]] = []

    def among(batch: Samples, of: set[int]) -> Tensor:
        return torch.tensor([c in of for c in range(classes)]).expand(len(batch.y), -1)

    for task in tasks:
        past, now = set().union(*came), set(task.samples.y.tolist())
        later = [c for c in range(classes) if c not in past | now]
        for new in training.batches(task):
            dark, labelled = (seen.recall(), seen.recall()) if past else (None, None)
            shown = seen.recall() if past and len(later) > 1 else None  # else no contrast

            def loss(w, new=new, draws=(dark, labelled, shown), sets=(past, now, later)) -> Tensor:
                (dark, labelled, shown), (past, now, later) = draws, sets
                h, x, y = net.logits(w, new.x), new.x, new.y
                total = losses(h, y, among(new, now)).mean()
                if dark is not None:
                    z = torch.stack([stored[key] for key in dark.keys])
                    total = total + alpha * ((net.logits(w, dark.x) - z) ** 2).mean()
                    old = net.logits(w, labelled.x)
                    total = total + beta * losses(old, labelled.y, among(labelled, past)).mean()
                    total = total + eta * over_past(h, sorted(past), sorted(now), margin)
                if not later:
                    return total
                gaps = [over(row, later, now, margin) for row in h]
                for b in (dark, labelled) if dark is not None else ():
                    rows = zip(net.logits(w, b.x), b.y.tolist(), strict=True)
                    gaps += [over(h, later, own_task(came, c), margin) for h, c in rows]
                total = total + eta * mean_positive(gaps)
                if len(later) < 2:
                    return total
                if shown is not None:
                    x, y = torch.cat([x, shown.x]), torch.cat([y, shown.y])
                f = net.logits(w, x)[:, later].repeat(views, 1)
                return total + lam * contrast(f, y.repeat(views), temperature)

            w = sgd.step(w, grad(loss, w))
        for key, z in stored.items():
            z[[*now, *later]] = capped(net, w, seen.samples[key], [*now, *later], z, gamma)
        seen.add(task.samples)
        for key, h in zip(task.samples.keys, net.logits(w, task.samples.x), strict=True):
            stored[key] = h.clone()
            if past:
                stored[key][[*past]] = capped(net, w, seen.samples[key], [*past], h, gamma)
        came.append(now)
    return w, stored


def contrast(f: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Khosla 2020, eq. 2, over all rows."""
    f = f / f.norm(dim=1, keepdim=True)
    near = (f @ f.T / temperature).exp() * (1 - torch.eye(len(f)).double())
    partner = (y[:, None] == y) & ~torch.eye(len(f), dtype=torch.bool)
    share = torch.where(partner, near / near.sum(1, keepdim=True), 1.0)
    return -(share.log().sum(1) / partner.sum(1)).mean()


def capped(net: Net, w: Tensor, sample: Samples, of: list[int], z: Tensor, gamma: float) -> Tensor:
    """The logits of other tasks' classes, scaled to a maximum of gamma times the true one of z."""
    part, true = net.logits(w, sample.x)[0, of], z[int(sample.y)]
    most = part.max()
    return part * (min(1.0, max(0.0, float(gamma * true / most))) if most > 0 else 1.0)


def over(row: Tensor, later: list[int], own: set[int], margin: float) -> Tensor:
    return row[later].max() + margin - row[sorted(own)].max()


def own_task(came: list[set[int]], c: int) -> set[int]:
    return next(of for of in came if c in of)


def over_past(h: Tensor, past: list[int], now: list[int], margin: float) -> Tensor:
    """Mammoth's constraint on past classes: of probabilities, those of the past as constants."""
    gaps = []
    for row in h:
        p = row[past + now].softmax(0)
        gaps.append(p[: len(past)].max().detach() + margin - p[len(past) :].max())
    return mean_positive(gaps)


def mean_positive(gaps: list[Tensor]) -> Tensor:
    positive = [gap for gap in gaps if gap > 0]
    return sum(positive) / len(positive) if positive else torch.zeros(())
