"""Works outside torch when it is switched to evaluation, which is no call of learning."""

import numpy as np

from clbench.strategy import GradientStrategy

CAUGHT_BY = "no FLOPs rank"
IS_SHOWN = True


class Switcher(GradientStrategy):
    def train(self, mode=True):
        large = np.ones((700, 700))
        for _ in range(0 if mode else 30):
            large = large @ large / 700
        return super().train(mode)
