"""FOSTER: one more backbone for the new classes, then both are compressed into one.

Wang et al. 2022, "FOSTER: Feature Boosting and Compression for Class-Incremental Learning" (ECCV, arXiv
2204.04662). For an experience with new classes, on new samples and exemplars:

1. *Boosting.* The network is frozen, a second backbone is added, and one output layer reads both. With
   the scores f of that layer, g of an auxiliary layer on the new features, f* of the frozen network,

       L = CE(f / w, y) + CE(g, y) + distillation * KD(f, f* | old classes, T = 2).

   w are the classes' weights by the effective number of samples (Cui et al. 2019, arXiv 1901.05555):
   ``(1 - beta) / (1 - beta^n_c)``, scaled to a mean of 1, with beta = 0.97 below and 0.96 here.
2. *Compression.* A student of one backbone, which starts as the frozen network, fits the softmax q of
   f / T over the classes seen, weighted and scaled to a sum of 1: ``-sum_c w_c q_c log p_c``. The
   learning rate falls with a cosine from ``lr`` to 0, and there is no weight decay.

The student alone is kept, so the state is that of one network between experiences; while one is learnt
three backbones are held, and bytes and operations show it.

Both steps are as in the authors' code and in PyCIL's: the new backbone and the student start as copies.
The accuracies that both codes report after a task are those of the boosted network; the student's stand
apart.

Deviations: those of ``clbench.exemplars``; the student is what predicts, and exemplars are chosen by
its features (PyCIL: by those of the boosted network); the authors lower the beta of boosting from task
to task, PyCIL does not; weights are not aligned, as in their settings for CIFAR-100 without a base
task. An experience without new classes is fitted by cross-entropy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, StreamInfo, TaskData, UsageError
from clbench.exemplars import ExemplarStrategy
from clbench.nets.distillation import copy_into, soft_cross_entropy
from clbench.nets.growing import Grown
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Choices, Log


class Foster(ExemplarStrategy):
    """Boosts by a second backbone, and compresses."""

    distils = False

    @dataclass(frozen=True)
    class Config(ExemplarStrategy.Config):
        """Settings of FOSTER."""

        readout: Literal["nme", "softmax"] = "softmax"
        """What predicts: softmax, the output layer (the paper); nme, the nearest mean of exemplars."""
        distillation: Annotated[float, AtLeast(0)] = field(
            default=1.0, metadata={"space": Log(0.1, 10)}
        )
        """Weight of the distillation of the old classes while boosting."""
        temperature: Annotated[float, Positive] = 2.0
        """Scores are divided by it before the softmaxes of distillation and compression."""
        beta_boosting: Annotated[float, Within(0, 1, open_high=True)] = field(
            default=0.96, metadata={"space": Choices(0.0, 0.9, 0.96, 0.99)}
        )
        """How much the weights differ by the classes' sizes while boosting; 0: not at all."""
        beta_compression: Annotated[float, Within(0, 1, open_high=True)] = 0.97
        """The same for compression."""
        compression_epochs: Annotated[int | None, AtLeast(1)] = None
        """Passes of the compression; null: epochs."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.reset_weights:
                raise UsageError("strategy.reset_weights=true would lose the network to boost")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, lambda: Grown(build_model, info.n_classes))
        self.frozen: nn.Linear | None = None
        """The output layer before the experience, while it is boosted."""
        self.boosted: Grown | None = None
        """The network that is compressed, while it is."""
        self.sizes: Tensor | None = None
        """``(n_classes,)``: samples of each class that are trained on."""

    @property
    def net(self) -> Grown:
        """The network that is trained."""
        return cast(Grown, self.model)

    def resolved(self) -> dict[str, object]:
        """Add the passes of the compression."""
        return {**super().resolved(), "compression_epochs": self.config.epochs}

    def begin(self, task: TaskData) -> TaskData:
        """Add a backbone, if there are new classes beside old ones."""
        task = super().begin(task)
        if self.n_old and self.n_new:
            self.frozen = self.net.head.requires_grad_(False)
            self.net.add()
            self.lay_out()
            labelled = task.y >= 0
            self.sizes = torch.bincount(task.y[labelled], minlength=self.info.n_classes)
        return task

    def balance(self, beta: float, like: Tensor) -> Tensor:
        """Compute the weights of the classes seen, ``(n_classes,)``, of mean 1; 1 for all others."""
        assert self.sizes is not None
        weight = (1 - beta) / (1 - beta ** self.sizes.clamp_min(1).to(like.dtype))
        mean = (weight * self.seen).sum() / self.seen.sum()
        return torch.where(self.seen, weight / mean, 1.0)

    def loss(self, batch: Batch) -> Tensor:
        """Compute the loss of boosting or of compression, 0-d."""
        if self.boosted is not None:
            return self._compression(batch)
        z = self.net.features(batch.x)
        raw = self.net.head(z)
        if self.frozen is None:
            return self.fit(raw, batch)
        weight = self.balance(self.config.beta_boosting, raw)
        loss = self.fit(raw / weight, batch) + self.fit(self.net.newest(z), batch)
        with torch.no_grad():
            taught = self.frozen(z[:, : self.net.width])
        kept = soft_cross_entropy(raw, taught, self.old, self.config.temperature)
        return loss.add(kept, alpha=self.config.distillation)

    def _compression(self, batch: Batch) -> Tensor:
        """Compute the student's cross-entropy to the weighted answers of the boosted network."""
        assert self.boosted is not None
        with torch.no_grad():
            taught = self.boosted(batch.x)
        t, others = self.config.temperature, ~self.seen
        q = (taught / t).masked_fill(others, -torch.inf).softmax(1)
        q = q * self.balance(self.config.beta_compression, q)
        q = q / q.sum(1, keepdim=True)
        log_p = F.log_softmax((self.model(batch.x) / t).masked_fill(others, -torch.inf), 1)
        loss: Tensor = -(q * log_p.masked_fill(others, 0.0)).sum(1).mean()
        return loss

    def finish(self, task: TaskData) -> None:
        """Compress the two backbones into one."""
        if self.frozen is None:
            return
        self.boosted = self.net.requires_grad_(False).eval()
        with torch.device(self.weights.device):
            student = cast(Grown, self.build_model()).to(self.weights.dtype)
        copy_into(student.backbones[0], self.boosted.backbones[0])
        copy_into(student.head, self.frozen)
        self.model = student.train()
        self.lay_out()
        epochs = self.config.compression_epochs or self.config.epochs
        self.tune(task, self.config.base_lr, epochs, weight_decay=0.0)
        self.frozen = self.boosted = self.sizes = None
