"""The settings of the training loop, and the learning rate of a step."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from clbench.errors import UsageError
from clbench.nets import weights
from clbench.nets.optim import FlatWeights, build_optimizer
from clbench.settings import AtLeast, Positive, Within, check
from clbench.space import Log

Schedule = Literal["constant", "cosine", "multistep"]


@dataclass(frozen=True)
class First:
    """Settings ``strategy.first.<name>``: for the first task alone; null: those of all tasks."""

    lr: Annotated[float | None, Positive] = None
    """Learning rate."""
    batch_size: Annotated[int | None, AtLeast(1)] = None
    """Samples per step."""
    epochs: Annotated[int | None, AtLeast(1)] = None
    """Passes over the task."""
    weight_decay: Annotated[float | None, AtLeast(0)] = None
    """The optimizer's weight decay."""
    schedule: Schedule | None = None
    """Learning rate within the task."""
    milestones: Annotated[tuple[int, ...] | None, AtLeast(1)] = None
    """Epochs of schedule=multistep."""
    milestone_factor: Annotated[float | None, Within(0, 1, open_low=True)] = None
    """Factor of schedule=multistep."""
    warmup: Annotated[int | None, AtLeast(0)] = None
    """Epochs of warm-up."""
    label_smoothing: Annotated[float | None, Within(0, 1, open_high=True)] = None
    """Share of each label that goes to all classes."""
    patience: Annotated[int | None, AtLeast(1)] = None
    """Epochs without improvement after which the task ends."""

    def __post_init__(self) -> None:
        check(self, "strategy.first")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training loop, which every strategy that trains a network has."""

    lr: Annotated[float | None, Positive] = field(
        default=None, metadata={"space": Log(0.03, 5, times="base_lr")}
    )
    """Learning rate; null: 0.1 for SGD, 0.001 for every other optimizer."""
    momentum: Annotated[float, Within(0, 1, open_high=True)] = 0.0
    """Momentum of SGD. The effective learning rate is lr / (1 - momentum)."""
    nesterov: bool = False
    """Nesterov's momentum for SGD: the step looks ahead along the momentum."""
    batch_size: Annotated[int, AtLeast(1)] = 32
    """Samples per step."""
    accumulate: Annotated[int, AtLeast(1)] = 1
    """Parts in which a step's batch, replayed samples included, goes through the network. Gradients are
    added: the step is the same to rounding (but for batch normalisation), and needs less memory."""
    epochs: Annotated[int, AtLeast(1)] = 1
    """Passes over each experience."""
    optimizer: str = "sgd"
    """sgd, adam, or any other class of torch.optim; adam_gnt: Adam with a step count for each weight,
    which restarts with units that get new weights. Its state is kept between experiences unless
    reset_optimizer is set."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    """The optimizer's weight decay."""
    clip_norm: Annotated[float | None, Positive] = 10.0
    """The gradient's norm is clipped to this (SCoLe: 10); null: not clipped."""
    schedule: Schedule = "constant"
    """Learning rate within an experience: constant, cosine (to zero), or multistep (times
    milestone_factor at each of the milestones)."""
    milestones: Annotated[tuple[int, ...], AtLeast(1)] = ()
    """Epochs after which schedule=multistep lowers the learning rate, ascending: [60,120,170]."""
    milestone_factor: Annotated[float, Within(0, 1, open_low=True)] = 0.1
    """What schedule=multistep multiplies the learning rate by at each milestone."""
    warmup: Annotated[int, AtLeast(0)] = 0
    """Epochs at the start of each experience in which the learning rate rises, step by step, to its
    value. The cosine follows in the epochs that are left."""
    label_smoothing: Annotated[float, Within(0, 1, open_high=True)] = 0.0
    """Share of each label that goes to all classes alike, those that are masked excepted."""
    patience: Annotated[int | None, AtLeast(1)] = None
    """Early stopping: hold out a tenth of each class of every experience (at least one sample, of two
    or more), end the experience after this many epochs without a better accuracy on it, and keep the
    weights of the best epoch. What is held out is not trained on, and is not part of what a strategy
    gathers after training (memories, class means, importances). null: train on all samples."""
    first: First = First()
    """Settings for the first task (the first experience, where boundaries are hidden) that differ:
    strategy.first.epochs=200; also lr, batch_size, weight_decay, schedule, milestones,
    milestone_factor, warmup, label_smoothing and patience."""
    reset_optimizer: bool = False
    """Clear the optimizer's state before every experience: each task, or each chunk of one."""
    reset_weights: bool = False
    """Start every experience with a fresh network and optimizer, so that only memories last."""
    mask: Literal["none", "single", "group_zero", "group"] = "none"
    """What training does with the scores of classes outside mask_scope. none: nothing; group:
    leaves them out of the softmax (SCoLe); group_zero: sets them to 0; single: sets all scores to
    0 but that of the sample's own class."""
    mask_scope: Literal["batch", "task"] = "batch"
    """Classes that a mask keeps: those of the batch, or also all others of the experience."""
    weights_path: Path | None = None
    """Safetensors file that the network starts from (clbench export); null: fresh weights. An
    output layer for another number of classes starts fresh. Such runs count as pretrained."""
    weights_sha256: str | None = None
    """SHA-256 of that file. It is filled in and is part of the run's identity; a hash that is
    given must be right."""

    def complete(self) -> None:
        """Fill in the hash of the weights, and check what two settings may not be together.

        Raises:
            UsageError: naming the settings.
        """
        sha256 = weights.pinned("weights", self.weights_path, self.weights_sha256)
        object.__setattr__(self, "weights_sha256", sha256)
        if self.nesterov and not self.momentum:
            raise UsageError("strategy.nesterov=true needs strategy.momentum above 0")
        if (self.schedule == "multistep") != bool(self.milestones):
            raise UsageError(
                "strategy.schedule=multistep and strategy.milestones=[...] go together: "
                f"schedule is {self.schedule} and milestones are {list(self.milestones)}"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            raise UsageError(f"strategy.milestones={list(self.milestones)} must ascend")
        if self.warmup > self.passes:
            raise UsageError(
                f"strategy.warmup={self.warmup} must be at most "
                f"strategy.{self.passes_setting}={self.passes}"
            )
        if self.accumulate > 1 and self.mask in ("group", "group_zero"):
            raise UsageError(
                f"strategy.accumulate={self.accumulate} cuts a batch, whose classes strategy.mask="
                f"{self.mask} looks at; set strategy.mask=none"
            )
        try:
            self.for_first()
        except UsageError as error:
            raise UsageError(f"strategy.first: {error}") from error

    def refuse_unless(
        self, has_common_loop: bool, has_common_loss: bool, is_smoothed: bool
    ) -> None:
        """Refuse settings of the common loop or loss in a strategy that replaces it.

        A setting that the strategy declares itself is its own. ``is_smoothed`` says whether the loss,
        common or not, heeds ``label_smoothing``.

        Raises:
            UsageError: naming the setting.
        """
        self.refuse_no_smoothing(is_smoothed)
        if self.accumulate > 1 and not has_common_loss:
            raise UsageError(
                "strategy.accumulate is of the common loss, a mean over samples, which this strategy "
                "replaces by one of its own; leave it out"
            )
        given = {"first": self.for_first() is not None, "patience": self.patience is not None}
        for name, is_given in given.items():
            if is_given and not has_common_loop:
                raise UsageError(
                    f"strategy.{name} is of the common training loop, which this strategy replaces; "
                    "leave it out"
                )

    def refuse_no_smoothing(self, is_smoothed: bool) -> None:
        """Refuse ``label_smoothing`` where the loss does not heed it.

        Raises:
            UsageError: naming the setting.
        """
        if self.label_smoothing and not is_smoothed and "label_smoothing" not in self._own():
            raise UsageError(
                "strategy.label_smoothing is of the common loss, which this strategy replaces by a "
                "cross-entropy of its own; leave it out"
            )

    def build_optimizer(self, weights: FlatWeights) -> torch.optim.Optimizer:
        """The optimizer that the settings name, over some weights.

        Raises:
            UsageError: it has not one of the settings, or refuses the model.
        """
        rates = self.base_lr, self.momentum, self.weight_decay
        return build_optimizer(self.optimizer, weights, *rates, self.nesterov)

    def _own(self) -> set[str]:
        """The settings that the classes below this one declare, anew or first."""
        mro = type(self).__mro__
        below = mro[: mro.index(TrainingSettings)]
        return {name for cls in below for name in vars(cls).get("__annotations__", {})}

    def for_first(self) -> Any:
        """The settings of the first task, of the same class; None where they are those of all."""
        given = {
            f.name: getattr(self.first, f.name)
            for f in dataclasses.fields(self.first)
            if getattr(self.first, f.name) is not None
        }
        return dataclasses.replace(self, first=First(), **given) if given else None

    @property
    def passes_setting(self) -> str:
        """The setting that says how many passes a training takes; not all strategies train a task."""
        return "epochs"

    @property
    def passes(self) -> int:
        """The passes of a training, which warm-up and milestones count in."""
        return int(getattr(self, self.passes_setting))

    @property
    def base_lr(self) -> float:
        """The learning rate before any schedule."""
        if self.lr is not None:
            return self.lr
        return 0.1 if self.optimizer.lower() == "sgd" else 1e-3

    def lr_at(self, step: int, n_steps: int) -> float | None:
        """The learning rate of a step; None: it does not change within an experience.

        Args:
            step: number of the step, from 0.
            n_steps: steps of the whole training, in which ``passes`` epochs pass.
        """
        warm = self.warmup * n_steps // self.passes
        if step < warm:
            return self.base_lr * (step + 1) / warm
        if self.schedule == "cosine":
            at = math.cos(math.pi * (step - warm) / (n_steps - warm))
            return self.base_lr * (1 + at) / 2
        if self.schedule == "multistep":
            epoch = step * self.passes // n_steps
            passed = sum(milestone <= epoch for milestone in self.milestones)
            return float(self.base_lr * self.milestone_factor**passed)
        return self.base_lr if self.warmup else None
