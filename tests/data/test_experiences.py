"""Streams that the data bring along: their experiences, their domains, benchmarks of Avalanche."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import go
from small import pool as small_pool
from small import run as small_run

from clbench.data.experiences import ByDomain, ExperiencePool
from clbench.data.sets.avalanche import Avalanche
from clbench.errors import UsageError

SCENARIO = ("scenario=avalanche", "strategy=naive")


def experiences(by_class: bool) -> ExperiencePool:
    """Four classes, two a task; or three experiences with samples of every class in each."""
    pool = small_pool()

    def parts(split: Any) -> list[np.ndarray]:
        labels = pool.labels(split)
        if by_class:
            return [np.flatnonzero(labels // 2 == t) for t in range(2)]
        return [np.flatnonzero(np.arange(len(labels)) % 3 == t) for t in range(3)]

    return ExperiencePool(pool, parts("train"), parts("test"), "made")


def test_each_experience_is_a_task():
    pool = experiences(True)
    stream = small_run(*SCENARIO, on=pool).stream
    assert (stream.n_tasks, stream.disjoint, stream.n_domains) == (2, True, 1)
    for t, index in enumerate(pool.experiences["train"]):
        assert sorted(stream.draw(t).index.tolist()) == index.tolist()
        assert stream.experience(t).classes.tolist() == [2 * t, 2 * t + 1]  # type: ignore[union-attr]
    assert [cell.label for cell in stream.cells] == [0, 1, 2, 3]


def test_test_sets_with_all_classes_are_domains():
    pool = experiences(False)
    run = small_run(*SCENARIO, on=pool)
    stream = run.stream
    assert (stream.n_tasks, stream.n_domains, stream.n_classes) == (3, 3, 4)
    world, y = stream.world(), pool.labels("test")
    for number, cell in enumerate(stream.cells):
        mine = world.x[world.cell == number]
        index = pool.experiences["test"][cell.domain]
        expected = pool.gather("test", index[y[index] == cell.label])
        assert sorted(mine.tolist()) == sorted(expected.tolist())
        assert (world.y[world.cell == number] == cell.label).all()
    assert isinstance(stream.pool, ByDomain)
    again = small_run(*SCENARIO, on=stream.pool).stream  # as further seeds of a sweep make it
    assert again.draw(1).index.tolist() == stream.draw(1).index.tolist()
    assert go(run)[1].status == "completed"


def test_the_experiences_are_part_of_the_hash():
    assert len({small_pool().sha256, experiences(True).sha256, experiences(False).sha256}) == 3


def test_other_data_are_refused():
    with pytest.raises(UsageError, match="needs data=avalanche:NAME"):
        small_run(*SCENARIO)
    with pytest.raises(UsageError, match="the data are those of made"):
        small_run(
            "scenario=avalanche:CORe50", "data=digits", "strategy=naive", on=experiences(True)
        )


needs_avalanche = [
    pytest.mark.avalanche,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        importlib.util.find_spec("avalanche") is None,
        reason="avalanche-lib is not installed: clbench[avalanche]",
    ),
]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A benchmark of three experiences among Avalanche's classic ones, with one test set."""
    from avalanche.benchmarks import classic, tensors_benchmark

    rng = torch.Generator().manual_seed(0)
    parts = [
        (
            torch.randint(256, (7, 3, 6, 6), generator=rng, dtype=torch.uint8),
            torch.arange(7) % 3 + t,
        )
        for t in range(3)
    ]

    def Small(*, dataset_root: Any, train_transform: Any, eval_transform: Any, n: int = 3) -> Any:
        """A small benchmark."""
        test = [tuple(torch.cat(column) for column in zip(*parts[:n], strict=True))]
        return tensors_benchmark(parts[:n], test, task_labels=[0] * n, complete_test_set_only=True)

    monkeypatch.setattr(classic, "Small", Small, raising=False)
    return parts


class TestAvalanche:
    pytestmark = needs_avalanche

    @pytest.mark.parametrize("storage", ["mapped", "resident"])
    def test_a_benchmark_keeps_its_experiences(self, made: Any, tmp_path: Path, storage: Any):
        pool = Avalanche(set="Small", path=tmp_path, storage=storage).pool(torch.device("cpu"))
        assert isinstance(pool, ExperiencePool)
        for (x, y), index in zip(made, pool.experiences["train"], strict=True):
            assert torch.equal(pool.gather("train", index), x)
            assert pool.labels("train")[index].tolist() == y.tolist()
        assert pool.size("test") == 21
        assert len(pool.experiences["test"]) == 1

    def test_its_stream_runs(self, made: Any, tmp_path: Path):
        import clbench

        words = ("scenario=avalanche:Small", "strategy=naive", f"data.path={tmp_path}")
        run = clbench.prepare(*words, "data.arguments=[n=2]", "model=mlp", "device=cpu")
        assert run.stream.n_tasks == 2
        assert run.config.data.set == "Small"
        with pytest.raises(UsageError, match="did you mean 'Small'"):
            clbench.prepare("scenario=avalanche:Smal", "strategy=naive", f"data.path={tmp_path}")
        with pytest.raises(UsageError, match="takes no 'm=2'"):
            clbench.prepare(*words, "data.arguments=[m=2]")
