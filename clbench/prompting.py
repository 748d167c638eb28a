"""The base of methods that learn prompts of a frozen vision transformer, a slice of them a task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.latents import among_seen
from clbench.needs import Needs
from clbench.nets.losses import cross_entropy, present
from clbench.nets.prompts import Prompted, Prompts
from clbench.nets.vit import Vit
from clbench.strategy import Batch, GradientStrategy, StreamInfo
from clbench.stream import TaskData


class PromptStrategy(GradientStrategy):
    """Trains a pool of prompts and the output layer; a pool is a method."""

    needs: ClassVar[Needs] = Needs(boundaries=True, n_tasks=True)
    extends_loss: ClassVar[bool] = True
    called: ClassVar[str]
    """Its name, for errors."""
    results_version: ClassVar[int] = 2
    """Raised by a change of this base that alters what its strategies give."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings that methods with prompts share."""

        optimizer: str = "adam"
        """sgd, adam, or any other class of torch.optim; adam_gnt: Adam with a step count for each
        weight, which restarts with units that get new weights. Its state is kept between experiences
        unless reset_optimizer is set."""
        mask: Literal["none", "single", "group_zero", "group"] = "group"
        """What training does with the scores of classes outside mask_scope. none: nothing; group:
        leaves them out of the softmax, as methods with prompts do; group_zero: sets them to 0; single:
        sets all scores to 0 but that of the sample's own class."""
        mask_scope: Literal["batch", "task"] = "task"
        """Classes that a mask keeps: those of the batch, or also all others of the experience."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.reset_weights:
                raise UsageError("strategy.reset_weights=true would lose the prompts; leave it out")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        make = partial(self.pool, info, config)
        super().__init__(info, config, partial(_prompted, build_model, make, self.called))
        self.register_buffer("is_between", torch.tensor(True))
        self.is_between: Tensor
        """0-d bool: whether the next experience begins a task."""
        self.register_buffer("seen", torch.zeros(info.n_classes, dtype=torch.bool))
        self.seen: Tensor
        """``(n_classes,)`` bool: classes that were trained on."""

    @staticmethod
    @abstractmethod
    def pool(info: StreamInfo, config: GradientStrategy.Config, vit: Vit) -> Prompts:
        """Make the pool for a transformer.

        Raises:
            UsageError: a setting does not fit the transformer or the stream.
        """

    @property
    def prompts(self) -> Prompts:
        """The pool."""
        return cast(Prompts, self.model.prompts)

    def begin(self, task: TaskData) -> TaskData:
        """Open a slice of the pool where a task begins, and start a new optimizer.

        The averages of the last task's gradients would move what it left behind.
        """
        if bool(self.is_between):
            self.prompts.open()
            self.optimizer.state.clear()
        return super().begin(task)

    def loss(self, batch: Batch) -> Tensor:
        """Compute the mean cross-entropy, 0-d, and the pool's term where it has one."""
        scores, pull = cast(Prompted, self.model).answer(batch.x)
        self._smooths, smoothing = True, self.config.label_smoothing
        loss = cross_entropy(self.masked(scores, batch), batch.y, batch.weight, smoothing)
        return loss if pull is None else loss + pull

    def consolidate(self, task: TaskData) -> None:
        """Note the classes, and whether the task is over."""
        self.seen.logical_or_(present(task.y, self.info.n_classes))
        self.is_between.fill_(bool(task.ends_task))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute logits ``(B, n_classes)``; a class that was never seen has none.

        So it is in the code of CODA-Prompt; that of L2P and DualPrompt lets all rows answer.
        """
        return among_seen(super().forward(x, task_id), self.seen)


def _prompted(
    build_model: Callable[[], nn.Module], make: Callable[[Vit], Prompts], who: str
) -> nn.Module:
    return Prompted(build_model(), make, who)
