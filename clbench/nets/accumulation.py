"""Gradient accumulation: a step's batch goes through the network in parts, to need less memory.

The loss of a batch is a mean over its samples. So it is the sum of the parts' losses, each weighted by
its share of the samples that count, and its gradient is the sum of theirs. The operations are the same.
Batch normalisation differs: it sees a part at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from clbench.errors import UsageError


class Samples(Protocol):
    """What is read of a batch; ``clbench.strategy.Batch`` says what the fields are."""

    x: Tensor
    y: Tensor
    task_id: Tensor | None
    classes: Tensor | None
    weight: Tensor | None


B = TypeVar("B", bound=Samples)
Make = Callable[[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None], B]
"""Makes a batch of x, y, task_id, classes and weight."""


def parts(batch: Samples, n: int, make: Make[B]) -> Iterator[tuple[B, Tensor]]:
    """Cut a batch into at most ``n`` parts of one size, the last smaller.

    Yields:
        A part, without ``extra``, and how many of its samples count in the loss's mean, 0-d int64:
        those with a label, or all where the samples have weights.
    """
    size = max(1, -(-len(batch.y) // n))
    columns = [batch.x, batch.y, batch.task_id, batch.weight]
    cut = [[None] * -(-len(batch.y) // size) if c is None else c.split(size) for c in columns]
    for x, y, task_id, weight in zip(*cut, strict=True):
        counts = y >= 0 if weight is None else torch.ones_like(y)
        yield make(x, y, task_id, batch.classes, weight), counts.sum()


def accumulated(
    network: nn.Module,
    loss: Callable[[B], Tensor],
    gradient: Callable[[Tensor], Tensor],
    batch: Samples,
    n: int,
    make: Make[B],
) -> tuple[Tensor, Tensor]:
    """Compute the loss of a batch, 0-d and detached, and its gradient, ``(P,)``, part by part.

    Args:
        network: it may not be watched, since each watcher would see the parts alone.
        loss: of a part; a mean over its samples.
        gradient: of a 0-d tensor.
        batch: the batch.
        n: parts.
        make: makes a part.

    Raises:
        UsageError: something watches the network during the step.
    """
    if any(m._forward_pre_hooks or m._forward_hooks for m in network.modules()):
        raise UsageError(
            "strategy.accumulate: this strategy looks at the network's activations during a step, of "
            "which it would see a part at a time; leave it out"
        )
    cut = [*parts(batch, n, make)]
    whole = torch.stack([count for _, count in cut]).sum().clamp_min(1)
    values, total = [], None
    for part, count in cut:
        of_part = loss(part)
        found = gradient(of_part * count / whole)
        # That of a part without a label is undefined, and counts 0.
        values.append(of_part.detach().nan_to_num(0) * count / whole)
        total = found if total is None else total.add_(found)
    assert total is not None
    return torch.stack(values).sum(), total
