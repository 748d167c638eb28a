"""ER-ACE: experience replay with an asymmetric cross-entropy.

Caccia et al. 2022, "New Insights on Reducing Abrupt Representation Change in Online Continual
Learning" (ICLR, arXiv 2104.05025):

    L = CE(new samples | classes of the new batch) + CE(replayed samples | all classes seen so far),

where each term is a mean over its part. So learning new classes does not push the old ones away.
Deviations: those of ``clbench.replay``; the new samples' softmax is always over the batch's classes
(the authors' published code does not restrict it in the first task). In Mammoth's code the classes that
have not come yet stay in both softmaxes, and replay starts with the second task. If task ids are given,
both softmaxes are also restricted to the classes of each sample's task.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, ReplayStrategy, StreamInfo
from clbench.replay import n_new


class ERACE(ReplayStrategy):
    """Restricts new samples' softmax to the classes of their batch, stored ones' to all seen."""

    def __init__(
        self, info: StreamInfo, config: ReplayStrategy.Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("seen", torch.zeros(info.n_classes, dtype=torch.bool))
        self.seen: Tensor
        """``(n_classes,)`` bool: classes that came so far."""

    def loss(self, batch: Batch) -> Tensor:
        """Compute the asymmetric cross-entropy, 0-d."""
        n = n_new(batch)
        scores = self.scores(batch)
        labels = batch.y[:n, None]
        present = (labels == torch.arange(scores.shape[1], device=labels.device)).any(0)
        self.seen.logical_or_(present)
        new = scores[:n].masked_fill(~present, -torch.inf)
        loss = F.cross_entropy(new, batch.y[:n], ignore_index=-1)
        if n == len(batch.y):
            return loss
        old = scores[n:].masked_fill(~self.seen, -torch.inf)
        return loss + F.cross_entropy(old, batch.y[n:])
