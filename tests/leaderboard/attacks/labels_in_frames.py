"""Reads the labels of the test samples from the frames of its callers."""

import sys

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


class Spy(GradientStrategy):
    def forward(self, x, task_id=None):
        frame = sys._getframe()
        while frame is not None:
            world, part = frame.f_locals.get("world"), frame.f_locals.get("part")
            if world is not None and part is not None:
                return torch.eye(self.info.n_classes)[world.y[part]]
            frame = frame.f_back
        return self.model(x)
