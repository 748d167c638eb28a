"""A strategy on a small transformer over three tasks, for tests that look into it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from small import pool, run
from torch import Tensor, nn

from clbench import seeding
from clbench.seeding import Axis

IMAGES = pool(n_classes=6, n_train=16, n_test=4, shape=(8, 8))
STREAM = ("scenario=class_incremental", "scenario.n_tasks=3")


class Learner:
    """A strategy in float64 over three tasks of two classes, and its experiences."""

    def __init__(
        self, strategy: str, *words: str, tune: str = "head", model: str = "vit_tiny"
    ) -> None:
        given = (f"strategy={strategy}", f"model={model}", f"model.tune={tune}")
        self.run = run(*STREAM, *given, "strategy.batch_size=8", *words, on=IMAGES)
        self.strategy: Any = self.run.strategy().double()
        self.tasks = [self.run.stream.experience(t) for t in range(3)]

    def learn(self, *numbers: int) -> None:
        for t in numbers:
            seeding.seed_all(0, Axis.LEARN, t)
            self.strategy.learn(self.tasks[t])
            self.strategy.prepare()
        self.strategy.eval()

    def scores(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = self.strategy(x)
        return found


WORLD = torch.as_tensor(np.stack([*np.random.default_rng(0).integers(0, 256, (5, 8, 8))])).byte()


def tokens(network: nn.Module, x: Tensor) -> Tensor:
    """Features of a network whose last layer is the output layer, one sample at a time."""
    body = nn.Sequential(*[*network.children()][:-1])
    with torch.no_grad():
        return torch.cat([body.eval()(one[None]) for one in x])
