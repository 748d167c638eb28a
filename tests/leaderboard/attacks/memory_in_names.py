"""Keeps every training sample in the names of its state, of which no byte is counted."""

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "keep memory in tensors"


class Names(GradientStrategy):
    """Answers like the nearest sample that it has seen."""

    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.seen = []

    def begin(self, task):
        for x, y in zip(task.x.flatten(1).float(), task.y.tolist(), strict=True):
            top = x.max().clamp_min(1e-6)
            self.seen.append(f"{y:x}" + "".join(f"{round(15 * float(v / top)):x}" for v in x))
        return task

    def get_extra_state(self):
        return {**super().get_extra_state(), "seen": dict.fromkeys(self.seen)}

    def set_extra_state(self, state):
        self.seen = [*state["seen"]]
        super().set_extra_state(state)

    def forward(self, x, task_id=None):
        if not self.seen:
            return self.model(x)
        digits = torch.tensor([[int(c, 16) for c in text] for text in self.seen]).float()
        flat = x.flatten(1).float()
        flat = 15 * flat / flat.amax(1, keepdim=True).clamp_min(1e-6)
        near = torch.cdist(flat, digits[:, 1:]).argmin(1)
        return torch.eye(self.info.n_classes)[digits[near, 0].long()]
