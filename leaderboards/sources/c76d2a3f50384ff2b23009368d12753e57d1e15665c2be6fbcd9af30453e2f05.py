"""A-GEM: projects steps that would raise the loss on a memory, so that they do not raise it.

Chaudhry et al. 2019, "Efficient Lifelong Learning with A-GEM" (ICLR, arXiv 1812.00420), equation 11:
with g the gradient on the new batch and m that on a batch from the memory,

    g <- g - (g.m / m.m) m   where g.m < 0,   else g unchanged.

The memory holds samples of earlier experiences only; an experience is admitted at its end.
Deviations: the memory is a reservoir by default (theirs: a ring); samples are drawn with replacement.
The projection comes before clipping.
"""

from __future__ import annotations

from torch import Tensor

from clbench import Batch, ReplayStrategy
from clbench.data.augment import augment


class AGEM(ReplayStrategy):
    """Projects each gradient so that it does not oppose the gradient on the memory."""

    replays_current = False

    def draw(self, batch: Batch) -> Batch:
        """Return the new samples alone; ``step`` takes the memory's gradient on its own batch."""
        return batch

    def step(self, batch: Batch) -> None:
        """Update the weights once, along the projected gradient."""
        if not self.n_live:
            self.descend(self.gradient(batch))
            return
        stored = self.recall(self.replay_batch, batch.x)
        stored.x = augment(self.info.augment, stored.x)
        gradient = self.gradient(batch)
        self.descend(project(gradient, self.gradient_of(stored)))


def project(gradient: Tensor, memory: Tensor) -> Tensor:
    """Return the vector nearest to ``gradient`` that does not oppose ``memory``, ``(P,)``."""
    along = (gradient @ memory).clamp(max=0) / (memory @ memory).clamp_min(1e-38)
    return gradient - along * memory
