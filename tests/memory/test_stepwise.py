"""Admission after every step: algorithm R, sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import pool, run

from clbench.errors import UsageError
from clbench.memory.buffer import SampleMemory, slot_layout
from clbench.memory.live import Stepwise
from clbench.strategy import Batch, StreamInfo
from clbench.stream import TaskData

INFO = StreamInfo((1,), torch.float32, 1.0, 3, None)


def offered(start: int, n: int) -> TaskData:
    key = torch.arange(start, start + n)
    return TaskData(key[:, None].float(), key % 3, key)


def filled(size: int, sizes: tuple[int, ...], batch: int = 4) -> list[int]:
    """Keys held after tasks of these sizes."""
    memory, before = SampleMemory(size, "reservoir", slot_layout(INFO)), 0
    for n in sizes:
        task = offered(before, n)
        live = Stepwise.plan(memory, task, before, batch)
        for part in task.split(batch):
            live.deliver(Batch(part.x, part.y))
        before += n
    held = memory.key[: int(memory.filled)]
    assert torch.equal(memory.x[: len(held), 0].long(), held)
    assert torch.equal(memory.y[: len(held)], held % 3)
    return held.tolist()


def test_every_sample_is_held_as_often_as_any_other():
    """40 samples, 8 slots: each with probability 1/5; chi-square with 39 degrees of freedom."""
    torch.manual_seed(0)
    n = 2000
    times = np.bincount([key for _ in range(n) for key in filled(8, (13, 27))], minlength=40)
    assert times.sum() == 8 * n
    # Eight of forty without replacement: variance n p (1 - p) and a factor 40/39 of the sum.
    statistic = float(((times - n / 5) ** 2).sum() / (n * 0.2 * 0.8)) * 39 / 40
    assert 15 < statistic < 73  # beyond: probability below 0.001 on each side


def test_a_displaced_sample_can_be_replayed_until_its_slot_is_written():
    """After each step the memory is that of a loop over samples with the same draws."""
    size, n, batch = 6, 50, 5
    memory = SampleMemory(size, "reservoir", slot_layout(INFO))
    task = offered(0, n)
    torch.manual_seed(3)
    draws = torch.randint(2**62, (n,)).tolist()
    torch.manual_seed(3)
    live = Stepwise.plan(memory, task, 0, batch)
    theirs: list[int] = []
    for start, part in zip(range(0, n, batch), task.split(batch), strict=True):
        assert live.count() == len(theirs)
        assert memory.key[: live.count()].tolist() == theirs
        live.deliver(Batch(part.x, part.y))
        for m in range(start, start + batch):
            if m < size:
                theirs.append(m)
            elif draws[m] % (m + 1) < size:
                theirs[draws[m] % (m + 1)] = m
    assert memory.key.tolist() == theirs


def test_unlabelled_samples_are_not_offered():
    memory = SampleMemory(9, "reservoir", slot_layout(INFO))
    task = offered(0, 6)
    task = task.relabelled(torch.tensor([-1, 1, -1, 0, 1, -1]))
    live = Stepwise.plan(memory, task, 0, 2)
    counts = []
    for part in task.split(2):
        live.deliver(Batch(part.x, part.y))
        counts.append(live.count())
    assert counts == [1, 2, 3]
    assert memory.key[:3].tolist() == [1, 3, 4]


def test_later_epochs_admit_nothing():
    r = run(
        *("strategy=er", "scenario=scole", "scenario.n_tasks=3", "strategy.per_step=true"),
        *("strategy.epochs=3", "strategy.memory_size=7", "strategy.batch_size=4"),
    )
    strategy: Any = r.strategy()
    n = 0
    for t in range(3):
        strategy.learn(r.stream.experience(t))
        n += len(r.stream.experience(t))
    assert int(strategy.offered) == n
    assert int(strategy.memory.filled) == 7


@pytest.mark.parametrize(
    "words", [("er", "policy=ring"), ("agem",), ("der",), ("derpp",), ("er", "policy=herding")]
)
def test_where_it_is_not_offered_it_is_refused(words: tuple[str, ...]):
    name, *rest = words
    given = [f"strategy={name}", "strategy.per_step=true", *(f"strategy.{w}" for w in rest)]
    with pytest.raises(UsageError, match=r"strategy\.per_step=true") as caught:
        run("scenario=scole", *given, on=pool()).strategy()
    assert "\n" not in str(caught.value)


def test_without_it_nothing_is_added_to_the_state():
    state = run("scenario=scole", "strategy=er").strategy().state_dict()
    assert not [name for name in state if "offered" in name]
