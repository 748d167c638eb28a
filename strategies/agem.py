"""A-GEM: steps that would raise the loss on the memory are projected until they do not.

Chaudhry et al. 2019, "Efficient Lifelong Learning with A-GEM" (ICLR, arXiv 1812.00420), equation 11:
with g the gradient on the new batch and m that on a batch from the memory,

    g <- g - (g.m / m.m) m   where g.m < 0,   else g unchanged.

The memory holds samples of earlier experiences only; those of the running one are admitted at its
end. Deviations: the memory is a reservoir unless set otherwise (theirs: a ring); samples are drawn
with replacement. The projection comes before clipping.
"""

from __future__ import annotations

from torch import Tensor

from clbench import Batch, ReplayStrategy
from clbench.data.augment import augment


class AGEM(ReplayStrategy):
    """Gradients made to agree with that of the memory."""

    replays_current = False

    def draw(self, batch: Batch) -> Batch:
        """The new samples alone: those of the memory have a gradient, and so a batch, of their own."""
        return batch

    def step(self, batch: Batch) -> None:
        """One update along the projected gradient."""
        if not self.n_live:
            self.descend(self.gradient(batch))
            return
        stored = self.recall(self.replay_batch, batch.x)
        stored.x = augment(self.info.augment, stored.x)
        gradient = self.gradient(batch)
        self.descend(project(gradient, self._flat.gradient(self.loss(stored))))


def project(gradient: Tensor, memory: Tensor) -> Tensor:
    """``(P,)``: the vector nearest to ``gradient`` that has no part against ``memory``."""
    along = (gradient @ memory).clamp(max=0) / (memory @ memory).clamp_min(1e-38)
    return gradient - along * memory
