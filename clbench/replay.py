"""What the replay strategies share: the settings of a memory, and a base that mixes it in.

Samples enter the memory when their experience ends, all at once and each distinct one once. Papers
that insert after every step would also replay samples of the running experience; with
``scenario.chunk`` as small as a batch the two are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.memory.buffer import SampleMemory, slot_bytes, slot_layout
from clbench.memory.features import features, output_layer
from clbench.strategy import Batch, GradientStrategy, StreamInfo
from clbench.stream import TaskData

DEFAULT_SIZE = 500


@dataclass(frozen=True)
class MemoryConfig(GradientStrategy.Config):
    """Settings of a memory of samples."""

    memory_size: int | None = None
    """Samples in the memory; null: as many as memory_bytes holds or, without that, a default."""
    memory_bytes: int | None = None
    """Bytes of the memory, with labels, keys and all that is stored of a sample; null: no limit."""
    memory_dtype: Literal["pool", "float16", "float32"] = "pool"
    """How samples are stored: as the pool has them, or, of latents and vectors, as such floats."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_size is not None and self.memory_bytes is not None:
            raise UsageError("set strategy.memory_size or strategy.memory_bytes, not both")
        for name in ("memory_size", "memory_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"strategy.{name}={value} holds no sample; it must be at least 1")


def stored_dtype(info: StreamInfo, config: MemoryConfig) -> torch.dtype:
    """The dtype that samples are stored in.

    Raises:
        UsageError: integers were to be stored as floats.
    """
    if config.memory_dtype == "pool":
        return info.dtype
    if not info.dtype.is_floating_point:
        raise UsageError(
            f"strategy.memory_dtype={config.memory_dtype}: these samples are {info.dtype}, "
            "which is smaller and exact; set strategy.memory_dtype=pool"
        )
    return torch.float16 if config.memory_dtype == "float16" else torch.float32


def memory_slots(config: MemoryConfig, bytes_each: int, default: int = DEFAULT_SIZE) -> int:
    """How many samples the settings allow for.

    Raises:
        UsageError: fewer than one.
    """
    if config.memory_bytes is None:
        return config.memory_size or default
    if config.memory_bytes < bytes_each:
        raise UsageError(
            f"strategy.memory_bytes={config.memory_bytes} holds no sample: one takes {bytes_each} "
            "bytes here"
        )
    return config.memory_bytes // bytes_each


def build_memory(
    info: StreamInfo,
    config: MemoryConfig,
    policy: str,
    extra: Mapping[str, tuple[int, ...]] | None = None,
) -> SampleMemory:
    """An empty memory as the settings say; ``extra`` names further float32 tensors of a slot.

    Raises:
        UsageError: it could not hold a sample.
    """
    layout = slot_layout(info, policy, stored_dtype(info, config), extra)
    return SampleMemory(memory_slots(config, slot_bytes(layout)), policy, layout)


@dataclass
class Mixed(Batch):
    """A batch whose first ``n_new`` samples are the stream's; replayed ones follow."""

    n_new: int = 0


def mix(new: Batch, *replayed: Batch) -> Mixed:
    """One batch of all, the new samples first; ``extra`` stays with the new ones."""
    parts = [new, *replayed]
    task_id = None
    if new.task_id is not None:
        task_id = torch.cat([part.task_id for part in parts if part.task_id is not None])
    return Mixed(
        x=torch.cat([part.x for part in parts]),
        y=torch.cat([part.y for part in parts]),
        task_id=task_id,
        classes=new.classes,
        extra=new.extra,
        n_new=len(new.y),
    )


def n_new(batch: Batch) -> int:
    """How many samples of a batch are the stream's."""
    return batch.n_new if isinstance(batch, Mixed) else len(batch.y)


class ReplayStrategy(GradientStrategy):
    """Mixes stored samples into every batch; subclasses say what they learn from it.

    The loss of the base is the mean over the mixed batch: experience replay.
    """

    @dataclass(frozen=True)
    class Config(MemoryConfig):
        """Settings of replay."""

        replay_batch: int | None = None
        """Replayed samples per step, drawn uniformly with replacement; null: batch_size."""
        policy: Literal["reservoir", "ring", "class_balanced", "herding", "task_balanced"] = (
            "reservoir"
        )
        """Which samples a full memory keeps: a uniform sample of all distinct ones; per class the
        newest; equally many of each class at random or by herding; equally many of each task."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.replay_batch is not None and self.replay_batch < 1:
                raise UsageError(f"strategy.replay_batch={self.replay_batch} must be at least 1")

    def __init__(
        self,
        info: StreamInfo,
        config: Config,
        build_model: Callable[[], nn.Module],
        extra: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__(info, config, build_model)
        self.memory = build_memory(info, config, config.policy, extra)
        self.replay_batch: int = config.replay_batch or config.batch_size
        if config.policy == "herding":
            output_layer(self.model)  # refused now rather than after the first task
        self._stored = 0

    def begin(self, task: TaskData) -> TaskData:
        """Ask the memory, once an experience, how many samples it holds."""
        self._stored = int(self.memory.filled)
        return task

    def recall(self, n: int, like: Tensor) -> Batch:
        """``n`` stored samples, drawn uniformly with replacement, in the dtype of ``like``."""
        return self.memory.gather(torch.randint(self._stored, (n,), device=like.device), like)

    def draw(self, batch: Batch) -> Batch:
        """New samples and, once there are any, stored ones."""
        if not self._stored:
            return batch
        return mix(batch, self.recall(self.replay_batch, batch.x))

    def consolidate(self, task: TaskData) -> None:
        """Offer the experience to the memory."""
        self.remember(task)

    def remember(self, task: TaskData, **extra: Tensor) -> None:
        """Offer an experience, with ``(n, ...)`` further tensors of its samples."""
        found = None
        if self.config.policy == "herding":
            stored = self.memory.x[: self._stored].to(task.x.dtype)
            found = features(self.model, stored), features(self.model, task.x)
        self.memory.add(task, found, **extra)

    def memory_bytes(self) -> int:
        """Bytes of the memory."""
        return self.memory.nbytes()
