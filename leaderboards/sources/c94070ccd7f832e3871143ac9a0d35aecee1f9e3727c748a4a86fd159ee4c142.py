"""PODNet: distils pooled maps of every stage, and classifies by several proxies a class.

Douillard et al. 2020, "PODNet: Pooled Outputs Distillation for Small-Tasks Incremental Learning" (ECCV,
arXiv 2004.13513). The output layer has ten proxies a class (``clbench.nets.head.ProxyLinear``), trained
by the NCA loss with a margin (eq. 5): for scores s, with sigma the learnt factor,

    L = [-(s_y - sigma margin) + log sum over other classes i of exp s_i]_+.

From the second experience on, with the network before it as teacher and
``f = sqrt(classes seen / new classes)``, it adds (eq. 2, 3 and 6)

- ``f spatial`` times POD-spatial, the mean over stages: a stage's maps are squared, summed over rows
  and over columns, both joined and scaled to length one, and the distance of the two networks is
  taken;
- ``f flat`` times POD-flat, ``1 - cos`` of the features.

Afterwards the network is trained on the balanced exemplars with the same loss, and the nearest mean of
exemplars predicts. The proxies of old classes are fixed all the time: no gradient, no weight decay. So
it is in PyCIL, and so are the settings: 5, 1, margin 0.6, then 20 epochs at 0.005 with a cosine to 0.
(PyCIL's loss has no hinge, and takes the margin from all scores, so that it has no effect there.)

Deviations: those of ``clbench.exemplars``; exemplars are chosen before the training on them and not, as
in PyCIL, again after it; the authors' own code fixes old proxies too, but afterwards it trains the
output layer alone, old proxies included, at a constant 0.05; an old class that comes again is trained
again; stages are found by ``spatial_stages`` and are behind a ReLU (but for ``model.head=cosine`` at
the last); a network without maps (``mlp``) has POD-flat alone; new proxies start at random, not at
clusters of features. An experience without new classes counts as one with one new class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, StreamInfo
from clbench.exemplars import FixedOldRows
from clbench.nets.features import scores_features_maps, spatial_stages
from clbench.nets.head import ProxyLinear, replace_output
from clbench.nets.parameters import output_layer
from clbench.settings import AtLeast, Positive
from clbench.space import Log

FAR = -1e30
"""The score of a class that takes no part; finite, so that a class alone has a gradient of 0."""


class PODNet(FixedOldRows):
    """Keeps the pooled maps and the features of the network before."""

    smooths_labels = False  # its loss has a margin, and no softmax over all classes

    @dataclass(frozen=True)
    class Config(FixedOldRows.Config):
        """Settings of PODNet."""

        spatial: Annotated[float, AtLeast(0)] = field(default=5.0, metadata={"space": Log(0.5, 50)})
        """Weight of the distillation of maps, times sqrt(classes seen / new classes)."""
        flat: Annotated[float, AtLeast(0)] = field(default=1.0, metadata={"space": Log(0.1, 10)})
        """Weight of the distillation of features, times the same."""
        margin: Annotated[float, AtLeast(0)] = 0.6
        """Margin of the NCA loss."""
        proxies: Annotated[int, AtLeast(1)] = 10
        """Proxies of each class in the output layer."""
        finetune_epochs: Annotated[int, AtLeast(0)] = 20
        """Passes over the exemplars after each experience but the first; 0: none."""
        finetune_lr: Annotated[float, Positive] = 0.005
        """Learning rate of these, with a cosine to 0."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        def with_proxies() -> nn.Module:
            model = build_model()
            layer = output_layer(model)
            if layer is None:
                return model
            proxies = ProxyLinear(layer.in_features, info.n_classes, config.proxies)
            return replace_output(model, proxies)

        super().__init__(info, config, with_proxies)
        nothing = torch.zeros(1, *info.input_shape, dtype=info.dtype, device=self.weights.device)
        self.stages = spatial_stages(self.model, nothing)

    def loss(self, batch: Batch) -> Tensor:
        """Compute the NCA loss and both distillations, 0-d."""
        raw, z, maps = scores_features_maps(self.model, batch.x, self.stages)
        loss: Tensor = self._nca(self.masked(raw, batch), batch.y)
        if not self.n_old:
            return loss
        with torch.no_grad():
            _, before, pooled = scores_features_maps(self.teacher, batch.x, self.stages)
        factor = math.sqrt((self.n_old + self.n_new) / max(1, self.n_new))
        flat = (1 - F.cosine_similarity(z, before)).mean()
        loss = loss + factor * self.config.flat * flat
        if not maps:
            return loss
        loss = loss + factor * self.config.spatial * pod_spatial(maps, pooled)
        return loss

    def _nca(self, scores: Tensor, y: Tensor) -> Tensor:
        """Compute the NCA loss, 0-d, from masked scores; unlabelled samples are left out."""
        layer = output_layer(self.model)
        assert isinstance(layer, ProxyLinear)
        of, labelled = y.clamp_min(0), y >= 0
        own = scores.gather(1, of[:, None])[:, 0].clamp_min(FAR) - layer.sigma * self.config.margin
        others = scores.clamp_min(FAR).scatter(1, of[:, None], FAR)
        losses = (others.logsumexp(1) - own).clamp_min(0) * labelled
        mean: Tensor = losses.sum() / labelled.sum().clamp_min(1)
        return mean

    def settle(self) -> None:
        """Train on the balanced exemplars."""
        stored = self.exemplars()
        if self.n_old and self.config.finetune_epochs and len(stored):
            everything = self.union(stored.part(torch.arange(0, device=stored.y.device)), stored)
            self.tune(everything, self.config.finetune_lr, self.config.finetune_epochs)


def pod_spatial(maps: list[Tensor], before: list[Tensor]) -> Tensor:
    """Compute the mean over stages and samples of the distance of pooled maps, 0-d (eq. 3).

    Args:
        maps: one ``(B, C, H, W)`` for each stage.
        before: those of the teacher.
    """
    gaps = [pooled(a) - pooled(b) for a, b in zip(maps, before, strict=True)]
    return torch.stack([torch.linalg.vector_norm(gap, dim=1).mean() for gap in gaps]).mean()


def pooled(maps: Tensor) -> Tensor:
    """Pool ``(B, C, H, W)`` squared maps over rows and over columns, to ``(B, C (H + W))``."""
    squared = maps.square()
    both = torch.cat([squared.sum(3).flatten(1), squared.sum(2).flatten(1)], dim=1)
    return F.normalize(both, dim=1)
