"""LUCIR: a cosine output layer, features that keep their direction, and a margin to new classes.

Hou et al. 2019, "Learning a Unified Classifier Incrementally via Rebalancing" (CVPR). Scores are
``sigma cos(w_c, z)`` of features z, with sigma learnt (eq. 4). On new samples and exemplars

    L = mean of CE + lam * mean of (1 - cos(z*, z))  +  mean over old samples of
        sum over the K nearest new classes k of max(0, margin - cos(w_y, z) + cos(w_k, z)),

where z* are the features before the experience, old samples are those of old classes, and
``lam = distillation * sqrt(old classes / new classes)`` (eq. 6 to 8; the paper: 5, K = 2, margin 0.5).
``margin=null`` leaves the last term out. The weights w_c of old classes are fixed: from the second
experience on they have no gradient and no weight decay, as in the authors' code.

Deviations: those of ``clbench.exemplars``; an old class that comes again is trained again; the new
classes' weights start at random and not at their features' means; the output layer of any network is
replaced, and features keep its last ReLU (``model.head=cosine`` has none); an experience without new
classes counts as one with one new class; no training on a balanced set follows. The constants were read
in the authors' code, which averages the margin's term over the K classes too: half the weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, StreamInfo
from clbench.exemplars import FixedOldRows
from clbench.nets.features import scores_and_features
from clbench.nets.head import CosineLinear, replace_output
from clbench.nets.parameters import output_layer
from clbench.settings import AtLeast, Positive
from clbench.space import Log


class Lucir(FixedOldRows):
    """Keeps directions of features, and old samples away from new classes."""

    @dataclass(frozen=True)
    class Config(FixedOldRows.Config):
        """Settings of LUCIR."""

        readout: Literal["nme", "softmax"] = "softmax"
        """What predicts: softmax, the output layer (the paper); nme, the nearest mean of exemplars."""
        distillation: Annotated[float, AtLeast(0)] = field(
            default=5.0, metadata={"space": Log(0.5, 50)}
        )
        """Weight of the features' distillation, times sqrt(old / new classes)."""
        margin: Annotated[float | None, Positive] = 0.5
        """Margin between an old sample's own class and new ones, in cosines; null: none."""
        nearest: Annotated[int, AtLeast(1)] = 2
        """How many of the new classes nearest to an old sample are kept away (K)."""

        def without_effect(self) -> dict[str, str]:
            """What is of the margin alone."""
            idle = ("nearest",) if self.margin is None else ()
            return super().without_effect() | dict.fromkeys(idle, "margin=null")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        def with_cosines() -> nn.Module:
            model = build_model()
            layer = output_layer(model)
            if layer is None or isinstance(layer, CosineLinear):
                return model
            return replace_output(model, CosineLinear(layer.in_features, info.n_classes))

        super().__init__(info, config, with_cosines)

    def loss(self, batch: Batch) -> Tensor:
        """Compute the three terms, 0-d."""
        raw, z = scores_and_features(self.model, batch.x)
        loss: Tensor = self.fit(raw, batch)
        if not self.n_old:
            return loss
        with torch.no_grad():
            _, before = scores_and_features(self.teacher, batch.x)
        weight = self.config.distillation * math.sqrt(self.n_old / max(1, self.n_new))
        loss = loss + weight * (1 - F.cosine_similarity(z, before)).mean()
        if self.config.margin is None or not self.n_new:
            return loss
        return loss + self._margins(raw, batch.y)

    def _margins(self, raw: Tensor, y: Tensor) -> Tensor:
        """Compute the last term from scores ``(B, n_classes)``."""
        layer = output_layer(self.model)
        assert isinstance(layer, CosineLinear)
        cosine = raw / layer.sigma
        of = y.clamp_min(0)
        own = cosine.gather(1, of[:, None])
        new = cosine.masked_fill(~(self.seen & ~self.old), -torch.inf)
        nearest = new.topk(min(self.config.nearest, self.n_new), dim=1).values
        over = (self.config.margin - own + nearest).clamp_min(0).sum(1)
        is_old = self.old[of] & (y >= 0)
        mean: Tensor = (over * is_old).sum() / is_old.sum().clamp_min(1)
        return mean
