"""GDumb (Prabhu et al. 2020): a balanced memory, and training from scratch on it."""

from __future__ import annotations

from collections import Counter, deque

from torch import Tensor

from .bare import Keys, Net, Seen, Sgd, Task, Training, grad
from .plain import cut


def shares(available: Counter[int], size: int) -> list[int]:
    """How many of each class a balanced memory holds, ascending: one place at a time, in turn."""
    held = dict.fromkeys(available, 0)
    for _ in range(min(size, available.total())):
        fewest = min((held[c], c) for c in available if held[c] < available[c])[1]
        held[fewest] += 1
    return sorted(held.values())


def gdumb(
    net: Net,
    tasks: list[Task],
    training: Training,
    fresh: list[Tensor],
    trained: list[list[Keys]],
    *,
    size: int,
) -> Tensor:
    """The weights after the training that follows the last experience.

    ``fresh`` has the weights that each training starts from, ``trained`` the keys of its batches.
    ``training.epochs`` are the passes over the memory.
    """
    w, seen = net.start, Seen(deque())
    for task, start, batches in zip(tasks, fresh, trained, strict=True):
        seen.add(task.samples)
        available = Counter(int(s.y) for s in seen.samples.values())
        n = min(size, len(seen.samples))
        epochs = cut(batches, training, n)
        memory = seen.take(epochs[0])
        assert sorted(Counter(memory.y.tolist()).values()) == [s for s in shares(available, n) if s]
        for epoch in epochs:
            assert sorted(epoch) == sorted(set(memory.keys))
        w, sgd = start, Sgd(training)
        for step, keys in enumerate(batches):
            batch = seen.take(keys)
            g = grad(lambda w, b=batch: net.ce(w, b), w)
            w = sgd.step(w, g, training.rate(step, len(batches)))
    return w
