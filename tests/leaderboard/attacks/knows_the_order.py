"""Finds the root seed that it runs under, and with it the order in which test samples come."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clbench import seeding
from clbench.seeding import Axis
from clbench.strategy import GradientStrategy

CAUGHT_BY = "held-out: place"


class Order(GradientStrategy):
    """Trains like naive; answers with the place of each sample among those sorted by class."""

    def __init__(self, info, config, build_model) -> None:
        mine = torch.initial_seed()
        self.root = next((s for s in range(1000) if seeding.integer(s, Axis.MODEL) == mine), None)
        super().__init__(info, config, build_model)
        self.at, self.n = 0, 355

    def train(self, mode: bool = True):
        self.at = 0
        return super().train(mode)

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        scores = self.model(x)
        if self.training or self.root is None:
            return scores
        k = self.info.n_classes
        mix = seeding.generator(self.root, Axis.EVALUATE, 0).permutation(self.n)
        place = mix[self.at : self.at + len(x)]
        self.at += len(x)
        return torch.eye(k)[torch.as_tensor(np.minimum(place * k // self.n, k - 1))]
