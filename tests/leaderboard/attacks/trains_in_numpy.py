"""Trains outside torch, where no operation is counted: cheap, says its record."""

import numpy as np
import torch

from clbench.strategy import Strategy

CAUGHT_BY = "no FLOPs rank"
IS_SHOWN = True


class Hidden(Strategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        width = int(np.prod(info.input_shape))
        self.register_buffer("weights", torch.zeros(width, info.n_classes, dtype=torch.double))

    def learn(self, task):
        x = task.x.flatten(1).numpy().astype(float) * self.info.scale
        y = np.eye(self.info.n_classes)[task.y.numpy()]
        weights = self.weights.numpy()
        for _ in range(5):
            weights += 0.01 * x.T @ (y - x @ weights) / len(x)

    def forward(self, x, task_id=None):
        return x.flatten(1).double() @ self.weights
