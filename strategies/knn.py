"""Nearest neighbours in a balanced memory: samples are stored, and vote.

Of Ostapenko et al. 2022 (arXiv 2205.00329), whose kNN is scikit-learn's with k by cross-validation,
over the latents of the current loader. Here the memory lasts and is of fixed size: equally many of
each class, each class's a uniform sample of all that came; ``k`` is a setting.

A score is the share of the k neighbours that are of a class. What the votes leave equal, nearness
decides: a neighbour's vote counts for more by ``(k - rank) / k^2``, which never adds up to a vote.
Where task ids are given, only samples of the same task are neighbours. No network, no gradient, no
augmentation. Made for latents; on pixels it is the textbook's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData, UsageError
from clbench.latents import check_at_least, squared_distances, vectors
from clbench.memory.buffer import SampleMemory, slot_bytes, slot_layout
from clbench.memory.policies import balanced, priorities

POLICY = "class_balanced"


class Knn(Strategy):
    """Answers with what the nearest stored samples are."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of the memory and of the vote."""

        k: int = 5
        """Neighbours that vote."""
        metric: Literal["euclidean", "cosine"] = "euclidean"
        """What is near: by distance, or by angle."""
        memory_size: int | None = None
        """Samples in the memory; null: as many as memory_bytes holds or, without that, 500."""
        memory_bytes: int | None = None
        """Bytes of the memory, with labels, keys and all that is stored of a sample; null: no limit."""

        def __post_init__(self) -> None:
            check_at_least(k=self.k)
            if self.memory_size is not None and self.memory_bytes is not None:
                raise UsageError("set strategy.memory_size or strategy.memory_bytes, not both")
            check_at_least(memory_size=1 if self.memory_size is None else self.memory_size)
            check_at_least(memory_bytes=1 if self.memory_bytes is None else self.memory_bytes)

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
        # Samples may be integers, which tell nothing of the precision that is asked for.
        self.register_buffer("unit", torch.ones(()), persistent=False)
        self.unit: Tensor

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Store, by one selection of fixed size from what is stored and what is new.

        ``SampleMemory.add`` chooses the same samples, and waits for the device to do so.
        """
        memory = self.memory
        slots = torch.arange(memory.size, device=task.y.device)
        y = torch.cat([memory.y.masked_fill(slots >= memory.filled, -1), task.y])
        key = torch.cat([memory.key, task.key])
        # One order after another, each stable: of equal keys the labelled and stored one is first.
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
        for name in ("x", "y", "key", "task_id"):
            new = getattr(task, name)
            if new is not None:
                stored = memory.get_buffer(name)
                stored.copy_(torch.cat([stored, new.to(stored.dtype)]).index_select(0, kept))

    def _vectors(self, x: Tensor) -> Tensor:
        z = vectors(x, self.info.scale, self.unit.dtype)
        return F.normalize(z, dim=1) if self.config.metric == "cosine" else z

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """``(B, *input_shape)`` to ``(B, n_classes)``: shares of the vote."""
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
        """Bytes of the memory."""
        return self.memory.nbytes()
