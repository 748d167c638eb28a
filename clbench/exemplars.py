"""The base of class-incremental methods with exemplars: iCaRL's memory, training set and read-outs.

An experience is trained on together with all exemplars, as one shuffled set, with a loss over the
classes seen. Afterwards the exemplars are chosen by herding on features of length one of samples that
are not augmented (Rebuffi et al. 2017, arXiv 1611.07725, algorithms 4 and 5). The memory has a total
size, shared by the classes seen, or a number of samples for each class.

Predictions are read from the output layer (``softmax``) or by the nearest mean of exemplars (``nme``,
algorithm 1 there): each exemplar's feature is scaled to length one, the mean of a class is taken and
scaled again, and the means are computed anew after each experience.

Deviations that all these methods share: a total size is used up to its last place, where papers give
every class ``floor(size / classes)``; the output layer has all classes of the stream from the start,
where theirs grows (the rows of classes to come get no gradient, but weight decay shrinks them, unless
a method is a ``FixedOldRows``); exemplars that the experience brings again are not trained on twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.latents import among_seen
from clbench.nets.distillation import copy_into, soft_cross_entropy
from clbench.nets.features import features, scores_and_features
from clbench.nets.losses import cross_entropy, present
from clbench.nets.optim import adopt
from clbench.nets.parameters import output_layer
from clbench.nets.training import First
from clbench.replay import MemoryConfig, build_memory, herding_features
from clbench.strategy import Batch, GradientStrategy, StreamInfo
from clbench.stream import TaskData


class ExemplarStrategy(GradientStrategy):
    """Trains on new samples and exemplars together. Subclasses define the loss.

    A subclass overrides ``loss`` (with ``fit`` and ``distil``) and, where it changes the network after
    training, ``finish``.
    """

    results_version: ClassVar[int] = 1
    """Raised by a change of this base that alters what its strategies give."""
    smooths_labels: ClassVar[bool] = True  # by ``fit``
    distils: ClassVar[bool] = True
    """Whether ``teacher``, the network before the experience, is kept."""

    @dataclass(frozen=True)
    class Config(MemoryConfig):
        """Settings of a memory of exemplars."""

        readout: Literal["nme", "softmax"] = "nme"
        """What predicts: nme, the nearest mean of exemplars; softmax, the output layer."""

        def misleading(self) -> dict[str, str]:
            """What has to be the network of before."""
            return super().misleading() | {"reset_weights": "would lose the network to learn from"}

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        layer = output_layer(self.model)
        if layer is None:
            raise UsageError(
                f"{type(self.model).__name__} has no linear layer to take features in front of; "
                "use another model"
            )
        self.memory = build_memory(info, config, "herding")
        if self.distils:
            self.teacher = build_model().requires_grad_(False)
        nothing = torch.zeros(info.n_classes, dtype=torch.bool)
        self.register_buffer("seen", nothing.clone())
        self.register_buffer("old", nothing.clone(), persistent=False)
        self.seen: Tensor
        """``(n_classes,)`` bool: classes that have come, those of this experience included."""
        self.old: Tensor
        """``(n_classes,)`` bool: those that came before this experience."""
        if config.readout == "nme":
            self.register_buffer("means", torch.zeros(info.n_classes, layer.in_features))
            self.register_buffer("has_mean", nothing.clone())
        self.means: Tensor
        """``(n_classes, d)``, of length one; zero for a class without exemplars."""
        self.has_mean: Tensor
        self.n_old = self.n_new = 0
        """How many classes came before this experience, and how many come first in it."""
        self.arrived: TaskData | None = None
        """The experience, while it is trained on."""

    def begin(self, task: TaskData) -> TaskData:
        """Copy the network; return the experience and all exemplars, shuffled."""
        self.meet(task)
        return self.union(task, self.exemplars())

    @torch.no_grad()
    def meet(self, task: TaskData) -> None:
        """Note the classes of an experience, and copy the network. The host waits here."""
        here = present(task.y, self.info.n_classes)
        self.arrived = task
        self.old.copy_(self.seen)
        self.seen.logical_or_(here)
        self.n_old = int(self.old.sum())
        self.n_new = int(self.seen.sum()) - self.n_old
        if self.distils:
            copy_into(self.teacher, self.model)

    def exemplars(self) -> TaskData:
        """All exemplars as a task, in the stored dtype."""
        return self.memory.part(torch.arange(int(self.memory.filled), device=self.memory.y.device))

    def union(self, task: TaskData, stored: TaskData) -> TaskData:
        """Join an experience and exemplars that it does not bring itself, in random order."""
        absent = torch.isin(stored.key, task.key, invert=True).nonzero().squeeze(1)
        both = task.joined(stored.part(absent)) if len(absent) else task
        order = torch.randperm(len(both), device="cpu").to(both.y.device)
        return both.part(order)

    def masked(self, scores: Tensor, batch: Batch) -> Tensor:
        """Leave classes that have not come out of the softmax, beside what ``masked`` does."""
        return super().masked(among_seen(scores, self.seen), batch)

    def fit(self, raw: Tensor, batch: Batch) -> Tensor:
        """Compute the cross-entropy over the classes seen, 0-d, from scores ``(B, n_classes)``."""
        self._smooths = True
        smoothing = self.config.label_smoothing
        return cross_entropy(self.masked(raw, batch), batch.y, batch.weight, smoothing)

    def taught(self, x: Tensor) -> Tensor:
        """Compute the teacher's scores, ``(B, n_classes)``, without a gradient."""
        with torch.no_grad():
            scores: Tensor = self.teacher(x)
        return scores

    def distil(self, raw: Tensor, batch: Batch, temperature: float) -> Tensor:
        """Compute the distillation of the old classes' scores, 0-d; there must be old classes."""
        return soft_cross_entropy(raw, self.taught(batch.x), self.old, temperature)

    def consolidate(self, task: TaskData) -> None:
        """Finish the network, choose exemplars, and compute their means."""
        self.finish(task)
        assert self.arrived is not None
        found = herding_features(self.memory, self.model, self.info.dtype, self.arrived)
        self.memory.add(self.arrived, found)
        self.arrived = None
        self.settle()
        if self.config.readout == "nme":
            self._find_means()

    def resolved(self) -> dict[str, object]:
        """Add the size of the memory in samples."""
        return {**super().resolved(), "memory_size": self.memory.size}

    def finish(self, task: TaskData) -> None:
        """Change the network after training, before exemplars are chosen. By default nothing."""

    def settle(self) -> None:
        """Change the network after exemplars are chosen. By default nothing."""

    def tune(
        self, task: TaskData, lr: float, epochs: int, weight_decay: float | None = None
    ) -> None:
        """Train on further samples, with a cosine from ``lr`` to 0 and a fresh optimizer state.

        ``weight_decay`` takes the place of the setting of that name; None: the setting.
        """
        whole = self.config
        decay: float = whole.weight_decay if weight_decay is None else weight_decay
        self.config = replace(
            whole,
            lr=lr,
            weight_decay=decay,
            epochs=epochs,
            schedule="cosine",
            milestones=(),
            warmup=0,
            patience=None,
            first=First(),  # of the first task, and may not fit these
        )
        adopt(self.optimizer, lr, decay)
        self.optimizer.state.clear()
        self.train_on(self.batches(task), epochs * -(-len(task) // whole.batch_size))
        self.config = whole
        adopt(self.optimizer, whole.base_lr, whole.weight_decay)

    @torch.no_grad()
    def _find_means(self) -> None:
        """Compute the means of the exemplars' features."""
        stored = self.exemplars()
        z = F.normalize(features(self.model, stored.x.to(self.info.dtype)), dim=1)
        sums = torch.zeros_like(self.means).index_add_(0, stored.y, z.to(self.means.dtype))
        self.means.copy_(F.normalize(sums, dim=1))
        self.has_mean.copy_(present(stored.y, self.info.n_classes))

    def read(self, x: Tensor) -> Tensor:
        """Compute the scores of the output layer, ``(B, n_classes)``."""
        scores: Tensor = self.model(x)
        return scores

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Score by the read-out, ``(B, n_classes)``: cosines to the means, or the output layer's."""
        if self.config.readout == "softmax":
            return among_seen(self.read(x), self.seen)
        _, z = scores_and_features(self.model, x)
        return among_seen(F.normalize(z, dim=1) @ self.means.mT, self.has_mean)

    def memory_bytes(self) -> int:
        """Count the bytes of the exemplars."""
        return self.memory.nbytes()


class FixedOldRows(ExemplarStrategy):
    """Trains the output layer's rows of an experience's own classes; the other rows stay as they are.

    LUCIR and PODNet fix the embeddings of old classes so: no gradient, no weight decay. Classes of
    which there are exemplars alone count as old; one that the experience brings again is trained. Rows
    of classes to come do not shrink before they come, which would make their first steps too long: the
    gradient of a cosine goes with 1 / length.
    """

    def __init__(
        self,
        info: StreamInfo,
        config: ExemplarStrategy.Config,
        build_model: Callable[[], nn.Module],
    ) -> None:
        super().__init__(info, config, build_model)
        self.fixed = torch.arange(0, device=self.weights.device)
        """``(k,)`` int64: the rows of the output layer that stay."""

    def begin(self, task: TaskData) -> TaskData:
        """Note the rows that stay."""
        own = present(task.y, self.info.n_classes)
        both = super().begin(task)
        layer = output_layer(self.model)
        assert layer is not None
        per_class = len(layer.weight) // len(own)
        self.fixed = (~own).repeat_interleave(per_class).nonzero().squeeze(1)
        return both

    def step(self, batch: Batch) -> None:
        """Update the weights once, but for the rows that stay."""
        layer = output_layer(self.model)
        assert layer is not None
        before = layer.weight.data.index_select(0, self.fixed)
        super().step(batch)
        layer.weight.data.index_copy_(0, self.fixed, before)


def align(layer: nn.Linear, old: Tensor, new: Tensor) -> None:
    """Scale the new classes' weight vectors to the mean length of the old ones' (WA, eq. 8).

    Zhao et al. 2020 (arXiv 1911.07053). Biases stay.

    Args:
        layer: of ``n_classes`` rows; changed in place.
        old: ``(n_classes,)`` bool with at least one class.
        new: the same.
    """
    with torch.no_grad():
        length = torch.linalg.vector_norm(layer.weight, dim=1)
        mean_old, mean_new = ((length * of).sum() / of.sum() for of in (old, new))
        gamma = torch.where(new, mean_old / mean_new.clamp_min(1e-12), 1.0)
        layer.weight.mul_(gamma[:, None])
