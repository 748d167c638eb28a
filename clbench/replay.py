"""The base of replay strategies: the settings of a memory, and batches that mix stored samples in.

The memory admits an experience at its start: all samples at once, each distinct one once. A sample
is replayed from the step after its own. So at any step the memory is the one at the end of the
experience, without the samples that have not been trained on yet. In papers that insert after every
step, a sample that is displaced can be replayed until then. Herding, facility location, graph cut and
k-center need the features of the trained network, so they admit at the end of the experience and
replay none of that experience's samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.memory.buffer import SampleMemory, slot_bytes, slot_layout
from clbench.memory.live import Live, Stepwise
from clbench.memory.policies import POLICIES, Name
from clbench.nets.features import BATCH as FEATURES
from clbench.nets.features import features
from clbench.nets.parameters import output_layer
from clbench.settings import AtLeast
from clbench.strategy import Batch, GradientStrategy, StreamInfo
from clbench.stream import TaskData

DEFAULT_SIZE = 500


@dataclass(frozen=True)
class SizeConfig(GradientStrategy.Config):
    """The size of a memory."""

    memory_size: Annotated[int | None, AtLeast(1)] = None
    """Samples (or rows) of the memory; null: as many as memory_bytes holds; if that is null
    too, 500 samples, or 256 rows."""
    memory_bytes: Annotated[int | None, AtLeast(1)] = None
    """Bytes of the memory, with labels, keys and all else that is stored; null: no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_size is not None and self.memory_bytes is not None:
            raise UsageError("set strategy.memory_size or strategy.memory_bytes, not both")


