"""X-DER: dark replay whose stored logits learn of later classes, and which prepares for future ones.

Boschini, Bonicelli, Buzzega, Porrello & Calderara 2022, "Class-Incremental Continual Learning into
the eXtended DER-verse" (TPAMI, arXiv 2201.00766). Each class is past, present (of the task at hand) or
future; the number of classes is told. With h the logits and three draws (x', z), (x'', y''), x* from
memory,

    L = CE(f(x), y | present) + alpha |z - h(x')|^2 + beta CE(f(x''), y'' | past)
        + lam SC(future logits of views of x, x*)
        + eta mean [max_past p(x) + m - max_present p(x)]_+
        + eta mean [max_future h + m - max_own h]_+ over x, x' and x''.

SC is the supervised contrastive loss (arXiv 2004.11362, eq. 2) over ``n_views`` views of the first
``contrast_batch`` new samples and of as many from memory. p is the softmax over past and present
classes, and its past part has no gradient. "Own" are the classes of the task that a sample came with:
the present ones for a new sample. Both means are over the samples whose gap is positive.

The memory is class-balanced and is filled at the end of a task, with the logits of that moment. No
stored logit of another task may pass the true one by far. So the past part of a new sample's logits is
scaled by min(1, gamma z_y / its maximum). In older samples the part of the present and the future
classes becomes the network's, scaled in the same way.

All terms were read in the authors' code (Mammoth, ``models/xder.py``), and so were the two hinges: one
of probabilities, one of logits. They were not compared with the paper's text.

Deviations: the authors also bring stored logits up to date at random steps, more and more rarely; here
it is once, at the end of each task. They scale a part only where its maximum passes z_y, here where it
passes gamma z_y; and by a negative factor where z_y is negative, here by 0. Their stored logits are of
augmented samples. In the last term they count a sample once that was drawn twice. They contrast the
logits of each future task by itself, here all future classes together, and no class or a single one is
left alone. Their batch-normalisation statistics of the stream alone are not kept apart. Where tasks
are told, the scores of the loss are not masked by them. By default views are as in
``clbench.data.augment.suited``. The constants are those of Mammoth's CIFAR-100 runs with 500 samples,
but these runs are not of this loss: by now they also keep the distances between future logits (weight
3,000), and leave the first hinge out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, Needs, ReplayStrategy, StreamInfo, TaskData, UsageError
from clbench.data.augment import check_augment, suited, views
from clbench.nets.losses import present, supervised_contrastive
from clbench.nets.modes import evaluating
from clbench.replay import n_new
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Log

AT_ONCE = 512
"""Samples that go through the network at once, outside training."""


class XDER(ReplayStrategy):
    """Matches stored logits that later classes are written into, and spreads the future ones."""

    needs = Needs(boundaries=True, disjoint_classes=True)
    replays_current = False

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Settings of X-DER."""

        policy: Literal["class_balanced", "reservoir", "task_balanced"] = "class_balanced"
        """Samples that a full memory keeps: by default equally many of each class."""
        alpha: Annotated[float, AtLeast(0)] = field(default=0.3, metadata={"space": Log(0.05, 2)})
        """Weight of the distance between stored and present logits."""
        beta: Annotated[float, AtLeast(0)] = field(default=0.8, metadata={"space": Log(0.05, 2)})
        """Weight of the replayed samples' cross-entropy."""
        lam: Annotated[float, AtLeast(0)] = 0.05
        """Weight of the contrast of future logits."""
        eta: Annotated[float, AtLeast(0)] = 0.1
        """Weight of the terms that keep past and future classes below those of a sample's own task."""
        margin: Annotated[float, AtLeast(0)] = 0.3
        """By how much."""
        gamma: Annotated[float, Within(0, 1)] = 0.85
        """Largest stored logit of another task's class, as a share of that of the true one."""
        temperature: Annotated[float, Positive] = 5.0
        """Similarities of future logits are divided by it."""
        n_views: Annotated[int, AtLeast(1)] = 4
        """Views of each sample that are contrasted."""
        contrast_batch: Annotated[int, AtLeast(1)] = 64
        """New samples of a step whose views are contrasted, at most, and stored ones besides."""
        views: str | None = None
        """Augmentations of the views, as data.augment takes them; null: as suits the data."""

        def without_effect(self) -> dict[str, str]:
            """What is left without by contrasting nothing."""
            idle = () if self.lam else ("temperature", "n_views", "contrast_batch", "views")
            return super().without_effect() | dict.fromkeys(idle, "lam=0")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.mask != "none":
                raise UsageError(f"strategy.mask={self.mask}: xder masks by itself; leave it out")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model, extra={"logits": (info.n_classes,)})
        self.views = suited(info.input_shape, info.dtype) if config.views is None else config.views
        check_augment(self.views, info.input_shape, info.dtype, info.scale)
        self.register_buffer("task_of", torch.full((info.n_classes,), -1))
        self.task_of: Tensor
        """``(n_classes,)`` int64: the number of the task of each class, from 0; -1: still to come."""
        self._number = 0
        self._past = self._now = self.task_of >= 0
        self._future = torch.arange(0)

    def resolved(self) -> dict[str, object]:
        """Add the augmentations of the views."""
        return {**super().resolved(), "views": self.views}

    def begin(self, task: TaskData) -> TaskData:
        """Tell past, present and future classes apart."""
        self._number = int(self.task_of.max()) + 1
        self._past = self.task_of >= 0
        self._now = present(task.y, self.info.n_classes) & ~self._past
        self.task_of[self._now] = self._number
        self._future = (self.task_of < 0).nonzero().squeeze(1)
        return super().begin(task)

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """Draw samples whose logits are matched, as many whose labels are fitted, and to contrast."""
        sizes = [self.replay_batch] * 2 + [self.config.contrast_batch] * self.contrasts
        return tuple(self.recall(size, batch.x) for size in sizes)

    @property
    def contrasts(self) -> bool:
        """Whether there are future logits to contrast."""
        return len(self._future) > 1 and self.config.lam > 0

    def loss(self, batch: Batch) -> Tensor:
        """Compute all terms of the loss, 0-d."""
        n, c = n_new(batch), self.config
        dark, end = n, n
        if len(batch.y) > n:
            dark, end = n + self.replay_batch, n + 2 * self.replay_batch
        h: Tensor = self.model(batch.x[:end])
        here = h[:n].masked_fill(~self._now, -torch.inf)
        loss = F.cross_entropy(here, batch.y[:n], ignore_index=-1)
        if dark > n:
            z = batch.extra["logits"].to(h.dtype)
            loss = loss + c.alpha * (h[n:dark] - z).square().mean()
            old = h[dark:].masked_fill(~self._past, -torch.inf)
            loss = loss + c.beta * F.cross_entropy(old, batch.y[dark:end])
        if self._number and c.eta:
            loss = loss + c.eta * violation(self.over_past(h[:n]))
        if len(self._future) and c.eta:
            loss = loss + c.eta * violation(self.over_future(h, batch.y[:end], n))
        if self.contrasts:
            new = min(n, c.contrast_batch)
            x, y = (torch.cat([part[:new], part[end:]]) for part in (batch.x, batch.y))
            loss = loss + c.lam * self.contrast(x, y)
        return loss

    def over_past(self, h: Tensor) -> Tensor:
        """Compute by how much past classes pass the present ones, ``(n,)``, from ``(n, C)`` logits."""
        p = h.masked_fill(self.task_of < 0, -torch.inf).softmax(1)
        past, now = (p.masked_fill(~of, 0.0).amax(1) for of in (self._past, self._now))
        gap: Tensor = past.detach() + self.config.margin - now
        return gap

    def over_future(self, h: Tensor, y: Tensor, n: int) -> Tensor:
        """Compute by how much future logits pass those of each sample's own task, ``(B,)``.

        Args:
            h: ``(B, C)`` logits.
            y: ``(B,)`` labels, of which those of new samples are not read.
            n: how many samples are new; they are the first.
        """
        task = self.task_of[y]
        task[:n] = self._number
        own = h.masked_fill(self.task_of != task[:, None], -torch.inf)
        gap: Tensor = h.index_select(1, self._future).amax(1) + self.config.margin - own.amax(1)
        return gap

    def contrast(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the supervised contrastive loss of future logits, 0-d."""
        k = self.config.n_views
        h = self.model(torch.cat(views(self.views, x, k))).index_select(1, self._future)
        sample = torch.arange(len(y), device=y.device).repeat(k)
        return supervised_contrastive(h, y.repeat(k), sample, self.config.temperature)

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Bring the stored logits up to date, and admit the task with those of its samples."""
        n, memory = int(self.memory.filled), self.memory
        with evaluating(self.model):
            old = memory.x[:n].to(self.info.dtype).split(AT_ONCE)
            h = torch.cat([self.model(x) for x in (*old, *task.samples(AT_ONCE))])
        stored, gamma = memory.get_buffer("logits")[:n], self.config.gamma
        stored.copy_(updated(stored, h[:n].to(stored), memory.y[:n], ~self._past, gamma))
        new = h[n:]
        self.admit(task, logits=updated(new, new, task.y.clamp_min(0), self._past, gamma))


def violation(gap: Tensor) -> Tensor:
    """Compute the mean of the positive ones of ``(b,)`` gaps, 0-d; 0 if there are none."""
    return gap.clamp_min(0).sum() / (gap > 0).sum().clamp_min(1)


def updated(z: Tensor, h: Tensor, y: Tensor, part: Tensor, gamma: float) -> Tensor:
    """Write the logits ``h`` of the classes ``part`` into stored ones ``z``, scaled down.

    Args:
        z: ``(n, C)`` stored logits.
        h: ``(n, C)`` those of the network.
        y: ``(n,)`` labels; the classes ``part`` are those of other tasks.
        part: ``(C,)`` bool.
        gamma: what is written is at most this share of the stored logit of the label.

    Returns:
        ``(n, C)``
    """
    true = z.gather(1, y[:, None])
    most = h.masked_fill(~part, -torch.inf).amax(1, keepdim=True)
    scale = torch.where(most > 0, (gamma * true / most).clamp(0, 1), 1.0)
    return torch.where(part, h * scale, z)
