"""EWC, SI, MAS and RWalk: a quadratic penalty on the move of each weight.

The penalty is ``lam/2 sum_i I_i (w_i - a_i)^2``. ``explicit``: its gradient is added to that of the
loss. ``proximal``: after the step of SGD the weights go to
``argmin_u lam/2 sum_i I_i (u_i - a_i)^2 + |u - w|^2 / (2 lr / (1 - momentum))``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .bare import Net, Samples, Sgd, Task, Training, grad

Found = tuple[Tensor, Tensor]
"""Final weights and importances, ``(P,)`` each."""
Penalties = list[Found]
"""Importances and anchor of each term."""


class Holder:
    """Takes SGD's steps under a sum of penalties."""

    def __init__(self, training: Training, lam: float, step: str) -> None:
        self.sgd, self.lam, self.step = Sgd(training), lam, step
        self.rate = training.lr / (1 - training.momentum)

    def move(self, w: Tensor, g: Tensor, penalties: Penalties) -> Tensor:
        if self.step == "explicit":
            for importance, anchor in penalties:
                g = g + self.lam * importance * (w - anchor)
            return self.sgd.step(w, g)
        above, below = self.sgd.step(w, g), torch.ones_like(w)
        for importance, anchor in penalties:
            above = above + self.rate * self.lam * importance * anchor
            below = below + self.rate * self.lam * importance
        return above / below


def walk(
    net: Net, task: Task, training: Training, holder: Holder, w: Tensor, penalties: Penalties
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of each step: the gradient of the loss alone, the weights before and those after."""
    for batch in training.batches(task):
        g = grad(lambda w, b=batch: net.ce(w, b), w)
        after = holder.move(w, g, penalties)
        yield g, w, after
        w = after


def fisher(net: Net, w: Tensor, samples: Samples) -> Tensor:
    """Mean over x of the sum over classes c of p(c|x) (d log p(c|x) / dw)^2."""
    total = torch.zeros_like(w)
    for x, opened in zip(samples.x, samples.open, strict=True):
        for c in opened.nonzero().flatten().tolist():

            def log_p(w: Tensor, x: Tensor = x, o: Tensor = opened, c: int = c) -> Tensor:
                return net.logits(w, x[None])[0].masked_fill(~o, -torch.inf).log_softmax(0)[c]

            total += log_p(w).exp() * grad(log_p, w).square()
    return total / len(samples.y)


def ewc(
    net: Net,
    tasks: list[Task],
    training: Training,
    *,
    lam: float,
    mode: str,
    gamma: float,
    step: str,
    n: int,
) -> Found:
    """Kirkpatrick et al. 2017, equation 3 (separate); online with decay: Schwarz et al. 2018."""
    w, holder, terms = net.start, Holder(training, lam, step), []
    running = torch.zeros_like(w)
    for task in tasks:
        for _, _, after in walk(net, task, training, holder, w, terms):
            w = after
        new = fisher(net, w, task.samples.at(list(range(min(n, len(task.samples.y))))))
        running = gamma * running + new
        terms = [(running, w)] if mode == "online" else [*terms, (new, w)]
    return w, running


def si(
    net: Net, tasks: list[Task], training: Training, *, lam: float, xi: float, step: str
) -> Found:
    """Zenke et al. 2017, equations 3 to 5; c = lam/2."""
    w, holder, terms = net.start, Holder(training, lam, step), []
    omega = torch.zeros_like(w)
    for task in tasks:
        start, path = w, torch.zeros_like(w)
        for g, before, after in walk(net, task, training, holder, w, terms):
            path = path - g * (after - before)
            w = after
        omega = omega + path.clamp(min=0) / ((w - start) ** 2 + xi)
        terms = [(omega, w)]
    return w, omega


def mas(net: Net, tasks: list[Task], training: Training, *, lam: float, step: str, n: int) -> Found:
    """Aljundi et al. 2018, equations 2 and 3, with the squared l2 norm of section 4.1."""
    w, holder, terms = net.start, Holder(training, lam, step), []
    omega = torch.zeros_like(w)
    for task in tasks:
        for _, _, after in walk(net, task, training, holder, w, terms):
            w = after
        first = task.samples.at(list(range(min(n, len(task.samples.y)))))
        for x, opened in zip(first.x, first.open, strict=True):
            g = grad(lambda w, x=x, o=opened: net.logits(w, x[None])[0][o].square().sum(), w)
            omega = omega + g.abs() / len(first.y)
        terms = [(omega, w)]
    return w, omega


def rwalk(
    net: Net,
    tasks: list[Task],
    training: Training,
    *,
    lam: float,
    alpha: float,
    window: int,
    epsilon: float,
    step: str,
) -> Found:
    """Chaudhry et al. 2018, equations 6 to 8."""
    w, holder, terms = net.start, Holder(training, lam, step), []
    f, score = torch.zeros_like(w), None
    importance = torch.zeros_like(w)
    for task in tasks:
        steps = list(walk(net, task, training, holder, w, terms))
        new = torch.zeros_like(w)
        for start in range(0, len(steps), window):
            part = steps[start : start + window]
            fall = torch.zeros_like(w)
            for g, before, after in part:
                f = alpha * g**2 + (1 - alpha) * f
                fall = fall - g * (after - before)
            new = new + fall / (f * (part[-1][2] - part[0][1]) ** 2 / 2 + epsilon)
        w = steps[-1][2]
        new = new.clamp(min=0)
        score = new if score is None else (score + new) / 2
        importance = f / f.max() + score / score.max()
        terms = [(importance, w)]
    return w, importance
