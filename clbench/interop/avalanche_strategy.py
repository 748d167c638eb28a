"""Runs a clbench strategy in the training and evaluation loops of Avalanche."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from clbench import seeding
from clbench.interop import plain_tensors
from clbench.seeding import Axis


@cache
def strategy_class(template: type[Any]) -> type[Any]:
    """Make a subclass of Avalanche's ``SupervisedTemplate`` that trains a clbench strategy."""

    class LearnerInAvalanche(template):  # type: ignore[misc]
        """A clbench strategy in Avalanche's loop."""

        def __init__(self, *, seed: int, **given: Any) -> None:
            super().__init__(**given)
            self.seed = seed
            self.allowed: dict[int, Tensor] = {}

        def make_optimizer(self, **_: Any) -> None:
            """Make no optimizer: the strategy has its own."""

        def check_model_and_optimizer(self, **_: Any) -> None:
            """Nothing to adapt."""

        def model_adaptation(self, model: Any = None) -> Any:
            """Nothing to adapt."""
            return self.model if model is None else model

        def make_train_dataloader(self, shuffle: bool = False, **given: Any) -> None:
            """Make the loader of the pass for metrics, in order."""
            super().make_train_dataloader(shuffle=False, **given)

        def training_epoch(self, **given: Any) -> None:
            """Learn the experience, then pass over it once for the metrics."""
            self.learn()
            self.model.eval()
            for minibatch in self.dataloader:
                self.mbatch = minibatch
                self._unpack_minibatch()
                self._before_training_iteration(**given)
                self._before_forward(**given)
                with torch.no_grad():
                    self.mb_output = self.forward()
                    self.loss = self.criterion()
                self._after_forward(**given)
                self._after_training_iteration(**given)
            self.model.train()

        def learn(self) -> None:
            """Pass the whole experience to the strategy."""
            data = self.adapted_dataset
            loader = torch.utils.data.DataLoader(
                data, 512, collate_fn=data.collate_fn, generator=torch.Generator()
            )
            parts = [(part[0], part[1], part[-1]) for part in loader]
            x, y, labels = (
                torch.cat(column).to(self.device) for column in zip(*parts, strict=True)
            )
            task_id = int(labels[0]) if self.model.info.task_ids else None
            if task_id is not None:
                none = torch.zeros(self.model.info.n_classes, dtype=torch.bool, device=y.device)
                self.allowed.setdefault(task_id, none)[y] = True
            number = self.clock.train_exp_counter
            with seeding.preserved(threads=1):
                seeding.seed_all(self.seed, Axis.LEARN, number)
                self.model.learn(plain_tensors.task_data(x, y, task_id, self.seed, number))
                self.model.prepare()

        def forward(self) -> Tensor:
            """``(B, n_classes)`` scores of the current minibatch."""
            if not self.model.info.task_ids:
                scores: Tensor = self.model(self.mb_x, None)
                return scores
            scores = self.model(self.mb_x, self.mb_task_id)
            for label in self.mb_task_id.unique().tolist():
                seen = self.allowed.get(label)
                if seen is not None:
                    here = (self.mb_task_id == label)[:, None] & ~seen
                    scores = scores.masked_fill(here, -torch.inf)
            return scores

    return LearnerInAvalanche
