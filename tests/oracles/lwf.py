"""Learning without Forgetting (Li & Hoiem 2016, equations 2 and 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from .bare import Net, Sgd, Task, Training, grad


def lwf(
    net: Net, tasks: list[Task], training: Training, *, alpha: float, temperature: float
) -> Tensor:
    """Cross-entropy, and for each old head the cross-entropy to the network before the task.

    If tasks are told, each earlier task has a head of its own classes. Else the single head has the
    classes of all earlier experiences.
    """
    w, sgd = net.start, Sgd(training)
    heads: dict[int, set[int]] = {}
    for task in tasks:
        old = [sorted(classes) for classes in heads.values()]
        teacher = w
        for batch in training.batches(task):

            def loss(w: Tensor, batch=batch, old=old, teacher=teacher) -> Tensor:
                total = net.ce(w, batch)
                for head in old:
                    q = (net.logits(teacher, batch.x)[:, head] / temperature).softmax(1)
                    p = (net.logits(w, batch.x)[:, head] / temperature).softmax(1)
                    total = total - alpha * (q * torch.log(p)).sum(1).mean()
                return total

            w = sgd.step(w, grad(loss, w))
        head = -1 if task.number is None else task.number
        heads.setdefault(head, set()).update(task.samples.y.tolist())
    return w
