"""Trains with noise from the number of its process."""

import os

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


class Numbered(GradientStrategy):
    def consolidate(self, task):
        noise = torch.Generator().manual_seed(os.getpid())
        with torch.no_grad():
            self.weights.add_(torch.randn(self.weights.shape, generator=noise), alpha=0.1)
