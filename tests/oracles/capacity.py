"""PackNet, GPM and HAT on one hidden layer."""

from __future__ import annotations

import torch
from torch import Tensor

from .bare import Net, Samples, Sgd, Task, Training, grad, losses


def packnet(
    net: Net, tasks: list[Task], training: Training, *, retrain: int, n_tasks: int
) -> tuple[Tensor, Tensor]:
    """Mallya & Lazebnik 2018, section 3: weights, and the scores of each task's samples at the end."""
    w, sgd = net.start.clone(), Sgd(training)
    d, hidden, classes = net.widths
    first, bias = d * hidden, hidden
    owner = torch.full((first,), len(tasks))
    for t, task in enumerate(tasks):
        mine = torch.zeros(len(w), dtype=torch.bool)
        mine[:first] = owner == len(tasks)
        mine[first : first + bias] = t == 0
        for c in task.samples.y.unique().tolist():
            mine[first + bias + c * hidden : first + bias + (c + 1) * hidden] = True
            mine[first + bias + classes * hidden + c] = True
        for epoch, order in enumerate(task.orders[: training.epochs + retrain]):
            if epoch == training.epochs:
                free = mine[:first].nonzero().squeeze(1)
                n = round((1 - 1 / (n_tasks - t)) * len(free))
                dropped = free[w[free].abs().argsort()[:n]]
                w[dropped], mine[dropped] = 0, False
            for start in range(0, len(order), training.batch_size):
                batch = task.samples.at(order[start : start + training.batch_size])
                g = grad(lambda w, b=batch: net.ce(w, b), w) * mine
                w = torch.where(mine, sgd.step(w, g), w)
        owner[mine[:first]] = t
    scores = []
    for t, task in enumerate(tasks):
        theirs = w.clone()
        theirs[:first][owner > t] = 0
        scores.append(net.logits(theirs, task.samples.x))
    return w, torch.cat(scores)


def gpm(
    net: Net, tasks: list[Task], training: Training, *, threshold: float, rise: float, head: bool
) -> Tensor:
    """Saha et al. 2021, equations 7 to 9, with a one beside each input for the bias."""
    w, sgd = net.start, Sgd(training)
    d, hidden, classes = net.widths
    sizes = [(hidden, d), (classes, hidden)]
    bases = [torch.zeros(n + 1, 0, dtype=torch.float64) for _, n in sizes]
    for t, task in enumerate(tasks):
        for batch in training.batches(task):
            g, at = grad(lambda w, b=batch: net.ce(w, b), w), 0
            for (rows, n), m in list(zip(sizes, bases, strict=True))[: 2 if head else 1]:
                end = at + rows * n + rows
                matrix, bias = g[at : at + rows * n].view(rows, n), g[at + rows * n : end]
                both = torch.cat([matrix, bias[:, None]], 1)
                both = both - both @ m @ m.T
                g[at:end] = torch.cat([both[:, :-1].flatten(), both[:, -1]])
                at = end
            w = sgd.step(w, g)
        x = task.samples.x
        h = (x @ w[: d * hidden].view(hidden, d).T + w[d * hidden :][:hidden]).clamp(min=0)
        for number, z in enumerate((x, h)):
            m = bases[number]
            r = torch.cat([z, torch.ones(len(z), 1)], 1).T
            inside = m @ (m.T @ r)
            u, s, _ = torch.linalg.svd(r - inside)
            k, goal = 0, min(threshold + rise * t, 1) * r.square().sum()
            while inside.square().sum() + s[:k].square().sum() < goal:
                k += 1
            bases[number] = torch.cat([m, u[:, :k]], 1)
    return w


def hat(
    start: Tensor,
    widths: list[int],
    tasks: list[Task],
    training: Training,
    *,
    n_tasks: int,
    c: float,
    s_max: float,
) -> Tensor:
    """Serra et al. 2018, equations 1 to 6. The vector has the embeddings first."""
    v, sgd = start, Sgd(training)
    d, hidden, classes = widths
    n_e, first = n_tasks * hidden, d * hidden
    used = torch.zeros(hidden, dtype=torch.float64)

    def gate(v: Tensor, number: int, s: float) -> Tensor:
        return 1 / (1 + (-s * v[number * hidden : (number + 1) * hidden]).exp())

    def loss(v: Tensor, batch: Samples, number: int, s: float) -> Tensor:
        w, a = v[n_e:], gate(v, number, s)
        h = (batch.x @ w[:first].view(hidden, d).T + w[first : first + hidden]).clamp(min=0) * a
        out = w[first + hidden :]
        logits = h @ out[:-classes].view(classes, hidden).T + out[-classes:]
        free = 1 - used
        return losses(logits, batch.y, batch.open).mean() + c * (a * free).sum() / free.sum()

    for task in tasks:
        assert task.number is not None
        batches = list(training.batches(task))
        per_epoch = len(batches) // training.epochs
        for step, batch in enumerate(batches):
            b = step % per_epoch
            s = 1 / s_max + (s_max - 1 / s_max) * b / (per_epoch - 1)
            g = grad(lambda v, x=batch, s=s, n=task.number: loss(v, x, n, s), v)
            e = v[:n_e]
            g[:n_e] *= s_max * ((s * e).clamp(-50, 50).cosh() + 1) / (s * (e.cosh() + 1))
            g[n_e : n_e + first] *= (1 - used).repeat_interleave(d)
            g[n_e + first : n_e + first + hidden] *= 1 - used
            v = sgd.step(v, g)
            v = torch.cat([v[:n_e].clamp(-6, 6), v[n_e:]])
        used = torch.maximum(used, gate(v, task.number, s_max))
    return v
