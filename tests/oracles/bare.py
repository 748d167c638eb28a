"""What every loop shares: samples, a bare network of one vector, cross-entropy and SGD."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Keys = list[int]


@dataclass(frozen=True)
class Samples:
    """Samples in float64, in the unit range."""

    keys: Keys
    x: Tensor
    """``(n, d)``"""
    y: Tensor
    """``(n,)`` int64"""
    open: Tensor
    """``(n, C)`` bool: the classes that each sample may have; all where no task is told."""

    def at(self, index: list[int]) -> Samples:
        return Samples(
            [self.keys[i] for i in index], self.x[index], self.y[index], self.open[index]
        )


def join(*parts: Samples) -> Samples:
    keys = [key for part in parts for key in part.keys]
    x, y, opened = (torch.cat([getattr(p, name) for p in parts]) for name in ("x", "y", "open"))
    return Samples(keys, x, y, opened)


@dataclass(frozen=True)
class Task:
    """One experience: its samples as delivered, and the order of every epoch."""

    samples: Samples
    orders: list[list[int]]
    number: int | None
    """The task that is told; None where none is."""


@dataclass(frozen=True)
class Net:
    """A perceptron with ReLU, as a function of one vector of weights."""

    start: Tensor
    """``(P,)``: the initial weights; of each layer the matrix, then the bias."""
    widths: list[int]

    def logits(self, w: Tensor, x: Tensor) -> Tensor:
        at, layers = 0, list(zip(self.widths, self.widths[1:], strict=False))
        for number, (a, b) in enumerate(layers):
            matrix, bias = w[at : at + a * b].view(b, a), w[at + a * b : at + a * b + b]
            at += a * b + b
            x = x @ matrix.T + bias
            x = x if number + 1 == len(layers) else x.clamp(min=0)
        return x

    def ce(self, w: Tensor, batch: Samples) -> Tensor:
        return losses(self.logits(w, batch.x), batch.y, batch.open).mean()


def losses(logits: Tensor, y: Tensor, opened: Tensor) -> Tensor:
    """``(n,)``: -log p(y) under the softmax over the open classes."""
    logits = logits.masked_fill(~opened, -torch.inf)
    return logits.logsumexp(1) - logits.gather(1, y[:, None]).squeeze(1)


def grad(function: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    w = w.clone().requires_grad_()
    return torch.autograd.grad(function(w), w)[0]


@dataclass(frozen=True)
class Training:
    """How every loop trains."""

    lr: float = 0.1
    momentum: float = 0.0
    epochs: int = 1
    batch_size: int = 32
    clip_norm: float | None = None
    schedule: str = "constant"
    warmup: int = 0

    def batches(self, task: Task) -> Iterator[Samples]:
        for order in task.orders[: self.epochs]:
            for start in range(0, len(order), self.batch_size):
                yield task.samples.at(order[start : start + self.batch_size])

    def rate(self, step: int, n_steps: int) -> float:
        warm = self.warmup * n_steps // self.epochs
        if step < warm:
            return self.lr * (step + 1) / warm
        falls, part = self.schedule == "cosine", (step - warm) / (n_steps - warm)
        return self.lr * (1 + math.cos(math.pi * part)) / 2 if falls else self.lr


class Sgd:
    """SGD with momentum: v = m v + g, w = w - lr v, with the norm of g clipped before."""

    def __init__(self, training: Training) -> None:
        self.training, self.v = training, torch.zeros(())

    def step(self, w: Tensor, g: Tensor, lr: float | None = None) -> Tensor:
        most = self.training.clip_norm
        if most is not None:  # as torch.nn.utils.clip_grad_norm_ does
            g = g * min(1.0, most / (float(g.norm()) + 1e-6))
        self.v = self.training.momentum * self.v + g
        return w - (self.training.lr if lr is None else lr) * self.v


class Seen:
    """Every sample that was trained on, by key; it is asked for those that a strategy drew."""

    def __init__(self, drawn: deque[Keys]) -> None:
        self.samples: dict[int, Samples] = {}
        self.drawn = drawn

    def add(self, batch: Samples) -> None:
        self.samples.update({key: batch.at([i]) for i, key in enumerate(batch.keys)})

    def take(self, keys: Keys) -> Samples:
        unseen = [key for key in keys if key not in self.samples]
        assert not unseen, f"{len(unseen)} of {len(keys)} drawn samples were not trained on before"
        return join(*(self.samples[key] for key in keys))

    def recall(self) -> Samples:
        """The next draw."""
        return self.take(self.drawn.popleft())
