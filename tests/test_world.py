"""The world: every cell's samples once, one pass, counts that a loop would give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import pool
from torch import Tensor, nn

from clbench.data.transforms import Permute
from clbench.stream import Stream, Task
from clbench.world import Cell, World, build_world, evaluate


class Probe(nn.Module):
    """Scores by a fixed linear map; writes down what it is asked."""

    def __init__(self, n_in: int, n_classes: int) -> None:
        super().__init__()
        at = torch.arange(n_in * n_classes, dtype=torch.float32)
        self.map = torch.sin(at * 1.7).reshape(n_in, n_classes)
        self.sizes: list[int] = []
        self.modes: list[bool] = []

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        self.sizes.append(len(x))
        self.modes.append(self.training)
        assert torch.is_inference_mode_enabled()
        return x.flatten(1).float() @ self.map


def by_loop(world: World, probe: Probe, cell: int) -> int:
    """Correct answers in one cell, one sample at a time."""
    right = 0
    for i in np.flatnonzero(world.cell.numpy() == cell):
        scores = world.x[i].flatten().float() @ probe.map
        task = world.cells[cell].task_id
        if task is not None:
            allowed = [c.label for c in world.cells if c.task_id == task]
            best = max(allowed, key=lambda c: float(scores[c]))
        else:
            best = int(scores.argmax())
        right += best == world.cells[cell].label
    return right


def labels(cells: tuple[Cell, ...]) -> tuple[int, ...]:
    """The pool's label of each cell, where a class is one label in every domain."""
    return tuple(cell.label for cell in cells)


def plain() -> World:
    cells = tuple(Cell(c) for c in range(4))
    return build_world(pool(), cells, labels(cells), 4, None, 0)


def domains() -> World:
    cells = tuple(Cell(c, d) for d in (0, 2) for c in range(4))
    return build_world(pool(), cells, labels(cells), 4, Permute(3, 5), 0)


def told() -> World:
    cells = tuple(Cell(c, 0, t) for t, task in enumerate([(0, 2), (1, 3)]) for c in task)
    return build_world(pool(), cells, labels(cells), 4, None, 0)


@pytest.mark.parametrize("world", [plain(), domains(), told()], ids=["plain", "domains", "told"])
@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_counts_are_those_of_a_loop(world: World, batch_size: int):
    probe = Probe(6, 4)
    correct, answers, sane = evaluate(probe, world, batch_size)
    assert correct.tolist() == [by_loop(world, probe, c) for c in range(len(world.cells))]
    assert 0 < int(correct.sum()) < len(world.y)
    assert bool(sane)
    # Canonical order: cell by cell, whatever the order they were predicted in.
    of = np.repeat(np.arange(len(world.cells)), world.sizes.numpy())
    labels = np.array([c.label for c in world.cells])[of]
    wanted = np.bincount(of[answers.numpy() == labels], minlength=len(world.cells))
    assert correct.tolist() == wanted.tolist()


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_answers_do_not_depend_on_the_batch_size(batch_size: int):
    world = plain()
    same = evaluate(Probe(6, 4), world, batch_size)[1]
    assert torch.equal(same, evaluate(Probe(6, 4), world, 512)[1])


def test_every_test_sample_is_in_its_cell_once():
    world = domains()
    x, y = pool().gather("test", np.arange(20)), pool().labels("test")
    for number, cell in enumerate(world.cells):
        mine = world.x[world.cell == number]
        wanted = Permute(3, 5)(x[torch.as_tensor(y == cell.label)], cell.domain, torch.Generator())
        assert sorted(mine.tolist()) == sorted(wanted.tolist())
        assert set(world.y[world.cell == number].tolist()) == {cell.label}
        assert len(mine) == int(world.sizes[number]) == 5


def test_batches_mix_the_cells():
    world = domains()
    assert len(set(world.cell[:10].tolist())) > 3


def test_labels_of_a_subset_of_classes():
    world = build_world(pool(), (Cell(0), Cell(1)), (1, 3), 2, None, 0)
    x = pool().gather("test", np.flatnonzero(pool().labels("test") == 3))
    assert sorted(world.x[world.y == 1].tolist()) == sorted(x.tolist())


def test_evaluation_is_in_eval_mode_and_puts_the_mode_back():
    probe = Probe(6, 4)
    evaluate(probe, plain(), 8)
    assert probe.modes == [False] * 3
    assert probe.training
    assert probe.sizes == [8, 8, 4]


@pytest.mark.parametrize(
    ("value", "sane"), [(float("nan"), False), (float("inf"), False), (-float("inf"), True)]
)
def test_scores_that_are_no_numbers_are_noticed(value: float, sane: bool):
    class Odd(Probe):
        def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
            scores = super().forward(x)
            return torch.where(torch.arange(4) == 2, value, scores)

    assert bool(evaluate(Odd(6, 4), plain(), 7)[2]) is sane


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300))
def test_forward_passes_are_samples_over_batch_whatever_the_number_of_tasks(n_tasks: int):
    stream = Stream(pool(), 0, lambda t: Task((t % 4,)), n_tasks, (0, 1, 2, 3))
    probe = Probe(6, 4)
    evaluate(probe, stream.world(), 8)
    assert sum(probe.sizes) == 20


def test_cells_out_of_the_order_of_domains_are_refused():
    with pytest.raises(ValueError, match="ordered by domain"):
        build_world(pool(), (Cell(0, 1), Cell(0, 0)), (0, 0), 2, Permute(0, 2), 0)
