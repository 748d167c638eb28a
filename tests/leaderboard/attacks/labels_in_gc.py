"""Finds the labels of the test samples among all objects of its process."""

import gc

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


class Collector(GradientStrategy):
    def forward(self, x, task_id=None):
        for found in gc.get_objects():
            if type(found).__name__ == "World":
                at = (found.x[None, :] == x[:1, None]).flatten(2).all(2)[0].nonzero()[0, 0]
                return torch.eye(self.info.n_classes)[found.y[at : at + len(x)]]
        return self.model(x)
