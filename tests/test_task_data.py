"""Whatever there is one of for each sample is permuted, cut and joined together."""

from __future__ import annotations

import pytest
import torch

from clbench.memory.buffer import found_in
from clbench.stream import TaskData

N = 11


def task(told: bool, start: int = 0) -> TaskData:
    """Samples whose every value tells which sample it is."""
    at = torch.arange(start, start + N)
    x = at[:, None].expand(N, 3).to(torch.uint8)
    return TaskData(x, at * 2, at * 3, at * 5 if told else None, torch.tensor([0]), True, 9)


def agree(found: TaskData, which: list[int]) -> bool:
    """Whether all values are those of these samples."""
    at = torch.tensor(which)
    ids = found.task_id is None or torch.equal(found.task_id, at * 5)
    same = torch.equal(found.y, at * 2) and torch.equal(found.key, at * 3)
    return ids and same and torch.equal(found.x[:, 1].long(), at)


@pytest.mark.parametrize("told", [False, True])
def test_parts_keep_what_belongs_together(told: bool):
    whole = task(told)
    order = torch.randperm(N)
    part = whole.part(order[:7])
    assert agree(part, order[:7].tolist())
    assert (part.ends_task, part.shuffle_seed) == (True, 9)
    assert part.classes is whole.classes
    pieces = list(whole.part(order).split(4))
    assert [len(piece) for piece in pieces] == [4, 4, 3]
    for piece, which in zip(pieces, order.split(4), strict=True):
        assert agree(piece, which.tolist())
    joined = whole.joined(task(told, start=20))
    assert agree(joined, [*range(N), *range(20, 20 + N)])
    assert (joined.task_id is not None) == told


def test_joined_samples_take_the_dtype_of_the_first():
    floats = task(False)
    other = TaskData(floats.x.float(), floats.y, floats.key)
    assert task(False).joined(other).x.dtype == torch.uint8


def test_keys_are_found_where_they_come_first():
    keys = torch.tensor([7, 3, 7, 100, 3])
    here = TaskData(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64), keys)
    wanted = torch.tensor([3, 4, 7, 200, 100, -5])
    assert found_in(wanted, here).tolist() == [1, -1, 0, -1, 3, -1]
