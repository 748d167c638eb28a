"""Remembers the test samples that it is asked about: its answers depend on how often it was asked."""

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


class Transductive(GradientStrategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("asked", torch.zeros((), dtype=torch.long))

    def forward(self, x, task_id=None):
        self.asked += 1
        return self.model(x).roll(int(self.asked) % self.info.n_classes, 1)
