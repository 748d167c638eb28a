"""Which slots of a memory may be replayed at each step of an experience. The host counts them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clbench.memory.buffer import SampleMemory
from clbench.strategy import Batch
from clbench.stream import TaskData


@dataclass
class Live:
    """The slots that may be replayed while an experience is trained on. The host counts them."""

    slots: Tensor
    """``(m,)``: the samples of earlier experiences, then those of this one in delivery order."""
    n_earlier: int
    """How many of the slots hold samples of earlier experiences."""
    arrivals: list[int]
    """Positions of this experience's admitted samples in it, ascending."""
    delivered: int = 0
    """Samples of this experience that have been trained on."""

    def count(self) -> int:
        """Count the slots that may be replayed now."""
        return self.n_earlier + bisect_left(self.arrivals, self.delivered)

    def deliver(self, batch: Batch) -> None:
        """Note that a batch of new samples is trained on; its samples may be replayed from then on."""
        self.delivered += len(batch.y)


@dataclass
class Stepwise(Live):
    """Algorithm R (Vitter 1985, ACM TOMS 11:37): every sample is offered after its own step.

    The m-th sample that is offered takes a free slot while there is one. Then it takes a slot at random
    with probability size / m, and displaces what is there. What takes which slot does not depend on the
    training, so it is drawn before it: a step only writes. Samples are offered in the first epoch of an
    experience. One that recurs in a later experience is offered again and may be held twice.
    """

    memory: SampleMemory = field(kw_only=True)
    offered: TaskData = field(kw_only=True)
    written: list[int] = field(kw_only=True)
    """Positions of the samples that are written, ascending."""
    at: Tensor = field(kw_only=True)
    """``(m,)`` int64: the same on the device."""
    to: Tensor = field(kw_only=True)
    """``(m,)`` int64: the slots that they take."""

    @classmethod
    def plan(cls, memory: SampleMemory, task: TaskData, before: int, batch_size: int) -> Stepwise:
        """Draw the slots of an experience's samples. It waits for the device.

        Args:
            memory: it is written to at each step; its counts are those of the experience's end.
            task: the experience; unlabelled samples are not offered.
            before: samples offered before.
            batch_size: of a step. Of the samples of a step that take the same slot, the last stays.
        """
        device = task.y.device
        labelled = (task.y >= 0).nonzero().squeeze(1)
        number = before + torch.arange(len(labelled), device=device)
        slot = torch.randint(2**62, number.shape, device=device) % (number + 1)
        slot = torch.where(number < memory.size, number, slot)
        last = {
            (position // batch_size, to): position
            for position, to in zip(labelled.tolist(), slot.tolist(), strict=True)
            if to < memory.size
        }
        found = sorted((position, to) for (_, to), position in last.items())
        memory.filled.fill_(min(memory.size, before + len(labelled)))
        memory.experiences.add_(1)
        at, to = torch.tensor(found, dtype=torch.int64, device=device).view(-1, 2).unbind(1)
        return cls(
            slots=torch.arange(memory.size, device=device),
            n_earlier=before,
            arrivals=labelled.tolist(),
            memory=memory,
            offered=task,
            written=[position for position, _ in found],
            at=at,
            to=to,
        )

    def count(self) -> int:
        """Count the slots that may be replayed now."""
        return min(self.memory.size, super().count())

    def deliver(self, batch: Batch) -> None:
        """Write the samples of a step that take a slot."""
        start = self.delivered
        super().deliver(batch)
        first, last = (bisect_left(self.written, end) for end in (start, self.delivered))
        if first == last:
            return
        at, to = self.at[first:last], self.to[first:last]
        new = {"y": self.offered.y[at], "key": self.offered.key[at], "x": batch.x[at - start]}
        if self.offered.task_id is not None:
            new["task_id"] = self.offered.task_id[at]
        for name, values in new.items():
            buffer = self.memory.get_buffer(name)
            buffer.index_copy_(0, to, values.to(buffer.dtype))
