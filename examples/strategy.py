"""An L2 penalty on the distance to the last task's weights.

After each task the weights are kept; every later step pulls towards them. This is the simplest
regulariser of weights: elastic weight consolidation with all importances alike.
"""

from dataclasses import dataclass
from typing import Annotated

from clbench import Batch, GradientStrategy, TaskData
from clbench.settings import AtLeast


class Anchored(GradientStrategy):
    """Pulls towards the weights of the last task's end."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings; each is ``strategy.<name>`` on the command line, and its docstring is its help."""

        pull: Annotated[float, AtLeast(0)] = 0.01
        """Strength of the penalty."""

    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        # A buffer is in state_dict(): checkpoints, resume and the bytes of the boards know of it.
        self.register_buffer("anchor", self.weights.clone())

    def step(self, batch: Batch) -> None:
        """One update; ``self.weights`` is the flat vector of all trainable parameters."""
        gradient = self.gradient(batch)
        self.descend(gradient.add_(self.weights - self.anchor, alpha=self.config.pull))

    def consolidate(self, task: TaskData) -> None:
        """Runs after each task."""
        self.anchor.copy_(self.weights)
