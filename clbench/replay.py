"""What the replay strategies share: the settings of a memory, and a base that mixes it in.

Samples are admitted to the memory when their experience comes, all at once and each distinct one
once, and a sample is replayed from the step after its own. So at any step the memory is what it is
going to be at the end of the experience, less what has not been trained on yet; papers that insert
after every step differ in that a displaced sample lives until then. Herding needs the features of
the trained network, so it admits at the end of the experience and replays nothing of the running one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.memory.buffer import SampleMemory, slot_bytes, slot_layout
from clbench.nets.features import features
from clbench.nets.parameters import output_layer
from clbench.strategy import Batch, GradientStrategy, StreamInfo
from clbench.stream import TaskData

DEFAULT_SIZE = 500


@dataclass(frozen=True)
class SizeConfig(GradientStrategy.Config):
    """How large a memory is."""

    memory_size: int | None = None
    """Samples (or rows) of the memory; null: as many as memory_bytes holds or, without that, a
    default."""
    memory_bytes: int | None = None
    """Bytes of the memory, with labels, keys and all that is stored; null: no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_size is not None and self.memory_bytes is not None:
            raise UsageError("set strategy.memory_size or strategy.memory_bytes, not both")
        for name in ("memory_size", "memory_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"strategy.{name}={value} holds no sample; it must be at least 1")


@dataclass(frozen=True)
class MemoryConfig(SizeConfig):
    """Settings of a memory of samples."""

    memory_dtype: Literal["pool", "float16", "float32"] = "pool"
    """How samples are stored: as the pool has them, or, of latents and vectors, as such floats."""


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
    """One batch of all, the new samples first; ``extra`` is the first replayed part's."""
    parts = [new, *replayed]
    task_id = None
    if new.task_id is not None:
        task_id = torch.cat([part.task_id for part in parts if part.task_id is not None])
    return Mixed(
        x=torch.cat([part.x for part in parts]),
        y=torch.cat([part.y for part in parts]),
        task_id=task_id,
        classes=new.classes,
        extra=replayed[0].extra if replayed else {},
        n_new=len(new.y),
    )


def n_new(batch: Batch) -> int:
    """How many samples of a batch are the stream's."""
    return batch.n_new if isinstance(batch, Mixed) else len(batch.y)


@dataclass
class _Live:
    """Which slots may be replayed, as an experience goes on; counted in host memory."""

    slots: Tensor
    """``(m,)``: of samples of earlier experiences, then of the running one's in delivery order."""
    n_earlier: int
    arrivals: list[int]
    """Positions of the running experience's admitted samples in it, ascending."""
    delivered: int = 0
    """Samples trained on so far in the experience."""

    def count(self) -> int:
        """How many of the slots may be replayed by now."""
        return self.n_earlier + bisect_left(self.arrivals, self.delivered)


class ReplayStrategy(GradientStrategy):
    """Mixes stored samples into every batch; subclasses say what they learn from it.

    The loss of the base is the mean over the mixed batch: experience replay.
    """

    results_version: ClassVar[int] = 1
    """Raised by a change of this base that alters what its strategies give."""

    replays_current: ClassVar[bool] = True
    """Whether samples of the running experience are replayed, too (never those of herding)."""

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
        if config.policy == "herding" and output_layer(self.model) is None:
            raise UsageError(
                f"{type(self.model).__name__} has no linear layer to take features in front of; "
                "use another model, or another strategy.policy than herding"
            )
        self.admits_first = self.replays_current and config.policy != "herding"
        """Whether samples are admitted before an experience is trained on, or after."""
        self._live = _Live(torch.arange(0, device=self.weights.device), 0, [])

    def begin(self, task: TaskData) -> TaskData:
        """Admit the experience, or note what is stored; the one time that the host asks."""
        held = torch.arange(int(self.memory.filled), device=task.y.device)
        self._live = _Live(held, len(held), [])
        if self.admits_first:
            slots, source = self.memory.add(task)
            stays = held[torch.isin(held, slots, invert=True)]
            self._live = _Live(torch.cat([stays, slots]), len(stays), source.tolist())
        return task

    @property
    def n_live(self) -> int:
        """How many samples can be replayed at this step."""
        return self._live.count()

    def recall(self, n: int, like: Tensor) -> Batch:
        """``n`` stored samples, drawn uniformly with replacement, in the dtype of ``like``."""
        return self.gather(torch.randint(self.n_live, (n,), device=like.device), like)

    def gather(self, index: Tensor, like: Tensor) -> Batch:
        """``(n,)`` int64 below ``n_live`` to stored samples, in the dtype of ``like``."""
        return self.memory.gather(self._live.slots.index_select(0, index), like)

    def draw(self, batch: Batch) -> Batch:
        """New samples and, once there are any, stored ones."""
        replayed = self.replayed(batch) if self.n_live else ()
        self._live.delivered += len(batch.y)
        return mix(batch, *replayed)

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """What is to be replayed along with a batch of new samples."""
        return (self.recall(self.replay_batch, batch.x),)

    def consolidate(self, task: TaskData) -> None:
        """Admit the experience, if that is to be done after training."""
        if not self.admits_first:
            self.admit(task)

    def admit(self, task: TaskData, **extra: Tensor) -> None:
        """Offer an experience to the memory, with ``(n, ...)`` further tensors of its samples."""
        found = None
        if self.config.policy == "herding":
            stored = self.memory.x[: int(self.memory.filled)].to(task.x.dtype)
            found = features(self.model, stored), features(self.model, task.x)
        self.memory.add(task, found, **extra)

    def memory_bytes(self) -> int:
        """Bytes of the memory."""
        return self.memory.nbytes()
