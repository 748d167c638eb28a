"""Keeps every training sample in an attribute that is no buffer."""

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


class Hoarder(GradientStrategy):
    def begin(self, task):
        self.seen = [*getattr(self, "seen", ()), (task.x, task.y)]
        return task

    def forward(self, x, task_id=None):
        seen = getattr(self, "seen", ())
        if not seen:
            return self.model(x)
        near = torch.cdist(x.flatten(1).float(), torch.cat([a.flatten(1) for a, _ in seen]).float())
        return torch.eye(self.info.n_classes)[torch.cat([y for _, y in seen])[near.argmin(1)]]
