"""Few-shot class-incremental learning by tricks of the first session, each by itself.

Roy et al. 2024, "A Bag of Tricks for Few-Shot Class-Incremental Learning" (arXiv 2403.14392), lists
the three below for stability. The abstract was at hand, so their forms are ours. The streams are those
of Tao et al. 2020 (arXiv 2004.10956): a base task with all its samples, then sessions with a few shots
of each new class (``scenario=class_incremental scenario.first= scenario.shots=``). The network is
trained on the base task alone. From then on a class, of the base too, is predicted by the cosine to the
mean of its features, and a session only adds means.

- ``prototypes=simplex``: the outputs of the base task are compared with fixed prototypes, the corners
  of a simplex, one for every class of the stream. Places of classes to come are reserved (Yang et al.
  2023, arXiv 2302.03004; from memory, not checked). For outputs p of n classes the cosine to corner c
  is ``(p_c - mean p) / (|p - mean p| sqrt(1 - 1/n))``, so no matrix is stored. ``learnt``: prototypes
  of the base classes are weights, and those of classes to come take no part.
- ``pseudo_classes``: images turned by 90, 180 and 270 degrees are classes of their own in training.
- ``contrast``: weight of a supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362) of the
  features. Its positive pairs are the samples of a class in the batch; there is no second view.

Deviations: p is centred before its length is taken, since a mean is not seen by a simplex. Sub-network
tuning in the sessions, larger encoders and self-supervised tasks are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, StreamInfo, TaskData, UsageError
from clbench.first_session import SmallestAngle
from clbench.latents import ClassMeans
from clbench.nets.features import scores_and_features
from clbench.nets.head import replace_output
from clbench.nets.losses import cross_entropy, present, supervised_contrastive
from clbench.nets.parameters import output_layer
from clbench.settings import AtLeast, Positive
from clbench.space import Log

TURNS = 4


class FewShot(SmallestAngle):
    """Trains on the base task with tricks, and predicts by class means."""

    @dataclass(frozen=True)
    class Config(SmallestAngle.Config):
        """Settings of the tricks."""

        prototypes: Literal["simplex", "learnt"] = "simplex"
        """What the base task trains towards. simplex: fixed prototypes of all classes, equally far from
        one another; learnt: weights for each class that has come."""
        pseudo_classes: bool = False
        """Also train on square images turned by 90, 180 and 270 degrees, as further classes."""
        contrast: Annotated[float, AtLeast(0)] = 0.0
        """Weight of the supervised contrastive loss; 0: it is not computed."""
        temperature: Annotated[float, Positive] = field(
            default=0.1, metadata={"space": Log(0.03, 0.5)}
        )
        """Similarities of the contrastive loss are divided by it."""
        scale: Annotated[float, Positive] = field(default=16.0, metadata={"space": Log(4, 64)})
        """Cosines to prototypes are multiplied by it."""

        def without_effect(self) -> dict[str, str]:
            """What is left without by no contrast, and by no training."""
            found = super().without_effect()
            if not self.contrast:
                found["temperature"] = "contrast=0"
            if not self.adapt:
                tricks = ("prototypes", "pseudo_classes", "contrast", "temperature", "scale")
                found |= dict.fromkeys(tricks, "adapt=false")
            return found

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.mask != "none":
                raise UsageError(
                    f"strategy.mask={self.mask}: this loss has its own classes; leave it out"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        turns = TURNS if config.pseudo_classes else 1
        if turns > 1 and (len(info.input_shape) < 2 or len(set(info.input_shape[-2:])) > 1):
            raise UsageError(
                f"strategy.pseudo_classes=true turns square images, not samples of shape "
                f"{info.input_shape}; leave it out"
            )
        super().__init__(info, config, lambda: _headed(build_model(), turns * info.n_classes))
        self.turns = turns
        self.means = ClassMeans(info.n_classes, self.width)
        self._here = torch.zeros(info.n_classes, dtype=torch.bool)

    def begin(self, task: TaskData) -> TaskData:
        """Note which classes have come."""
        self._here = present(task.y, self.info.n_classes)
        return super().begin(task)

    def loss(self, batch: Batch) -> Tensor:
        """Compute the cross-entropy over prototypes, and the contrastive loss, 0-d."""
        n = self.info.n_classes
        turned = [batch.x.rot90(turn, (-2, -1)) if turn else batch.x for turn in range(self.turns)]
        y = torch.cat(
            [torch.where(batch.y < 0, -1, batch.y + turn * n) for turn in range(self.turns)]
        )
        raw, z = scores_and_features(self.model, torch.cat(turned))
        cosines = self._cosines(raw, z)
        if self.config.prototypes == "learnt":
            cosines = cosines.masked_fill(~self._here.repeat(self.turns), -torch.inf)
        loss = cross_entropy(self.config.scale * cosines, y)
        if not self.config.contrast:
            return loss
        sample = torch.arange(len(y), device=y.device)
        contrast = supervised_contrastive(z, y, sample, self.config.temperature)
        total: Tensor = loss + self.config.contrast * contrast
        return total

    def _cosines(self, raw: Tensor, z: Tensor) -> Tensor:
        """``(B, turns * n_classes)``: cosines to the prototypes, of outputs and features ``(B, d)``."""
        if self.config.prototypes == "simplex":
            return to_simplex(raw)
        layer = output_layer(self.model)
        assert layer is not None
        weight: Tensor = layer.weight
        cosines: Tensor = F.linear(F.normalize(z, dim=1), F.normalize(weight, dim=1))
        return cosines


def to_simplex(p: Tensor) -> Tensor:
    """``(B, n)`` outputs to their cosines with the n corners of a regular simplex, ``(B, n)``."""
    centred = p - p.mean(1, keepdim=True)
    cosines: Tensor = F.normalize(centred, dim=1) / math.sqrt(1 - 1 / p.shape[1])
    return cosines


def _headed(model: nn.Module, n: int) -> nn.Module:
    """Give a network an output layer of n rows without a bias."""
    layer = output_layer(model)
    if layer is None:
        return model  # the base says what is missing
    return replace_output(model, nn.Linear(layer.in_features, n, bias=False))
