"""iCaRL, WA and BiC: training on new samples and exemplars together, told the order of the samples.

Which exemplars there are is found here: herding by numpy on the hidden layer's activations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .bare import Keys, Net, Samples, Seen, Sgd, Task, Training, grad
from .plain import cut

Loss = Callable[[Tensor, Tensor, Samples, list[int], list[int]], Tensor]
"""Of the weights, the teacher's weights, a batch, the classes seen, and the old ones of them."""


def herd(features: np.ndarray, n: int) -> list[int]:
    """Rebuffi et al. 2017, algorithm 4, on features of length one."""
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean, chosen = z.mean(0), []
    for k in range(1, n + 1):
        gap = [
            np.inf if i in chosen else np.linalg.norm(mean - (z[i] + z[chosen].sum(0)) / k)
            for i in range(len(z))
        ]
        chosen.append(int(np.argmin(gap)))
    return chosen


def hidden(net: Net, w: Tensor, x: Tensor) -> np.ndarray:
    a, b = net.widths[:2]
    return (x @ w[: a * b].view(b, a).T + w[a * b : a * b + b]).clamp(min=0).numpy()


class Lists:
    """The herding list of each class, cut to equal shares."""

    def __init__(self, size: int) -> None:
        self.size, self.of = size, {}  # type: ignore[var-annotated]

    def held(self) -> Keys:
        return [key for keys in self.of.values() for key in keys]

    def renew(self, net: Net, w: Tensor, task: Samples) -> None:
        for c in sorted(set(task.y.tolist())):
            own = task.at([i for i, y in enumerate(task.y.tolist()) if y == c])
            order = herd(hidden(net, w, own.x), min(len(own.keys), self.size))
            self.of[c] = [own.keys[i] for i in order]

    def cut_to(self, trained: Keys, new: Keys) -> None:
        """Cut to what was trained on: a first part of each list, and equal shares."""
        held = set(trained) - set(new)
        for c, keys in self.of.items():
            n = sum(key in held for key in keys)
            assert set(keys[:n]) <= held, "exemplars are not the first of the herding list"
            self.of[c] = keys[:n]
        assert set(self.held()) == held
        sizes = [len(keys) for keys in self.of.values()]
        assert not sizes or max(sizes) - min(sizes) <= 1
        assert sum(sizes) == self.size or not sizes


def softened(logits: Tensor, classes: list[int], t: float) -> Tensor:
    return (logits[:, classes] / t).log_softmax(1)


def ce(logits: Tensor, y: Tensor, seen: list[int]) -> Tensor:
    place = torch.tensor([seen.index(c) for c in y.tolist()])
    return -softened(logits, seen, 1.0)[torch.arange(len(y)), place].mean()


def kd(logits: Tensor, taught: Tensor, old: list[int], t: float = 2.0) -> Tensor:
    return -(softened(taught, old, t).exp() * softened(logits, old, t)).sum(1).mean()


def icarl(net: Net, *, form: str) -> Loss:
    def softmaxes(w: Tensor, before: Tensor, b: Samples, seen: list[int], old: list[int]) -> Tensor:
        loss = ce(net.logits(w, b.x), b.y, seen)
        taught = net.logits(before, b.x)
        return loss + kd(net.logits(w, b.x), taught, old) if old else loss

    def sigmoids(w: Tensor, before: Tensor, b: Samples, seen: list[int], old: list[int]) -> Tensor:
        g, q = net.logits(w, b.x).sigmoid(), net.logits(before, b.x).sigmoid()
        total = torch.zeros(len(b.y), dtype=g.dtype)
        for c in seen:
            t = q[:, c] if c in old else (b.y == c).to(g.dtype)
            total = total - t * g[:, c].log() - (1 - t) * (1 - g[:, c]).log()
        return total.mean()

    return sigmoids if form == "bce" else softmaxes


def wa(net: Net) -> Loss:
    def loss(w: Tensor, before: Tensor, b: Samples, seen: list[int], old: list[int]) -> Tensor:
        part = len(old) / len(seen)
        found = (1 - part) * ce(net.logits(w, b.x), b.y, seen)
        if not old:
            return found
        return found + part * kd(net.logits(w, b.x), net.logits(before, b.x), old)

    return loss


def aligned(net: Net, w: Tensor, seen: list[int], old: list[int]) -> Tensor:
    """WA, equations 8 and 9."""
    w, (d, n) = w.clone(), net.widths[-2:]
    rows = w[len(w) - n - n * d : len(w) - n].view(n, d)
    new = [c for c in seen if c not in old]
    rows[new] *= rows[old].norm(dim=1).mean() / rows[new].norm(dim=1).mean()
    return w


def at(
    loss: Loss, before: Tensor, b: Samples, seen: list[int], old: list[int], w: Tensor
) -> Tensor:
    return loss(w, before, b, seen, old)


def learn(
    net: Net,
    tasks: list[Task],
    training: Training,
    trained: list[list[Keys]],
    loss: Loss,
    *,
    size: int,
    align: bool = False,
) -> Tensor:
    """The weights at the end, of a stream whose classes come once."""
    w, sgd, lists, seen_samples = net.start, Sgd(training), Lists(size), Seen(None)  # type: ignore[arg-type]
    old: list[int] = []
    for task, batches in zip(tasks, trained, strict=True):
        seen_samples.add(task.samples)
        before, seen = w, sorted({*old, *task.samples.y.tolist()})
        epochs = cut(batches, training, len({key for keys in batches for key in keys}))
        lists.cut_to(epochs[0], task.samples.keys)
        for keys in epochs:
            assert sorted(keys) == sorted([*task.samples.keys, *lists.held()])
        for keys in batches:
            b = seen_samples.take(keys)
            w = sgd.step(w, grad(partial(at, loss, before, b, seen, old), w))
        if align and old:
            w = aligned(net, w, seen, old)
        lists.renew(net, w, task.samples)
        old = seen
    return w
