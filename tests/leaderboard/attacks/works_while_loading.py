"""Works when its state is loaded, which belongs neither to learning nor to predicting."""

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "do it in learn or prepare"


class Loader(GradientStrategy):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        large = torch.ones(600, 600)
        for _ in range(10):
            large = large @ large / 600
        return super().load_state_dict(state_dict, strict, assign)