@dataclass(frozen=True)
class MemoryConfig(SizeConfig):
    """Settings of a memory of samples."""

    memory_dtype: Literal["pool", "float16", "float32"] = "pool"
    """Precision of stored samples. pool: that of the data; the others are for latents and vectors."""
    memory_per_class: Annotated[int | None, AtLeast(1)] = None
    """At most so many samples of each class, in place of memory_size: the memory fills as classes
    come. Its bytes are those of all classes of the stream. null: memory_size, shared by the classes
    seen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {"size": self.memory_size, "bytes": self.memory_bytes}
        for name, value in given.items():
            if self.memory_per_class is not None and value is not None:
                raise UsageError(
                    f"set strategy.memory_per_class or strategy.memory_{name}, not both"
                )


def stored_dtype(info: StreamInfo, config: MemoryConfig) -> torch.dtype:
    """Find the dtype that samples are stored in.

    Raises:
        UsageError: the settings store integers as floats.
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
    """Compute how many samples fit, of ``bytes_each``.

    Raises:
        UsageError: not even one sample fits.
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
    """Make an empty memory by the settings; ``extra`` names further float32 tensors of a slot.

    Raises:
        UsageError: it could not hold a sample.
    """
    layout = slot_layout(info, policy, stored_dtype(info, config), extra)
    each = config.memory_per_class
    size = each and each * info.n_classes
    return SampleMemory(size or memory_slots(config, slot_bytes(layout)), policy, layout, each)


def herding_features(
    memory: SampleMemory, model: nn.Module, dtype: torch.dtype, task: TaskData
) -> tuple[Tensor, Tensor]:
    """Features ``(filled, d)`` of the stored and ``(n, d)`` of the offered samples, not augmented.

    ``dtype`` is that of raw samples.
    """
    stored = memory.x[: int(memory.filled)].to(dtype)
    return features(model, stored), features(model, task.samples(FEATURES))


@dataclass
class Mixed(Batch):
    """A batch of ``n_new`` samples of the stream, followed by replayed ones."""

    n_new: int = 0


def mix(new: Batch, *replayed: Batch) -> Mixed:
    """Join batches into one, the new samples first; ``extra`` is that of the first replayed part."""
    parts = [new, *replayed]
    task_id = weight = None
    if new.task_id is not None:
        task_id = torch.cat([part.task_id for part in parts if part.task_id is not None])
    if any(part.weight is not None for part in parts):
        weights = [torch.ones_like(p.y) if p.weight is None else p.weight for p in parts]
        weight = torch.cat(weights)
    return Mixed(
        x=torch.cat([part.x for part in parts]),
        y=torch.cat([part.y for part in parts]),
        task_id=task_id,
        classes=new.classes,
        weight=weight,
        extra=replayed[0].extra if replayed else {},
        n_new=len(new.y),
    )


def n_new(batch: Batch) -> int:
    """Count the samples of a batch that come from the stream."""
    return batch.n_new if isinstance(batch, Mixed) else len(batch.y)


def mixture(losses: Tensor, n: int, share: float, known: Tensor | None = None) -> Tensor:
    """Weight the mean loss of new samples against that of replayed ones, 0-d.

    Args:
        losses: ``(B,)`` of all samples, the new ones first; 0 for a new one without a label.
        n: how many are new; where all are, their mean alone is the loss.
        share: of the new ones, 0 to 1.
        known: 0-d, how many of the new ones have a label; None: all.
    """
    new = losses[:n].mean() if known is None else losses[:n].sum() / known
    return new if n == len(losses) else share * new + (1 - share) * losses[n:].mean()


class ReplayStrategy(GradientStrategy):
    """Mixes stored samples into every batch. Subclasses define the loss on it.

    The base's own loss is the mean over the mixed batch, which is experience replay.
    """

    results_version: ClassVar[int] = 1
    """Raised by a change of this base that alters what its strategies give."""

    replays_current: ClassVar[bool] = True
    """Whether samples of the current experience are replayed too (never where the policy
    needs features)."""

    @dataclass(frozen=True)
    class Config(MemoryConfig):
        """Settings of replay."""

        replay_batch: Annotated[int | None, AtLeast(1)] = None
        """Replayed samples per step, drawn uniformly with replacement; null: batch_size."""
        policy: Name = "reservoir"
        """Samples that a full memory keeps. reservoir: a uniform sample of all distinct ones; ring:
        the newest of each class; class_balanced and herding: equally many of each class, at random
        or nearest to the class mean; task_balanced: equally many of each task; frequency_aware: of
        each class in proportion to 1 / (experiences it has come in); facility_location, graph_cut and
        k_center: equally many of each class, greedily such that those of the class are similar to one
        of them, such that they are similar to the class and not to one another, or such that none of
        the class is far from all of them."""
        per_step: bool = False
        """Admit each sample after the step that first trains on it, as papers do, by algorithm R, which
        may hold a sample twice if it recurs. Else an experience is admitted at its start."""

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
        by_features = POLICIES[config.policy].needs_features
        if by_features and output_layer(self.model) is None:
            raise UsageError(
                f"{type(self.model).__name__} has no linear layer to take features in front of; "
                f"use another model, or another strategy.policy than {config.policy}"
            )
        self.admits_first = self.replays_current and not by_features
        """Whether samples are admitted before an experience is trained on, or after it."""
        self.live = Live(torch.arange(0, device=self.weights.device), 0, [])
        if config.per_step:
            self._refuse_per_step(has_extra=bool(extra))
            self.register_buffer("offered", torch.zeros((), dtype=torch.int64))

    def _refuse_per_step(self, has_extra: bool) -> None:
        """Refuse ``per_step`` where the memory is not a plain reservoir."""
        why = None
        if self.config.policy != "reservoir":
            why = f"goes with strategy.policy=reservoir, not {self.config.policy}"
        elif has_extra or not self.replays_current:
            why = "is not offered here: this strategy fills its memory at the ends of experiences"
        elif type(self).batches is not GradientStrategy.batches:
            why = "is not offered here: this strategy cuts experiences into batches of its own"
        if why is not None:
            raise UsageError(f"strategy.per_step=true {why}; leave it out")

    def begin(self, task: TaskData) -> TaskData:
        """Admit the experience, or note what is stored. Only here does the host wait."""
        if self.config.per_step:
            offered = self.get_buffer("offered")
            self.live = Stepwise.plan(self.memory, task, int(offered), self.config.batch_size)
            offered.add_(len(self.live.arrivals))
            return task
        held = torch.arange(int(self.memory.filled), device=task.y.device)
        self.live = Live(held, len(held), [])
        if self.admits_first:
            slots, source = self.memory.add(task)
            if len(slots):
                stays = held[torch.isin(held, slots, invert=True)]
                self.live = Live(torch.cat([stays, slots]), len(stays), source.tolist())
        return task

    @property
    def n_live(self) -> int:
        """The number of samples that can be replayed at this step."""
        return self.live.count()

    def recall(self, n: int, like: Tensor) -> Batch:
        """Draw ``n`` stored samples uniformly with replacement, in the dtype of ``like``."""
        return self.gather(torch.randint(self.n_live, (n,), device=like.device), like)

    def gather(self, index: Tensor, like: Tensor) -> Batch:
        """Gather stored samples by ``(n,)`` numbers below ``n_live``, in the dtype of ``like``."""
        return self.memory.gather(self.live.slots.index_select(0, index), like)

    def draw(self, batch: Batch) -> Batch:
        """Mix stored samples, if there are any, with the new ones."""
        replayed = self.replayed(batch) if self.n_live else ()
        self.live.deliver(batch)
        return mix(batch, *replayed)

    def replayed(self, batch: Batch) -> tuple[Batch, ...]:
        """Choose the stored samples to replay with a batch of new ones."""
        return (self.recall(self.replay_batch, batch.x),)

    def consolidate(self, task: TaskData) -> None:
        """Admit the experience, if the policy admits after training."""
        if not self.admits_first:
            self.admit(task)

    def admit(self, task: TaskData, **extra: Tensor) -> None:
        """Offer an experience to the memory, with further ``(n, ...)`` tensors of its samples."""
        found = None
        if POLICIES[self.config.policy].needs_features:
            found = herding_features(self.memory, self.model, self.info.dtype, task)
        self.memory.add(task, found, **extra)

    def memory_bytes(self) -> int:
        """Count the bytes of the memory."""
        return self.memory.nbytes()

    def resolved(self) -> dict[str, object]:
        """Add the size of the memory in samples, and the replayed samples per step."""
        sizes = {"memory_size": self.memory.size, "replay_batch": self.replay_batch}
        return {**super().resolved(), **sizes}
