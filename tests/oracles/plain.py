"""Fine-tuning and joint training."""

from __future__ import annotations

from collections import deque

from torch import Tensor

from .bare import Keys, Net, Seen, Sgd, Task, Training, grad


def naive(net: Net, tasks: list[Task], training: Training) -> Tensor:
    """SGD on each experience as it comes."""
    w, sgd = net.start, Sgd(training)
    for task in tasks:
        batches = list(training.batches(task))
        for step, batch in enumerate(batches):
            g = grad(lambda w, b=batch: net.ce(w, b), w)
            w = sgd.step(w, g, training.rate(step, len(batches)))
    return w


def joint(
    net: Net,
    tasks: list[Task],
    training: Training,
    trained: list[list[Keys]],
    *,
    matched: bool,
    starts: list[Tensor] | None = None,
) -> Tensor:
    """Train on the union of all samples so far, each under its own label and its own task.

    ``trained`` has the keys of every batch of every experience. An epoch is the whole union in a new
    order or, if ``matched``, a new subset of it, as large as the experience. ``starts`` has the fresh
    weights that each training starts from; None: it goes on from those that the last one left.
    """
    w, sgd, union = net.start, Sgd(training), Seen(deque())
    for t, (task, batches) in enumerate(zip(tasks, trained, strict=True)):
        if starts is not None:
            assert t == 0 or (w - starts[t]).abs().max() > 0.1, "went on from the last weights"
            w, sgd = starts[t], Sgd(training)
        union.add(task.samples)
        size = len(task.samples.y) if matched else len(union.samples)
        epochs = cut(batches, training, size)
        for epoch in epochs:
            assert len(set(epoch)) == size
            assert set(epoch) <= set(union.samples)
        chosen = {frozenset(epoch) if matched else tuple(epoch) for epoch in epochs}
        varies = not matched or size < len(union.samples)
        assert len(chosen) == (training.epochs if varies else 1)
        for keys in batches:
            batch = union.take(keys)
            w = sgd.step(w, grad(lambda w, b=batch: net.ce(w, b), w))
    return w


def cut(batches: list[Keys], training: Training, size: int) -> list[Keys]:
    """The keys of each epoch, of ``size`` samples in full batches but the last."""
    each = [training.batch_size] * (size // training.batch_size)
    each += [size % training.batch_size] if size % training.batch_size else []
    assert [len(keys) for keys in batches] == each * training.epochs
    parts = [batches[i : i + len(each)] for i in range(0, len(batches), len(each))]
    return [[key for keys in part for key in keys] for part in parts]
