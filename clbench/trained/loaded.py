"""A trained strategy, ready to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench import seeding
from clbench.data.latent import LatentPool
from clbench.engine.build import Run
from clbench.engine.harness import BATCH_SIZE
from clbench.errors import UsageError
from clbench.results.record import Record
from clbench.strategy import Strategy
from clbench.stream import Stream


@dataclass(frozen=True)
class Classes:
    """The classes that a strategy answers with."""

    pool_labels: tuple[int, ...]
    """The data's label of each class of the stream."""
    names: tuple[str, ...]
    """The name of each class of the stream; empty texts where the data have none."""
    of_task: dict[int, tuple[int, ...]]
    """With task ids: the classes that may be answered under each; else empty."""


class Loaded:
    """A strategy as its run left it. ``clbench.load`` makes one."""

    def __init__(
        self,
        strategy: Strategy,
        classes: Classes,
        threads: int,
        record: Record | None,
        find_run: Callable[[], Run],
    ) -> None:
        self.strategy = strategy
        self.classes = classes
        self.record = record
        """Of the run; None where it has not ended, or only its strategy was exported."""
        self._threads, self._find_run = threads, find_run

    def __repr__(self) -> str:
        shape = tuple(self.strategy.info.input_shape)
        kind = type(self.strategy).__name__
        return f"<Loaded {kind}: samples of shape {shape}, {len(self.classes.names)} classes>"

    @cached_property
    def run(self) -> Run:
        """The run with its data, which are read now where they were not needed yet."""
        return self._find_run()

    @property
    def stream(self) -> Stream:
        """The run's stream: ``stream.experience(0)`` is what it learnt first."""
        return self.run.stream

    def scores(self, x: Any, task_id: Any = None) -> Tensor:
        """Scores of raw samples, ``(n, n_classes)`` on the CPU; minus infinity excludes a class.

        Args:
            x: ``(n, ...)`` samples as the data have them: an array or a tensor. Images may lack the
                axis of one channel, or have their channels last. Where the run has an encoder, they
                may be its raw samples or latents.
            task_id: the task of each sample, or one for all, where the run tells it.

        Raises:
            UsageError: the samples or the tasks do not fit the run.
        """
        x = self._samples(x)
        tasks = self._tasks(task_id, len(x))
        device = next(
            (t.device for t in self.strategy.state_dict().values() if _is_tensor(t)), None
        )
        parts = []
        with torch.inference_mode(), seeding.preserved(self._threads):
            self.strategy.eval()
            for start in range(0, len(x), BATCH_SIZE):
                part = slice(start, start + BATCH_SIZE)
                given = x[part].to(device or "cpu")
                told = None if tasks is None else tasks[part].to(given.device)
                parts.append(self._restricted(self.strategy(given, told).cpu(), tasks, part))
        return torch.cat(parts) if parts else torch.zeros(0, len(self.classes.names))

    def predict(self, x: Any, task_id: Any = None) -> np.ndarray:
        """The data's label of each sample, ``(n,)`` int64; arguments as for ``scores``."""
        answers: np.ndarray = self.scores(x, task_id).argmax(1).numpy()
        return np.asarray(np.array(self.classes.pool_labels, dtype=np.int64)[answers])

    def _restricted(self, scores: Tensor, tasks: Tensor | None, part: slice) -> Tensor:
        if tasks is None:
            return scores
        allowed = torch.zeros(len(self.classes.of_task), scores.shape[1], dtype=torch.bool)
        rows = {task: row for row, task in enumerate(self.classes.of_task)}
        for task, row in rows.items():
            allowed[row, list(self.classes.of_task[task])] = True
        index = torch.tensor([rows[int(t)] for t in tasks[part]])
        return scores.masked_fill(~allowed[index], -torch.inf)

    def _tasks(self, task_id: Any, n: int) -> Tensor | None:
        known = self.classes.of_task
        if not known:
            if task_id is not None:
                raise UsageError("the run tells no task: leave the task out")
            return None
        if task_id is None:
            raise UsageError("the run tells the task of each sample: give it, such as task_id=0")
        tasks = torch.as_tensor(np.asarray(task_id)).to(torch.int64)
        tasks = tasks.expand(n) if tasks.ndim == 0 else tasks
        if tasks.shape != (n,):
            raise UsageError(f"{n} samples have {tuple(tasks.shape)} tasks: give one for each")
        strange = sorted({int(t) for t in tasks} - set(known))
        if strange:
            raise UsageError(f"task {strange[0]}: the run has tasks {min(known)} to {max(known)}")
        return tasks

    def _samples(self, x: Any) -> Tensor:
        info = self.strategy.info
        given = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        made = _fitted(given, info.input_shape, info.dtype)
        if made is None and self._has_encoder():
            pool = self.stream.pool
            assert isinstance(pool, LatentPool)
            raw = _fitted(given, pool.raw.input_shape, pool.raw.dtype)
            made = None if raw is None else pool.encode(raw)
        if made is None:
            want = f"(n, {', '.join(map(str, info.input_shape))}) {str(info.dtype)[6:]}"
            have = f"{tuple(given.shape)} {str(given.dtype)[6:]}"
            raise UsageError(f"samples are {have}, and the run has learnt {want}")
        if not made.dtype.is_floating_point or bool(made.isfinite().all()):
            return made
        raise UsageError("samples hold NaN or infinite values")

    def _has_encoder(self) -> bool:
        return self.record is not None and self.record.encoder is not None


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _fitted(x: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
    """Samples in the shape and dtype that a run has learnt; None where they are others."""
    if dtype == torch.uint8 and x.dtype != torch.uint8:
        return None
    if x.ndim and tuple(x.shape[1:]) != shape:
        if len(shape) == 2 and tuple(x.shape[1:]) in ((1, *shape), (*shape, 1)):
            x = x.reshape(-1, *shape)
        elif shape[:1] == (1,) and tuple(x.shape[1:]) == shape[1:]:
            x = x[:, None]
        elif len(shape) == 3 and tuple(x.shape[1:]) == (*shape[1:], shape[0]):
            x = x.permute(0, 3, 1, 2)
    if x.ndim == 0 or tuple(x.shape[1:]) != shape or x.dtype.is_complex:
        return None
    return x.to(dtype).contiguous()
