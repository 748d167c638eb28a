"""Leaves the mode that counts operations while it trains."""

from torch.utils._python_dispatch import _disable_current_modes

from clbench.strategy import GradientStrategy

CAUGHT_BY = "no FLOPs rank"
IS_SHOWN = True


class Leaver(GradientStrategy):
    def learn(self, task):
        with _disable_current_modes():
            super().learn(task)
