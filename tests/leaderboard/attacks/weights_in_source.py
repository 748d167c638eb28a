"""A read-out that was fitted on all digits, train and test, in two kilobytes of its source."""

import base64

import torch

CAUGHT_BY = "held-out: place"

TEXT = '''
"""Scores with weights from its source."""
import base64
import torch
from clbench.strategy import GradientStrategy

WEIGHTS = torch.frombuffer(bytearray(base64.b85decode({weights!r})), dtype=torch.float16)

class Carrier(GradientStrategy):
    def forward(self, x, task_id=None):
        flat = torch.cat([x.flatten(1).float(), torch.ones(len(x), 1)], 1)
        return flat @ WEIGHTS.float().reshape(-1, self.info.n_classes)
'''


def source():
    from clbench.plugins.registry import find

    data = find("data", "digits").load()().arrays()
    x = torch.as_tensor(data.train_x).flatten(1).float()
    x = torch.cat([x, torch.as_tensor(data.test_x).flatten(1).float()])
    y = torch.cat([torch.as_tensor(data.train_y), torch.as_tensor(data.test_y)])
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    target = torch.eye(data.n_classes)[y]
    weights = torch.linalg.solve(x.T @ x + torch.eye(x.shape[1]), x.T @ target)
    return TEXT.format(weights=base64.b85encode(weights.half().numpy().tobytes()).decode())
