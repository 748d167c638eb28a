"""Expansion (DER of Yan et al.): every experience with new classes adds a backbone.

Yan, Xie & He 2021, "DER: Dynamically Expandable Representation for Class Incremental Learning" (CVPR,
arXiv 2103.16788). It is called ``expansion`` here, since ``der`` is dark experience replay.

Before an experience with new classes a copy of the newest backbone is added and all earlier ones are
frozen. One output layer reads the features of all. With the auxiliary layer on the new features, whose
classes are the new ones and one more for all old ones together (eq. 5 and 6), on new samples and
exemplars

    L = CE(all features, y | classes seen) + auxiliary * CE(new features, y or "old").

Afterwards the new classes' weights are aligned as in WA. Parameters, bytes and operations grow with
each such experience, and the record shows it.

Deviations: those of ``clbench.exemplars``; no channels are pruned, as in the public code, and weights
are aligned where the paper trains the output layer again on balanced exemplars (both as read in
PyCIL); that the new backbone starts as a copy is from memory, unverified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor, nn

from clbench import Batch, StreamInfo, TaskData, UsageError
from clbench.exemplars import ExemplarStrategy, align
from clbench.nets.growing import Grown
from clbench.nets.losses import cross_entropy
from clbench.settings import AtLeast
from clbench.space import Log


class Expansion(ExemplarStrategy):
    """Adds a backbone for new classes, and freezes the others."""

    grows = True
    distils = False

    @dataclass(frozen=True)
    class Config(ExemplarStrategy.Config):
        """Settings of the expansion."""

        readout: Literal["nme", "softmax"] = "softmax"
        """What predicts: softmax, the output layer (the paper); nme, the nearest mean of exemplars."""
        auxiliary: Annotated[float, AtLeast(0)] = field(
            default=1.0, metadata={"space": Log(0.1, 10)}
        )
        """Weight of the auxiliary loss on the new features."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.reset_weights:
                raise UsageError("strategy.reset_weights=true would lose the grown network")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, lambda: Grown(build_model, info.n_classes, extra=1))

    @property
    def net(self) -> Grown:
        """The network."""
        return cast(Grown, self.model)

    def meet(self, task: TaskData) -> None:
        """Note the classes; add a backbone if some are new and others are not."""
        super().meet(task)
        if self.n_old and self.n_new:
            self._grow()

    def _grow(self) -> None:
        self.net.add()
        self.lay_out()
        if self.config.readout == "nme":
            self.means = self.means.new_zeros(len(self.means), self.net.head.in_features)

    def loss(self, batch: Batch) -> Tensor:
        """Compute both cross-entropies, 0-d."""
        z = self.net.features(batch.x)
        loss = self.fit(self.net.head(z), batch)
        if not self.n_old or not self.n_new:
            return loss
        n = self.info.n_classes
        is_old = self.old[batch.y.clamp_min(0)] & (batch.y >= 0)
        counts = torch.cat([self.seen & ~self.old, self.seen.new_ones(1)])
        scores = self.net.newest(z).masked_fill(~counts, -torch.inf)
        smoothing = self.config.label_smoothing
        aux = cross_entropy(scores, torch.where(is_old, n, batch.y), batch.weight, smoothing)
        return loss.add(aux, alpha=self.config.auxiliary)

    def finish(self, task: TaskData) -> None:
        """Align the new classes' weights."""
        if self.n_old and self.n_new:
            align(self.net.head, self.old, self.seen & ~self.old)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Grow to the number of backbones that was saved, then load."""
        start = f"{prefix}model.backbones."
        found = {
            int(k.removeprefix(start).split(".")[0]) for k in state_dict if k.startswith(start)
        }
        while len(self.net.backbones) <= max(found, default=0):
            self._grow()
        super()._load_from_state_dict(state_dict, prefix, *args)
