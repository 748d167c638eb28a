"""Data larger than memory: the same bits as in memory, decoded once, mended after whatever happens."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mapping import CPU, both
from small import go, record_of
from small import run as small_run

import clbench
from clbench.data import mapped, rows
from clbench.data.images import ImageData
from clbench.data.mapped import MappedPool
from clbench.data.pool import TensorPool
from clbench.data.rows import Held, Joined, held_by
from clbench.data.sets.folder import Folder
from clbench.errors import UsageError
from clbench.stream import TaskData


@pytest.mark.parametrize("settings", [{}, {"gray": True}])
def test_a_mapped_pool_is_the_resident_one(
    root: Path, settings: dict[str, bool], small_blocks: None
):
    mine, theirs = both(root, **settings)
    in_memory = TensorPool(Folder(path=root, size=8, **settings).arrays(), CPU)
    for a, b in ((mine, theirs), (mine.tuning(), theirs.tuning()), (mine, in_memory)):
        assert a.sha256 == b.sha256
        assert (a.input_shape, a.n_classes, a.class_names) == (
            b.input_shape,
            b.n_classes,
            b.class_names,
        )
        for split in ("train", "test"):
            assert a.labels(split).tolist() == b.labels(split).tolist()  # type: ignore[arg-type]
            index = np.random.default_rng(1).permutation(a.size(split))  # type: ignore[arg-type]
            assert torch.equal(a.gather(split, index), b.gather(split, index))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 3])
def test_a_split_that_is_made_is_the_same(root: Path, seed: int):
    train = root / "train"
    mine, theirs = both(train, split=0.25, split_seed=seed)
    there = Folder(path=train, size=8, split=0.25, split_seed=seed).arrays()
    assert mine.sha256 == theirs.sha256 == TensorPool(there, CPU).sha256
    assert mine.size("test") == 12


def words(root: Path, strategy: str, storage: str) -> tuple[str, ...]:
    return (
        *("scenario=class_incremental", f"strategy={strategy}", "data=folder", f"data.path={root}"),
        *("data.size=8", f"data.storage={storage}", "model=mlp", "model.hidden=[16]", "device=cpu"),
        *("strategy.epochs=3", "strategy.batch_size=5"),
    )


@pytest.mark.parametrize("strategy", ["naive", "er", "scole_replay"])
def test_a_whole_run_has_the_same_bits(root: Path, strategy: str):
    found = []
    for storage in ("mapped", "resident"):
        run = clbench.prepare(*words(root, strategy, storage))
        learner, outcome = go(run)
        record = record_of(run, learner, outcome)
        state = {k: v for k, v in learner.state_dict().items() if isinstance(v, torch.Tensor)}
        found.append((run.run_sha256, record.stream, outcome.ledger.correct, state))
    assert found[0][:3] == found[1][:3]
    assert found[0][3].keys() == found[1][3].keys()
    assert all(torch.equal(found[0][3][name], found[1][3][name]) for name in found[0][3])


def test_a_domain_run_has_the_same_bits(root: Path):
    counts = []
    for storage in ("mapped", "resident"):
        given = [w for w in words(root, "naive", storage) if not w.startswith("scenario")]
        run = clbench.prepare("scenario=domain_incremental", "scenario.n_tasks=3", *given)
        counts.append(go(run)[1].ledger.correct)
    assert counts[0] == counts[1]


def test_auto_maps_above_the_stated_size(root: Path, monkeypatch: pytest.MonkeyPatch):
    assert isinstance(Folder(path=root, size=8).pool(CPU), TensorPool)
    monkeypatch.setattr("clbench.data.images.RESIDENT_BYTES", 3 * 64 * 63)
    assert isinstance(Folder(path=root, size=8).pool(CPU), MappedPool)


def test_where_samples_are_is_no_part_of_a_runs_identity(root: Path):
    runs = [clbench.prepare(*words(root, "naive", s)) for s in ("auto", "mapped", "resident")]
    assert len({run.run_sha256 for run in runs}) == 1
    assert len({run.config_sha256 for run in runs}) == 1


def test_too_much_at_once_is_refused_with_what_to_do(root: Path, monkeypatch: pytest.MonkeyPatch):
    mine, _ = both(root)
    monkeypatch.setattr(rows, "AT_ONCE", 3 * 64 * 20)
    assert len(mine.gather("train", np.arange(20))) == 20
    with pytest.raises(UsageError, match="part, split, first or samples") as error:
        mine.gather("train", np.arange(21))
    assert "\n" not in str(error.value)


def lazy(root: Path) -> tuple[TaskData, TaskData]:
    """The same task twice: in a file, and in memory."""
    mine, theirs = both(root)
    index = np.random.default_rng(2).permutation(48)
    y, key = torch.arange(48), torch.arange(48) * 3
    held = mine.rows("train", index)
    return TaskData(held, y, key), TaskData(theirs.gather("train", index), y, key)  # type: ignore[arg-type]


def same(a: TaskData, b: TaskData) -> bool:
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.key, b.key)


def test_every_way_through_a_task_gives_the_same_samples(root: Path):
    mine, theirs = lazy(root)
    order = torch.randperm(48)
    assert same(mine.part(order[:9]), theirs.part(order[:9]))
    assert same(mine.first(7), theirs.first(7))
    assert same(mine.first(99), theirs.first(99))
    for a, b in zip(mine.part(order).split(5), theirs.part(order).split(5), strict=True):
        assert same(a, b)
    for given in (None, order[:11], order[:0]):
        parts = zip(mine.samples(4, given), theirs.samples(4, given), strict=True)
        assert all(torch.equal(a, b) for a, b in parts)
    joined = mine.joined(theirs.first(5)), theirs.joined(theirs.first(5))
    mixed = torch.randperm(53)
    assert isinstance(held_by(joined[0]), Joined)
    assert same(joined[0].part(mixed), joined[1].part(mixed))
    for a, b in zip(joined[0].part(mixed).split(6), joined[1].part(mixed).split(6), strict=True):
        assert same(a, b)
    assert isinstance(held_by(mine.relabelled(mine.y + 1)), rows.Rows)
    assert same(mine.relabelled(mine.y + 1), theirs.relabelled(theirs.y + 1))
    assert same(mine, theirs)


def test_a_field_without_samples_is_no_default():
    with pytest.raises(TypeError, match="x"):
        TaskData(y=torch.zeros(1), key=torch.zeros(1))  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Held().__get__(None)


def test_what_comes_next_is_asked_for_in_advance(root: Path, monkeypatch: pytest.MonkeyPatch):
    mine, _ = both(root)
    calls: list[tuple[str, list[int]]] = []
    file = mine._data.file
    for name in ("will_need", "read"):
        original = getattr(file, name)

        def call(index: np.ndarray, *more: object, name: str = name, original: object = original):
            calls.append((name, index.tolist()))
            return original(index, *more)  # type: ignore[operator]

        monkeypatch.setattr(file, name, call)
    parts = list(mine.rows("train", np.arange(48)).batches(6))
    assert len(parts) == 8
    ahead = 0
    for name, _ in calls:
        ahead += 1 if name == "will_need" else -1
        assert 0 <= ahead <= mapped.AHEAD + 1
    assert [i for n, i in calls if n == "will_need"] == [i for n, i in calls if n == "read"]


def test_every_set_of_images_has_the_setting():
    fields = ImageData.__dataclass_fields__
    assert fields["storage"].metadata["identity"] == "never"


def test_threads_hear_their_own_warnings():
    import warnings

    from clbench.data.pictures import Ear

    ear, found = Ear(), {}

    def speak(name: str) -> None:
        mine = ear.mine()
        for _ in range(50):
            warnings.warn(name, UserWarning, stacklevel=1)
        found[name] = mine

    with ear.opened():
        threads = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {name: [name] * 50 for name in "abcd"}


def test_a_run_over_a_file_is_evaluated_in_fixed_batches(root: Path):
    mine, theirs = both(root)
    counts = []
    for pool in (mine, theirs):
        run = small_run("scenario=class_incremental", "strategy=naive", on=pool)
        counts.append(go(run)[1].ledger.correct)
        assert run.stream.world().x.shape == (16, 3, 8, 8)
    assert isinstance(
        held_by(small_run("scenario=class_incremental", "strategy=naive", on=mine).stream.world()),
        rows.Rows,
    )
    assert counts[0] == counts[1]


@pytest.mark.parametrize("strategy", ["naive", "er", "ewc", "lwf", "slda"])
def test_a_task_that_is_too_large_for_one_tensor_trains(
    root: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
):
    found = []
    for limit in (rows.AT_ONCE, 3 * 64 * 8):  # a task has 12 images or more
        monkeypatch.setattr(rows, "AT_ONCE", limit)
        given = () if strategy in ("slda",) else ("strategy.epochs=2", "strategy.batch_size=5")
        given += ("strategy.fisher_samples=8",) if strategy == "ewc" else ()
        given += ("strategy.memory_size=6",) if strategy == "er" else ()
        words_ = [w for w in words(root, strategy, "mapped") if not w.startswith("strategy.")]
        run = clbench.prepare(*words_, *given, "scenario.n_tasks=2")
        task = run.stream.experience(0)
        assert len(task) == 24
        if limit < 24 * 192:
            with pytest.raises(UsageError, match="at once"):
                _ = task.x
        outcome = go(run)[1]
        assert outcome.status == "completed", outcome.error
        found.append(outcome.ledger.correct)
    assert found[0] == found[1]
