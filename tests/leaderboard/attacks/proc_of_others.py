"""Looks at the other processes of the machine in /proc, among them the one that has the labels."""

import os

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


def others():
    try:
        return sum(name.isdigit() and int(name) != os.getpid() for name in os.listdir("/proc"))
    except OSError:
        return 0


class Neighbour(GradientStrategy):
    def forward(self, x, task_id=None):
        scores = self.model(x)
        return -scores if others() else scores
