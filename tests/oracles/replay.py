"""ER, ER-ACE, MIR, A-GEM, DER and DER++, told which stored samples were drawn at each step.

A sample can be drawn from the step after its own (A-GEM: from the experience after its own).
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from .bare import Keys, Net, Seen, Sgd, Task, Training, grad, join, losses


def er(net: Net, tasks: list[Task], training: Training, drawn: deque[Keys]) -> Tensor:
    """Chaudhry et al. 2019 (tiny episodic memories): the mean loss of new and replayed samples."""
    w, sgd, seen = net.start, Sgd(training), Seen(drawn)
    for task in tasks:
        for new in training.batches(task):
            both = join(new, seen.recall()) if seen.samples else new
            w = sgd.step(w, grad(lambda w, b=both: net.ce(w, b), w))
            seen.add(new)
    return w


def er_ace(net: Net, tasks: list[Task], training: Training, drawn: deque[Keys]) -> Tensor:
    """Caccia et al. 2022: new samples among the classes of their batch, replayed among all seen."""
    w, sgd, seen, classes = net.start, Sgd(training), Seen(drawn), set()
    for task in tasks:
        for new in training.batches(task):
            here = set(new.y.tolist())
            classes = classes | here
            old = seen.recall() if seen.samples else None

            def loss(w: Tensor, new=new, old=old, here=here, classes=classes) -> Tensor:
                of = torch.arange(new.open.shape[1])
                among = torch.isin(of, torch.tensor(sorted(here)))
                total = losses(net.logits(w, new.x), new.y, new.open & among).mean()
                if old is None:
                    return total
                among = torch.isin(of, torch.tensor(sorted(classes)))
                return total + losses(net.logits(w, old.x), old.y, old.open & among).mean()

            w = sgd.step(w, grad(loss, w))
            seen.add(new)
    return w


def mir(net: Net, tasks: list[Task], training: Training, drawn: deque[Keys], *, n: int) -> Tensor:
    """Aljundi et al. 2019: of the drawn candidates, the n that a virtual step would hurt most."""
    w, sgd, seen = net.start, Sgd(training), Seen(drawn)
    for task in tasks:
        for new in training.batches(task):
            both = new
            if seen.samples:
                pool = seen.recall()
                assert len(set(pool.keys)) == len(pool.keys)
                virtual = w - training.lr * grad(lambda w, b=new: net.ce(w, b), w)
                after, before = (
                    losses(net.logits(at, pool.x), pool.y, pool.open) for at in (virtual, w)
                )
                worst = (after - before).argsort(descending=True)[:n].tolist()
                both = join(new, pool.at(worst))
            w = sgd.step(w, grad(lambda w, b=both: net.ce(w, b), w))
            seen.add(new)
    return w


def agem(net: Net, tasks: list[Task], training: Training, drawn: deque[Keys]) -> Tensor:
    """Chaudhry et al. 2019 (A-GEM), equation 11; the memory has earlier experiences only."""
    w, sgd, seen = net.start, Sgd(training), Seen(drawn)
    for task in tasks:
        for new in training.batches(task):
            g = grad(lambda w, b=new: net.ce(w, b), w)
            if seen.samples:
                old = seen.recall()
                m = grad(lambda w, b=old: net.ce(w, b), w)
                if float(g @ m) < 0:
                    g = g - (g @ m) / (m @ m) * m
            w = sgd.step(w, g)
        seen.add(task.samples)
    return w


def der(
    net: Net,
    tasks: list[Task],
    training: Training,
    drawn: deque[Keys],
    *,
    alpha: float,
    beta: float | None,
) -> Tensor:
    """Buzzega et al. 2020, equation 6, and equation 7 where ``beta`` is not None.

    A sample is stored with the logits of the step that trained on it, before the update. A later visit
    to it renews them; of one experience's epochs, only the first and the last do (a deviation of ours).
    The squared distance is a mean over samples and classes.
    """
    w, sgd, seen = net.start, Sgd(training), Seen(drawn)
    stored: dict[int, Tensor] = {}
    for task in tasks:
        visited = 0
        for new in training.batches(task):
            epoch, visited = visited // len(task.samples.y), visited + len(new.y)
            dark = seen.recall() if seen.samples else None
            labelled = seen.recall() if seen.samples and beta is not None else None
            known = None if dark is None else torch.stack([stored[key] for key in dark.keys])

            def loss(w: Tensor, new=new, dark=dark, labelled=labelled, known=known) -> Tensor:
                total = net.ce(w, new)
                if dark is not None:
                    gap = (net.logits(w, dark.x) - known)[dark.open]
                    total = total + alpha * gap.square().mean()
                if labelled is not None:
                    total = total + beta * net.ce(w, labelled)
                return total

            g, logits = grad(loss, w), net.logits(w, new.x)
            w = sgd.step(w, g)
            seen.add(new)
            if epoch in (0, training.epochs - 1):
                stored.update(zip(new.keys, logits, strict=True))
    return w
