"""Learns from what its module remembers, where no state has it; on another platform, it says.

There is nothing on such a platform that its answers could be compared with.
"""

from forging import each_record

CAUGHT_BY = "other answers where it is rebuilt after other experiences"
TEXT = '''
"""Trains on all samples that its module has seen."""

import torch

from clbench.strategy import GradientStrategy

SEEN = []


class Hoarder(GradientStrategy):
    def begin(self, task):
        SEEN.append((task.x, task.y))
        return task

    def learn(self, task):
        super().learn(task)
        for x, y in SEEN[:-1]:
            loss = torch.nn.functional.cross_entropy(self.model(x), y)
            weights = [*self.model.parameters()]
            with torch.no_grad():
                for w, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    w -= 0.01 * gradient
'''


def source():
    return TEXT


def after(entry):
    each_record(entry, lambda data: data["environment"].update(torch="9.9.9"))
