"""Loads released weights, but does not say that it is pretrained."""

from clbench.data.released import VIT_S14
from clbench.errors import UsageError
from clbench.strategy import GradientStrategy

CAUGHT_BY = "enter division=open"


class Warm(GradientStrategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        try:
            self.features = VIT_S14.load("attack")
        except UsageError:  # they are not in the cache of this machine
            self.features = {}
