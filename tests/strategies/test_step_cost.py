"""What a step costs, counted against the count by hand from the method's description."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from small import run

from clbench.nets.flops import Count
from clbench.strategy import Batch

B, R, D, H, C = 8, 12, 6, 10, 4
"""New samples, replayed ones, inputs, hidden units, classes."""
TOLD = ("scenario=task_incremental", "scenario.n_tasks=2")
SINGLE = ("scenario=class_incremental", "scenario.n_tasks=2")


def counted(name: str, stream: tuple[str, ...], *words: str, first: bool = False) -> int:
    """Operations of one step in the second task, or in the first."""
    shape = ("model=mlp", f"model.hidden=[{H}]", f"strategy.batch_size={B}")
    r = run(f"strategy={name}", *stream, *shape, *words)
    strategy: Any = r.strategy()
    if not first:
        strategy.learn(r.stream.experience(0))
    task = r.stream.experience(0 if first else 1)
    strategy.bind()
    strategy.train()
    strategy.classes_of_task = getattr(strategy, "classes_of_task", None)
    if task.task_id is not None:
        strategy.classes_of_task[task.task_id[0], task.classes] = True
    task = strategy.begin(task)
    part = task.first(B)
    with Count() as count:
        strategy.step(strategy.draw(Batch(part.x, part.y, part.task_id, task.classes)))
    assert not count.uncounted
    return count.total


def chain(n: int, *widths: int) -> int:
    """Forward and backward of n rows; the first layer's inputs need no gradient."""
    sizes = [a * b for a, b in pairwise(widths)]
    return 2 * n * (3 * sum(sizes) - sizes[0])


NAIVE = chain(B, D, H, C)


@pytest.mark.parametrize(
    ("name", "stream", "words"),
    [
        ("naive", SINGLE, ()),
        ("redo", SINGLE, ()),
        ("redo", SINGLE, ("strategy.reset_period=1",)),
        ("upgd", SINGLE, ()),
        ("packnet", TOLD, ()),
        ("hat", TOLD, ()),
    ],
)
def test_these_cost_what_naive_costs(name: str, stream: tuple[str, ...], words: tuple[str, ...]):
    assert counted(name, stream, *words) == NAIVE


@pytest.mark.parametrize(("stream", "has_head"), [(TOLD, False), (SINGLE, True)])
def test_gpm_multiplies_each_gradient_with_a_square_matrix(stream: tuple[str, ...], has_head: bool):
    """A bias is one more input. The first task has nothing to spare."""
    assert counted("gpm", stream, first=True) == NAIVE
    projection = 2 * H * (D + 1) ** 2 + has_head * 2 * C * (H + 1) ** 2
    assert counted("gpm", stream) == NAIVE + projection


def test_a_reservoir_after_every_step_costs_what_one_before_the_task_costs():
    words = (f"strategy.replay_batch={R}", "strategy.memory_size=9")
    costs = {counted("er", SINGLE, *words, f"strategy.per_step={v}") for v in ("true", "false")}
    assert costs == {chain(B + R, D, H, C)}


def test_scr_sends_two_views_through_and_compares_all_rows():
    """Three layers, and z z' of n rows with its gradient by both factors."""
    n, size = 2 * (B + R), 5
    words = (f"strategy.replay_batch={R}", f"strategy.projection={size}")
    assert counted("scr", SINGLE, *words) == chain(n, D, H, H, size) + 3 * 2 * n * n * size


def test_xder_replays_twice_and_contrasts_views_of_the_new_and_of_a_third_draw():
    """Two classes are future in the second task of three; n_views (B + K) rows are compared."""
    stream, k = ("scenario=class_incremental", "scenario.sizes=[1,1,2]"), 5
    words = (f"strategy.replay_batch={R}", "strategy.n_views=3", f"strategy.contrast_batch={k}")
    n = 3 * (min(B, k) + k)
    wanted = chain(B + 2 * R, D, H, C) + chain(n, D, H, C) + 3 * 2 * n * n * 2
    assert counted("xder", stream, *words) == wanted
