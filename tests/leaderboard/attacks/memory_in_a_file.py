"""Keeps every training sample in a file, which its predictions read."""

import tempfile
from pathlib import Path

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"
KEPT = Path(tempfile.gettempdir()) / "clbench-attack-memory.pt"


class Hoarder(GradientStrategy):
    def begin(self, task):
        seen = torch.load(KEPT) if KEPT.exists() else []
        torch.save([*seen, (task.x, task.y)], KEPT)
        return task

    def forward(self, x, task_id=None):
        if not KEPT.exists():
            return self.model(x)
        seen = torch.load(KEPT)
        near = torch.cdist(x.flatten(1).float(), torch.cat([a.flatten(1) for a, _ in seen]).float())
        return torch.eye(self.info.n_classes)[torch.cat([y for _, y in seen])[near.argmin(1)]]
