"""Nearest neighbours: classifies by the vote of the nearest samples in a balanced memory.

The method is that of Ostapenko et al. 2022 (arXiv 2205.00329), who use scikit-learn's kNN with k by
cross-validation over the latents of the current loader. Here the memory lasts and has a fixed size. It
keeps equally many samples of each class, each class's a uniform sample of all that came. ``k`` is a
setting.

The score of a class is its share of the k neighbours. Nearness breaks ties: a neighbour's vote counts
``(k - rank) / k^2`` more, which never adds up to a vote. If task ids are given, only samples of the
same task are neighbours. There is no network, no gradient and no augmentation. The method is made for
latents; on pixels it is the textbook's kNN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData, UsageError
from clbench.latents import squared_distances, vectors
from clbench.memory.buffer import PART, SampleMemory, slot_bytes, slot_layout
from clbench.memory.policies import balanced, priorities
from clbench.settings import AtLeast
from clbench.space import Choices

POLICY = "class_balanced"


class Knn(Strategy):
    """Predicts the class of the nearest stored samples."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of the memory and of the vote."""

        k: Annotated[int, AtLeast(1)] = field(
            default=5, metadata={"space": Choices(1, 3, 5, 10, 20)}
        )
        """Neighbours that vote."""
        metric: Literal["euclidean", "cosine"] = field(
            default="euclidean", metadata={"space": Choices("euclidean", "cosine")}
        )
        """Measure of nearness: the distance, or the angle."""
        memory_size: Annotated[int | None, AtLeast(1)] = None
        """Samples in the memory; null: as many as memory_bytes holds, or 500 if that is null too."""
        memory_bytes: Annotated[int | None, AtLeast(1)] = None
        """Bytes of the memory, with labels, keys and all else that is stored; null: no limit."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.memory_size is not None and self.memory_bytes is not None:
                raise UsageError("set strategy.memory_size or strategy.memory_bytes, not both")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        layout = slot_layout(info, POLICY)
        size = config.memory_size or 500
        if config.memory_bytes is not None:
            size = config.memory_bytes // slot_bytes(layout)
            if size < 1:
                raise UsageError(
                    f"strategy.memory_bytes={config.memory_bytes} holds no sample: one takes "
                    f"{slot_bytes(layout)} bytes here"
                )
        self.memory = SampleMemory(size, POLICY, layout)
        # Samples may be integers, whose dtype does not tell the precision of the computations.
        self.register_buffer("unit", torch.ones(()), persistent=False)
        self.unit: Tensor

    def resolved(self) -> dict[str, object]:
        """Add the size of the memory in samples."""
        return {**super().resolved(), "memory_size": self.memory.size}

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Store samples by one selection of fixed size among the stored and the new ones.

        ``SampleMemory.add`` chooses the same samples but waits for the device.
        """
        memory = self.memory
        slots = torch.arange(memory.size, device=task.y.device)
        y = torch.cat([memory.y.masked_fill(slots >= memory.filled, -1), task.y])
        key = torch.cat([memory.key, task.key])
        # Both sorts are stable, so of equal keys the labelled and stored one comes first.
        order = (y < 0).long().argsort(stable=True)
        order = order[key[order].argsort(stable=True)]
        repeated = torch.zeros_like(y, dtype=torch.bool)
        repeated[order[1:]] = key[order[1:]] == key[order[:-1]]
        out = repeated | (y < 0)
        group = y.masked_fill(out, self.info.n_classes)
        order = balanced(group, priorities(key, memory.salt).argsort(), memory.salt)
        kept = order[out[order].long().argsort(stable=True)][: memory.size]
        memory.filled.copy_((~out).sum().clamp_max(memory.size))
        memory.experiences.add_(1)
        ids = None if task.task_id is None else memory.get_buffer("task_id")
        stored = TaskData(memory.x, memory.y, memory.key, ids)
        places = torch.where(kept < memory.size, kept + len(task), kept - memory.size)
        chosen = task.joined(stored).part(places)
        memory.x.copy_(torch.cat([*chosen.samples(PART)]))
        memory.y.copy_(chosen.y)
        memory.key.copy_(chosen.key)
        if ids is not None and chosen.task_id is not None:
            ids.copy_(chosen.task_id)

    def _vectors(self, x: Tensor) -> Tensor:
        z = vectors(x, self.info.scale, self.unit.dtype)
        return F.normalize(z, dim=1) if self.config.metric == "cosine" else z

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute each class's share of the vote: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        memory, k = self.memory, min(self.config.k, self.memory.size)
        distance = squared_distances(self._vectors(x), self._vectors(memory.x))
        empty = torch.arange(memory.size, device=x.device) >= memory.filled
        distance = distance.masked_fill(empty, torch.inf)
        if task_id is not None:
            other = memory.get_buffer("task_id") != task_id[:, None]
            distance = distance.masked_fill(other, torch.inf)
        nearest = distance.topk(k, dim=1, largest=False)
        rank = torch.arange(k, device=x.device, dtype=distance.dtype)
        votes = (nearest.values < torch.inf) * (1 + (k - rank) / k**2)
        scores = distance.new_zeros(len(x), self.info.n_classes)
        return scores.scatter_add_(1, memory.y.clamp_min(0)[nearest.indices], votes / k)

    def memory_bytes(self) -> int:
        """Count the bytes of the memory."""
        return self.memory.nbytes()
