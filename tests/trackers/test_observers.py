"""Observers: they get values that cannot be changed, change no bit, and an error ends no run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import go, points, run, write_npz

from clbench.configure.trackers import Chosen
from clbench.engine.execute import Done, Options
from clbench.plugins.registry import find
from clbench.results.record import Record
from clbench.strategy import Strategy
from clbench.sweeps.local import run_all
from clbench.tracker import Progress, RunStart, Tracker

WORDS = ("scenario=scole", "scenario.n_tasks=4", "strategy=er")

MEDDLING = '''"""Tries to change all that it is given and all that a run stands on."""
import random
import numpy as np
import torch
from clbench.tracker import Tracker

REFUSED = (AttributeError, TypeError)


def spoil(value):
    """Change whatever can be changed."""
    for name in ("experiences", "correct", "settings", "evaluation", "seed", "past"):
        try:
            setattr(value, name, 0)
        except REFUSED:
            continue
        raise AssertionError(name)
    for name in ("correct", "settings", "diagnostics", "past", "cells"):
        inside = getattr(value, name, None)
        for key in (0, "seed", "strategy"):
            try:
                inside[key] = 0
            except REFUSED:
                continue
            raise AssertionError(name)


def disturb():
    """Draw and seed, and change how torch computes."""
    torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(2)


class Meddling(Tracker):
    def start(self, run):
        spoil(run), disturb()

    def progress(self, progress):
        spoil(progress), spoil(progress.evaluation), disturb()

    def finish(self, record):
        record.counts["correct"][-1][0] += 1
        record.config.clear()
        disturb()
'''
RAISING = '''"""Raises in one method."""
from dataclasses import dataclass
from clbench.tracker import Tracker


class Raising(Tracker):
    @dataclass(frozen=True)
    class Config(Tracker.Config):
        where: str = "progress"
        """The method."""

    def _perhaps(self, here):
        if here == self.config.where:
            raise OSError("no space in /home/somebody")

    def start(self, run):
        self._perhaps("start")

    def progress(self, progress):
        self._perhaps("progress")

    def finish(self, record):
        self._perhaps("finish")
'''


class Collecting(Tracker):
    def __init__(self) -> None:
        super().__init__(None)
        self.seen: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


def execute(
    npz: Path, out: Path, *trackers: Chosen, words: tuple[str, ...] = WORDS, **options: Any
) -> Done:
    made = Options(out=out, quiet=True, curve=False, trackers=trackers, **options)
    [done] = run_all(points(*words, npz=npz), made)
    return done


def chosen(folder: Path, source: str, *given: tuple[str, str]) -> Chosen:
    path = folder / "mine.py"
    path.write_text(source)
    return Chosen(find("tracker", str(path)), given)


def drawn() -> tuple[float, float, float]:
    return torch.rand(()).item(), float(np.random.rand()), random.random()  # noqa: NPY002


def state() -> tuple[Any, ...]:
    return torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()


@pytest.mark.parametrize("strategy", ["er", "ewc", "gradient_noise"])
def test_no_observer_changes_a_bit(npz: Path, tmp_path: Path, strategy: str):
    words = (*WORDS[:2], f"strategy={strategy}")
    alone = execute(npz, tmp_path / "alone", words=words)
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    expected = drawn()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    before = state()
    meddled = execute(npz, tmp_path / "meddled", chosen(tmp_path, MEDDLING), words=words)
    assert state() == before
    assert drawn() == expected
    assert alone.record is not None
    assert meddled.record is not None
    assert meddled.record.warnings == alone.record.warnings
    assert meddled.record.predictions_sha256 == alone.record.predictions_sha256
    assert meddled.record.counts == alone.record.counts
    assert meddled.record.diagnostics == alone.record.diagnostics
    assert Record.load(meddled.folder / "record.json") == meddled.record
    assert meddled.folder.name == alone.folder.name
    assert meddled.folder.parent.name == alone.folder.parent.name


@pytest.mark.parametrize("where", ["start", "progress", "finish"])
def test_an_error_in_an_observer_ends_no_run(
    npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
):
    done = execute(npz, tmp_path, chosen(tmp_path, RAISING, ("where", where)))
    assert done.record is not None
    assert done.record.status == "completed"
    [line] = capsys.readouterr().err.splitlines()
    told, _, place = line.partition(" (mine.py line ")
    assert told == (
        "clbench: tracker mine is switched off, the run goes on: OSError: no space in /home/somebody"
    )
    number = int(place.removesuffix(")"))
    assert "OSError" in (tmp_path / "mine.py").read_text().splitlines()[number - 1]
    assert done.record.warnings == ["tracker mine raised OSError and was switched off"]
    assert Record.load(done.folder / "record.json") == done.record


def test_an_interrupt_in_an_observer_interrupts_the_run(npz: Path, tmp_path: Path):
    def stop(progress: Progress) -> None:
        if progress.experiences == 2:
            raise KeyboardInterrupt

    done = execute(npz, tmp_path, report=stop)
    assert done.record is not None
    assert done.record.status == "interrupted"
    assert done.record.stream["experiences"] == 2


@pytest.mark.parametrize(("schedule", "new"), [("1", [0, 1, 2, 3, 4]), ("3", [0, 3, 4])])
def test_every_experience_and_every_evaluation_is_reported_once(
    npz: Path, tmp_path: Path, schedule: str, new: list[int]
):
    tracker = Collecting()
    words = (*WORDS, f"eval_every={schedule}")
    done = execute(npz, tmp_path, words=words, report=tracker.progress)
    assert done.record is not None
    counts, seen = done.record.counts, tracker.seen
    assert [p.experiences for p in seen if p.is_new] == new == counts["evaluated_after"]
    assert [list(p.evaluation.correct) for p in seen if p.is_new] == counts["correct"]
    assert sorted({p.experiences for p in seen}) == [0, 1, 2, 3, 4]
    assert [p.tasks for p in seen] == [p.experiences for p in seen]
    assert {p.n_experiences for p in seen} == {4}
    assert seen[-1].samples == done.record.cost["samples_delivered"]
    total = sum(cell["size"] for cell in counts["cells"])
    for p in seen:
        assert p.evaluation.world_accuracy == sum(p.evaluation.correct) / total
        assert p.evaluation.experiences <= p.experiences
    with pytest.raises(FrozenInstanceError):
        seen[0].samples = 1  # type: ignore[misc]


def test_a_resumed_run_tells_its_past(npz: Path, tmp_path: Path):
    """Past and reports together are the evaluations of a run that never stopped."""
    told: list[RunStart] = []

    class Telling(Collecting):
        def start(self, run: RunStart) -> None:
            told.append(run)

    first, second = Telling(), Telling()
    words = ("scenario=scole", "scenario.n_tasks=null", "strategy=er", "eval_every=2")
    for tracker, tasks in ((first, 3), (second, 6)):
        chosen = _Made(tracker)
        execute(npz, tmp_path, chosen, words=(*words, f"max_tasks={tasks}"))  # type: ignore[arg-type]
    assert [(run.experiences, run.is_resumed) for run in told] == [(0, False), (3, True)]
    assert told[0].past == ()
    assert [e.experiences for e in told[1].past] == [0, 2]
    assert [p.experiences for p in second.seen if p.is_new] == [4, 6]
    assert told[1].past == tuple(p.evaluation for p in first.seen if p.is_new)[:2]
    assert told[0].flat_settings()["strategy"] == "er"
    assert told[0].flat_settings()["max_tasks"] == 3
    nested = [v for v in told[0].flat_settings().values() if isinstance(v, Mapping)]
    assert not nested, "servers of trackers take plain values"
    assert told[0].title.endswith("seed0")


class _Made:
    """A tracker that is already there, in the place of a choice."""

    plugin = find("tracker", "csv")

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def build(self) -> Tracker:
        return self.tracker


def test_without_observers_the_harness_reports_nothing(monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr("clbench.engine.harness.evaluation", refuse)
    strategy, outcome = go(run(*WORDS))
    assert isinstance(strategy, Strategy)
    assert outcome.status == "completed"
