"""SLCA: the backbone learns slowly, and the output layer is aligned with Gaussians of all classes.

Zhang et al. 2023, "SLCA: Slow Learner with Classifier Alignment for Continual Learning on a Pre-trained
Model" (ICCV, arXiv 2303.05118). Cross-entropy over the task's own classes trains the whole network, the
backbone with ``slow`` times the learning rate of the output layer. After a task, the mean and the
covariance S of the features of each of its classes are kept (S + 1e-4 I). Then, from the second task
on, the output layer alone is trained on ``draws`` samples of the Gaussian of each class seen so far,
drawn anew for each pass, with a learning rate that falls with a cosine from pass to pass. Its loss is
the cross-entropy of logits over ``align_norm`` times their length, where the length is the mean over
tasks of the norm of the logits of that task's classes (the logit normalisation of section 3.3). The
next task starts from the output layer as it was before the alignment, so that layer is kept too.

What is tuned is ``model.tune`` (the paper: everything). All this was read in the authors' code: 256
draws, 5 passes, a factor of .1, SGD with momentum .9 and weight decay 5e-4.

Deviations: in that code the means of old classes are shrunk by up to a tenth, here they are not; its
output layers of earlier tasks are frozen while the network is trained, here weight decay reaches them;
an experience counts as a task; statistics of a class that comes again are merged, old features
included; the step is slowed down by shortening each move, which is the smaller learning rate for every
optimizer that is linear in it; with ``reset_weights`` no output layer is taken up again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.latents import ClassCovariances, among_seen, batches
from clbench.nets.features import features
from clbench.nets.optim import SGD
from clbench.nets.parameters import output_layer
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Log

RIDGE = 1e-4
"""Added to the diagonal of each covariance."""
MOMENTUM, DECAY = 0.9, 5e-4


class SLCA(GradientStrategy):
    """Trains the backbone slowly, and aligns the output layer after each experience."""

    extends_loss = True

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of SLCA."""

        mask: Literal["none", "single", "group_zero", "group"] = "group"
        """What training does with the scores of classes outside mask_scope. none: nothing; group:
        leaves them out of the softmax (SLCA); group_zero: sets them to 0; single: sets all scores to 0
        but that of the sample's own class."""
        mask_scope: Literal["batch", "task"] = "task"
        """Classes that a mask keeps: those of the batch, or also all others of the experience."""
        slow: Annotated[float, Within(0, 1)] = field(default=0.01, metadata={"space": Log(1e-3, 1)})
        """Learning rate of the backbone, as a share of that of the output layer."""
        draws: Annotated[int, AtLeast(0)] = 256
        """Gaussian samples of each class that the output layer is aligned with; 0: it is not."""
        align_epochs: Annotated[int, AtLeast(1)] = 5
        """Passes, each over samples of its own."""
        align_lr: Annotated[float, Positive] = field(
            default=0.01, metadata={"space": Log(1e-3, 1e-1)}
        )
        """Learning rate of the alignment's first pass; it falls with a cosine towards 0."""
        align_norm: Annotated[float | None, Positive] = 0.1
        """Factor of the length that logits are divided by in the alignment; null: they are not."""

        def without_effect(self) -> dict[str, str]:
            """What is of the alignment alone."""
            idle = () if self.draws else ("align_epochs", "align_lr", "align_norm")
            return super().without_effect() | dict.fromkeys(idle, "draws=0")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        layer = output_layer(self.model)
        if layer is None:
            raise UsageError("slca aligns a linear output layer; this model has none, use another")
        self.classes = ClassCovariances(info.n_classes, layer.in_features)
        self.register_buffer("task_of", torch.zeros(info.n_classes, dtype=torch.int64))
        self.register_buffer("tasks", torch.zeros((), dtype=torch.int64))
        self.task_of: Tensor
        """``(n_classes,)`` int64: the number of the task that a class came with, from 0."""
        self.tasks: Tensor
        """0-d int64: tasks that brought a class."""
        of_layer = {id(p) for p in layer.parameters()}
        places = self.per_parameter(torch.arange(len(self.weights), device=self.weights.device))
        parts = zip(self.model.parameters(), places, strict=True)
        head = torch.cat([part.flatten() for p, part in parts if id(p) in of_layer])
        self.register_buffer("head", head, persistent=False)
        self.head: Tensor
        """``(k,)`` int64: where the output layer is in ``weights``."""
        rate = torch.full_like(self.weights, config.slow).index_fill_(0, head, 1.0)
        self.register_buffer("rate", rate, persistent=False)
        self.rate: Tensor
        """``(P,)``: the share of each move that is made."""
        self.register_buffer("unaligned", self.weights[self.head])
        self.unaligned: Tensor
        """``(k,)``: the output layer before the last alignment."""

    def begin(self, task: TaskData) -> TaskData:
        """Take up the output layer as it was before the alignment."""
        if bool(self.tasks) and not self.config.reset_weights:
            self.weights[self.head] = self.unaligned
        return super().begin(task)

    def step(self, batch: Batch) -> None:
        """Update the weights once; those of the backbone go a part of the way."""
        before = self.weights.clone()
        super().step(batch)
        self.weights.copy_(torch.lerp(before, self.weights, self.rate))

    def consolidate(self, task: TaskData) -> None:
        """Add the statistics of the experience, and align the output layer."""

        def parts() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for x, of, labelled in batches(task, self.config.batch_size):
                yield features(self.model, x), of, labelled

        known = self.classes.count > 0
        with torch.no_grad():
            self.classes.add(parts)
        new = (self.classes.count > 0) & ~known
        self.task_of.copy_(torch.where(new, self.tasks, self.task_of))
        self.tasks.add_(new.any())
        self.unaligned.copy_(self.weights[self.head])
        if self.config.draws and bool(known.any()):
            self.align()

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute logits ``(B, n_classes)``; a class that was never seen has none, as in the code."""
        return among_seen(super().forward(x, task_id), self.classes.count)

    def align(self) -> None:
        """Train the output layer on Gaussian samples of all classes seen, drawn for each pass."""
        layer = output_layer(self.model)
        assert layer is not None
        [seen] = (self.classes.count > 0).nonzero(as_tuple=True)
        y, classes = seen.repeat_interleave(self.config.draws), seen.tolist()
        factors = [self.factor(c) for c in classes]
        lr, passes = self.config.align_lr, self.config.align_epochs
        optimizer = SGD([*layer.parameters()], lr, MOMENTUM, DECAY)
        for number in range(passes):
            optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * number / passes)) / 2
            z = torch.cat([self.drawn(c, f) for c, f in zip(classes, factors, strict=True)])
            for part in torch.randperm(len(y), device=y.device).split(self.config.draws):
                optimizer.zero_grad()
                self.alignment_loss(layer(z[part]), y[part]).backward()
                with torch.no_grad():
                    optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def factor(self, number: int) -> Tensor:
        """Compute the Cholesky factor of a class's covariance, ``(d, d)``."""
        covariance = self.classes.covariance(number).double()
        covariance.diagonal().add_(RIDGE)
        factor: Tensor = torch.linalg.cholesky(covariance).to(self.classes.mean.dtype)
        return factor

    @torch.no_grad()
    def drawn(self, number: int, factor: Tensor) -> Tensor:
        """Draw ``(draws, d)`` features of a class from its Gaussian, by the factor of that."""
        shape = self.config.draws, len(factor)
        noise = torch.randn(shape, device=factor.device, dtype=factor.dtype)
        drawn: Tensor = self.classes.mean[number] + noise @ factor.mT
        return drawn

    def alignment_loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Compute the mean cross-entropy over the classes seen, 0-d, of ``(B, n_classes)`` scores."""
        seen = self.classes.count > 0
        if self.config.align_norm is not None:
            squares = torch.where(seen, scores.square(), 0)
            by_task = torch.zeros_like(squares).index_add(1, self.task_of, squares)
            length = (by_task + 1e-14).sqrt() * (
                torch.arange(len(seen), device=y.device) < self.tasks
            )
            scores = scores / (length.sum(1, keepdim=True) / self.tasks) / self.config.align_norm
        return F.cross_entropy(scores.masked_fill(~seen, -torch.inf), y)
