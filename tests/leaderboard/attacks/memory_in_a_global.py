"""Keeps every training sample in a list of its module, where no state has it."""

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"
SEEN = []


class Hoarder(GradientStrategy):
    def begin(self, task):
        SEEN.append((task.x, task.y))
        return task

    def forward(self, x, task_id=None):
        if not SEEN:
            return self.model(x)
        near = torch.cdist(x.flatten(1).float(), torch.cat([a.flatten(1) for a, _ in SEEN]).float())
        return torch.eye(self.info.n_classes)[torch.cat([y for _, y in SEEN])[near.argmin(1)]]
