"""ER-ACE: experience replay with an asymmetric cross-entropy.

Caccia et al. 2022, "New Insights on Reducing Abrupt Representation Change in Online Continual
Learning" (ICLR, arXiv 2104.05025):

    L = CE(new samples | classes of the new batch) + CE(replayed samples | all classes seen so far),

each a mean over its part, so that learning new classes does not push the old ones away. Deviations:
those of ``clbench.replay``; the new samples' softmax holds the batch's classes always (the authors'
published code leaves it open in the first task). Under ``scenario.task_ids`` both softmaxes are cut to
the classes of each sample's task, too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, ReplayStrategy, StreamInfo
from clbench.replay import n_new


class ERACE(ReplayStrategy):
    """New samples compete among the classes of their batch, stored ones among all seen."""

    def __init__(
        self, info: StreamInfo, config: ReplayStrategy.Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("seen", torch.zeros(info.n_classes, dtype=torch.bool))
        self.seen: Tensor
        """``(n_classes,)`` bool"""

    def loss(self, batch: Batch) -> Tensor:
        """The asymmetric cross-entropy."""
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
