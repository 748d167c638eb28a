"""Early stopping: the weights of the epoch that predicts held-out samples best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from clbench.nets.modes import evaluating

if TYPE_CHECKING:
    from clbench.stream import TaskData

SHARE = 0.1
"""Of each class's training samples; that of ``evaluate_on=val``."""
AT_ONCE = 512
"""Samples that are scored at once."""

B = TypeVar("B")


def hold_out(task: TaskData) -> tuple[TaskData, TaskData]:
    """Part an experience into samples to train on and a tenth of each class to stop by.

    Of each class the samples of the smallest keys are held out: a tenth, at least one, and none of a
    class of one sample. Keys are as good as random, and the same for every strategy and device.
    Samples without a label are trained on. The labels are read by the host, once.
    """
    y, key = task.y.cpu().numpy(), task.key.cpu().numpy()
    mask = np.zeros(len(y), dtype=bool)
    for label in np.unique(y[y >= 0]):
        members = np.flatnonzero(y == label)
        if len(members) > 1:
            ranked = members[np.argsort(key[members], kind="stable")]
            mask[ranked[: max(1, round(SHARE * len(members)))]] = True
    parts = (np.flatnonzero(~mask), np.flatnonzero(mask))
    train, val = (task.part(torch.as_tensor(part, device=task.y.device)) for part in parts)
    return train, val


class EarlyStopping:
    """Goes through the batches of an experience until no epoch has been better for a while.

    The accuracy is read by the host once an epoch. Nothing is evaluated where nothing is held out.
    """

    def __init__(
        self,
        model: nn.Module,
        val: TaskData,
        patience: int,
        classes_of_task: Tensor | None = None,
    ) -> None:
        """Watch a network.

        Args:
            model: the network.
            val: what it is scored on.
            patience: epochs without a better accuracy.
            classes_of_task: ``(n_tasks, n_classes)`` bool, where samples are scored on the classes
                of their task alone.
        """
        self.model, self.val, self.patience = model, val, patience
        self.classes_of_task = classes_of_task
        self.best = -1
        """Correct answers of the best epoch so far."""
        self.kept: dict[str, Tensor] = {}

    def until_no_better(self, batches: Iterable[B], per_epoch: int) -> Iterator[B]:
        """Yield the batches, ``per_epoch`` an epoch, and end when the patience is over."""
        waited = 0
        for number, batch in enumerate(batches, 1):
            yield batch
            if number % per_epoch or len(self.val) == 0:
                continue
            correct = self._correct()
            waited = 0 if correct > self.best else waited + 1
            if correct > self.best:
                self.best = correct
                self.kept = {k: v.clone() for k, v in self.model.state_dict().items()}
            if waited >= self.patience:
                return

    def restore(self) -> None:
        """Give the network the parameters and buffers of its best epoch."""
        if self.kept:
            self.model.load_state_dict(self.kept)

    @torch.no_grad()
    def _correct(self) -> int:
        with evaluating(self.model):
            hits = [self._hits(part) for part in self.val.split(AT_ONCE)]
        return int(torch.stack(hits).sum())

    def _hits(self, part: TaskData) -> Tensor:
        scores: Tensor = self.model(part.x)
        if self.classes_of_task is not None and part.task_id is not None:
            scores = scores.masked_fill(~self.classes_of_task[part.task_id], -torch.inf)
        return (scores.argmax(1) == part.y).sum()
