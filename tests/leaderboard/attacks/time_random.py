"""Trains with noise from the clock: an entry that is run until it is lucky."""

import time

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


class Lucky(GradientStrategy):
    def consolidate(self, task):
        noise = torch.Generator().manual_seed(time.time_ns())
        with torch.no_grad():
            self.weights.add_(torch.randn(self.weights.shape, generator=noise), alpha=0.1)
