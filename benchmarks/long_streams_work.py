"""What every arm of ``long_streams.py`` is given: the same network, tasks and batches, and a clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor, nn

from clbench.configure.config import resolve
from clbench.engine.build import Run, prepare
from clbench.engine.harness import BATCH_SIZE as TEST_BATCH
from clbench.util.environment import peak_rss_bytes

BATCH, LR, CLIP, LAM, MEMORY = 64, 0.1, 10.0, 1.0, 500
"""Of all arms alike: samples per step, SGD's rate, the gradient's largest norm, the strength of EWC,
samples in the memory (as many are replayed per step as are new)."""
TEST_BATCH = TEST_BATCH
WARM_UP = 3
"""Tasks of a first, untimed stream: imports and caches are nobody's cost per task."""


@dataclass(frozen=True)
class Work:
    """SCoLe on digits: tasks of two classes, all samples of which come, in a given order."""

    n_tasks: int

    def run(self, *words: str) -> Run:
        """The stream as a run of clbench."""
        common = ("scenario=scole", f"scenario.n_tasks={self.n_tasks}")
        settings = (f"strategy.batch_size={BATCH}", f"strategy.lr={LR}")
        return prepare(resolve([*common, *(words or ("strategy=naive",)), *settings])[0])

    @cached_property
    def _run(self) -> Run:
        return self.run()

    @cached_property
    def train(self) -> tuple[Tensor, Tensor]:
        """``(n, 8, 8)`` uint8 and ``(n,)`` int64: what tasks take their samples from."""
        pool = self._run.stream.pool
        labels = pool.labels("train")
        return pool.gather("train", np.arange(len(labels))), torch.as_tensor(labels)

    @cached_property
    def test(self) -> tuple[Tensor, Tensor]:
        """``(m, 8, 8)`` uint8 and ``(m,)`` int64: the world."""
        pool = self._run.stream.pool
        labels = pool.labels("test")
        return pool.gather("test", np.arange(len(labels))), torch.as_tensor(labels)

    @cached_property
    def _drawn(self) -> list[tuple[Tensor, tuple[int, ...]]]:
        draws = (self._run.stream.draw(t) for t in range(self.n_tasks))
        return [(torch.as_tensor(draw.index), draw.plan.classes) for draw in draws]

    def index(self) -> list[Tensor]:
        """Per task, ``(k,)`` int64: its samples in the order in which they come."""
        return [index for index, _ in self._drawn]

    def of_task(self, t: int) -> tuple[Tensor, Tensor]:
        """A task's training samples and labels."""
        index = self._drawn[t][0]
        return self.train[0][index], self.train[1][index]

    def test_of_task(self, t: int) -> tuple[Tensor, Tensor]:
        """The test samples of a task's classes, and their labels."""
        x, y = self.test
        mine = torch.isin(y, torch.tensor(self._drawn[t][1]))
        return x[mine], y[mine]

    def model(self) -> nn.Module:
        """The network, with the weights that a run of clbench starts from."""
        model: nn.Module = self._run.strategy().model
        return model

    @cached_property
    def members(self) -> np.ndarray:
        """``(n_tasks, n_classes)`` float64: 1 where a class is of a task."""
        table = np.zeros((self.n_tasks, self._run.stream.n_classes))
        for t, (_, classes) in enumerate(self._drawn):
            table[t, list(classes)] = 1
        return table

    def row(self, right: np.ndarray, n_tasks: int) -> np.ndarray:
        """``(n_tasks,)``: accuracy on each of the first tasks, from right answers per class."""
        members, sizes = self.members[:n_tasks], np.bincount(self.test[1].numpy())
        return np.asarray((members @ right) / (members @ sizes))


class Clock:
    """Sends what a block of tasks took to the parent process, and waits to be let on.

    Told are seconds of CPU, all threads together: what a task takes on a machine left alone.
    Without a pipe it does nothing: for the warm-up.
    """

    def __init__(self, pipe: Connection | None) -> None:
        self.pipe = pipe
        self.wanted = 0
        self.seconds: list[float] = []

    def begin(self) -> None:
        """All is set up: the first task begins."""
        if self.pipe is not None:
            self.pipe.send(None)
            self._wait(self.pipe)
        self.started = time.process_time()

    def task(self, accuracy: float) -> None:
        """A task is done: the accuracy on all that was evaluated."""
        self.seconds.append(time.process_time() - self.started)
        if self.pipe is not None and len(self.seconds) == self.wanted:
            self.pipe.send((self.seconds, peak_rss_bytes() or 0, accuracy))
            self.seconds = []
            self._wait(self.pipe)
        self.started = time.process_time()

    def _wait(self, pipe: Connection) -> None:
        try:
            self.wanted = pipe.recv()
        except EOFError:  # the parent has heard enough
            raise SystemExit from None
