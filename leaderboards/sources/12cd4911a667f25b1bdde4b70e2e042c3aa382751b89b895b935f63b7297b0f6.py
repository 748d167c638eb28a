"""Joint training: trains on all samples seen so far, as no continual learner could.

- ``budget=full``, the default, is the upper bound: every task trains on the whole union of the samples
  seen so far, from the weights that the last task left. ``scratch`` does the same from fresh weights.
- ``budget=evaluations`` trains on the whole union before each evaluation only, ``memory_epochs`` times
  over. It is the bound that long streams can afford, with few evaluations (``eval_every=log``).
- ``budget=matched`` is a compute-matched control and no bound: every epoch draws anew, from all
  distinct samples seen so far, as many as the task has. So it costs what other strategies cost.

Weights are kept from one training to the next, unless ``budget=scratch``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData
from clbench.memory.store import SampleStore
from clbench.settings import AtLeast


class Joint(GradientStrategy):
    """Stores every distinct sample and trains on all of them."""

    grows = True

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of joint training."""

        budget: Literal["full", "matched", "scratch", "evaluations"] = "full"
        """What is trained on. full: all samples seen, at every task; scratch: the same, from fresh
        weights; evaluations: all samples seen, before each evaluation only; matched: as many as the
        task has, drawn from all (a control that costs what others cost, and no bound)."""
        memory_epochs: Annotated[int, AtLeast(1)] = 10
        """Passes over all samples seen, in each training of budget=evaluations."""

        def without_effect(self) -> dict[str, str]:
            """What is of one budget, or of training at each experience."""
            found = super().without_effect()
            if self.budget == "evaluations":
                idle = ("reset_weights", "reset_optimizer")
                return found | dict.fromkeys(idle, "budget=evaluations")
            return found | {"memory_epochs": f"budget={self.budget}"}

        def misleading(self) -> dict[str, str]:
            """What counts passes over an experience, of which budget=evaluations makes none."""
            would = "counts passes over an experience, and budget=evaluations makes none"
            counts = ("warmup", "milestones") if self.budget == "evaluations" else ()
            return super().misleading() | dict.fromkeys(counts, would)

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.seen = SampleStore(info)

    def learn(self, task: TaskData) -> None:
        """Train on all that is stored, or leave that to ``prepare``."""
        if self.config.budget != "evaluations":
            super().learn(task)
            return
        self.seen.add(task)
        if task.task_id is not None:
            self.classes_of_task[task.task_id[0], task.classes] = True

    def begin(self, task: TaskData) -> TaskData:
        """Store the experience; return what the first epoch trains on."""
        self.seen.add(task)
        if self.config.budget == "scratch":
            self.start_again()
        return self._drawn(len(task) if self.config.budget == "matched" else len(self.seen))

    def batches(self, task: TaskData) -> Iterator[Batch]:
        """Cut a draw of as many samples as ``begin`` returned into batches, a new one each epoch."""
        return self._passes(task, self.config.epochs)

    def prepare(self) -> None:
        """Train on all that is stored, for ``budget=evaluations``."""
        n = len(self.seen)
        if self.config.budget != "evaluations" or n == 0:
            return
        self.bind()
        self.train()
        everything, passes = self._drawn(n), self.config.memory_epochs
        self.note_classes(everything)
        n_steps = passes * -(-n // self.config.batch_size)
        self.train_on(self._passes(everything, passes), n_steps)

    def _passes(self, first: TaskData, epochs: int) -> Iterator[Batch]:
        for epoch in range(epochs):
            drawn = first if epoch == 0 else self._drawn(len(first))
            for part in drawn.split(self.config.batch_size):
                yield Batch(part.x, part.y, part.task_id)

    def _drawn(self, n: int) -> TaskData:
        """Draw ``n`` of the stored samples without replacement, in random order."""
        everything = self.seen.all()
        index = torch.randperm(len(everything), device="cpu")[:n].to(everything.y.device)
        return everything.part(index)

    def memory_bytes(self) -> int:
        """Count the bytes of the stored samples."""
        return self.seen.nbytes()
