"""Run folders: what is skipped, refused, resumed, kept; sweeps in one process and in two."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from small import points, write_npz

from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.configure.trackers import Chosen
from clbench.engine.build import prepare
from clbench.engine.execute import Done, Options, execute
from clbench.errors import ClbenchError, UsageError
from clbench.plugins.registry import find
from clbench.results.record import Record
from clbench.sweeps.local import run_all

WORDS = ("scenario=scole", "strategy=naive", "scenario.n_tasks=4", "checkpoint_seconds=0")


@pytest.fixture(scope="session")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A curve takes longer to draw than these runs take; one test draws it."""
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )


def options(out: Path, **changes: Any) -> Options:
    return Options(**{"out": out, "quiet": True, **changes})


def go(npz: Path, out: Path, *words: str, **changes: Any) -> list[Done]:
    given = {w.partition("=")[0] for w in words}
    base = [w for w in WORDS if w.partition("=")[0] not in given]
    return list(run_all(points(*base, *words, npz=npz), options(out, **changes)))


def refused(npz: Path, out: Path, *words: str, **changes: Any) -> str:
    """The one line of a run that could not start or go on; a sweep would go on with the next."""
    [done] = go(npz, out, *words, **changes)
    assert done.record is None
    return done.error


def bits(record: Record) -> dict[str, Any]:
    """All of a record but times and memory."""
    data = {k: v for k, v in asdict(record).items() if k not in ("started", "finished")}
    data["cost"] = {
        k: v for k, v in record.cost.items() if not k.endswith("_seconds") and k != "peak_rss_bytes"
    }
    return data


FILES = {"record.json", "config.yaml", "curve.png", "checkpoint", ".lock"}
RAISING = '''"""A strategy that fails at its third experience, if told to."""
from __future__ import annotations
from dataclasses import dataclass
from clbench.strategy import GradientStrategy

class Raising(GradientStrategy):
    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        at: int = 3
        """Fails at this experience."""
        how: str = "error"
        """error or interrupt."""

    calls = 0

    def begin(self, task):
        type(self).calls += 1
        if type(self).calls == self.config.at:
            if self.config.how == "interrupt":
                raise KeyboardInterrupt
            raise ValueError("could not read /home/somebody/x.bin")
        return task
'''


@pytest.fixture
def raising(tmp_path: Path) -> Path:
    path = tmp_path / "raising.py"
    path.write_text(RAISING)
    return path


def test_a_run_leaves_its_files_and_is_skipped_when_done(
    npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.undo()
    [first] = go(npz, tmp_path)
    assert not first.skipped
    assert {p.name for p in first.folder.iterdir()} >= FILES
    assert first.folder.parts[-3] == "scole"
    assert first.folder.parts[-2].startswith("naive-")
    assert first.folder.name == "seed0"
    assert (first.folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    before = {p.name: p.read_bytes() for p in first.folder.iterdir()}
    [second] = go(npz, tmp_path)
    assert second.skipped
    assert second.record == first.record
    assert {p.name: p.read_bytes() for p in first.folder.iterdir()} == before


def test_a_run_need_not_draw_a_curve(npz: Path, tmp_path: Path):
    [done] = go(npz, tmp_path, curve=False)
    assert {p.name for p in done.folder.iterdir()} >= FILES - {"curve.png"}
    assert not (done.folder / "curve.png").exists()


def test_no_path_gets_into_the_record(npz: Path, tmp_path: Path):
    [done] = go(npz, tmp_path)
    text = (done.folder / "record.json").read_text()
    assert str(tmp_path) not in text
    assert str(npz.parent) not in text
    assert os.uname().nodename not in text


def test_what_does_not_change_the_experiment_does_not_change_the_folder(npz: Path, tmp_path: Path):
    [a] = go(npz, tmp_path)
    [b] = go(npz, tmp_path, "checkpoint_seconds=5")
    [c] = go(npz, tmp_path, "seed=1")
    [d] = go(npz, tmp_path, "strategy.lr=0.3")
    assert b.skipped
    assert c.folder.parent == a.folder.parent
    assert d.folder.parent != a.folder.parent


def test_the_settings_in_the_folder_are_those_of_the_run(npz: Path, tmp_path: Path):
    [done] = go(npz, tmp_path, "strategy=ewc", "ewc.lam=3")
    file = done.folder / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    assert settings.pop("resolved") == done.record.resolved
    assert Path(settings["data"].pop("path")) == npz
    recorded = {**done.record.config, "data": {**done.record.config["data"]}}
    assert recorded["data"].pop("path") == npz.name
    assert settings == recorded
    [again] = run_all(sweep([], file), options(tmp_path))
    assert again.skipped


def test_overwrite_starts_again(npz: Path, tmp_path: Path):
    [first] = go(npz, tmp_path)
    (first.folder / "checkpoint").write_bytes(b"")
    [second] = go(npz, tmp_path, overwrite=True)
    assert not second.skipped
    assert bits(second.record) == bits(first.record)
    assert (second.folder / "checkpoint").stat().st_size > 0


def interrupted(npz: Path, out: Path, raising: Path, how: str = "interrupt") -> Done:
    import clbench.plugins.registry as registry

    plugin = registry.find("strategy", str(raising))
    plugin.load().calls = 0
    [done] = go(npz, out, f"strategy={raising}", f"strategy.how={how}")
    return done


def test_unfinished_runs_are_refused_without_resume_and_go_on_with_it(
    npz: Path, tmp_path: Path, raising: Path
):
    done = interrupted(npz, tmp_path, raising)
    assert done.record.status == "interrupted"
    assert done.record.stream["experiences"] == 2
    files = {p.name: p.read_bytes() for p in done.folder.iterdir()}
    words = (f"strategy={raising}", "strategy.how=interrupt")
    with pytest.raises(UsageError, match=r"--resume"):
        go(npz, tmp_path, *words)
    assert {p.name: p.read_bytes() for p in done.folder.iterdir()} == files
    [resumed] = go(npz, tmp_path, *words, resume=True)
    assert resumed.record.status == "completed"
    [whole] = go(npz, tmp_path / "other", *words)
    assert bits(resumed.record) == bits(whole.record)


def test_a_failed_run_is_a_record_and_the_sweep_goes_on(npz: Path, tmp_path: Path, raising: Path):
    import clbench.plugins.registry as registry

    registry.find("strategy", str(raising)).load().calls = 0
    runs = go(npz, tmp_path, f"strategy={raising},naive,ewc")
    assert [d.record.status for d in runs] == ["error", "completed", "completed"]
    error = runs[0].record.error
    assert error is not None
    assert error["type"] == "ValueError"
    line = RAISING[: RAISING.index("raise ValueError")].count("\n") + 1
    assert error["message"] == f"could not read x.bin (raising.py line {line})"


def test_a_diverged_run_is_a_record_and_is_not_run_again(npz: Path, tmp_path: Path):
    words = ("strategy.lr=1e30", "strategy.clip_norm=null")
    [first] = go(npz, tmp_path, *words)
    assert first.record.status == "diverged"
    assert Record.load(first.folder / "record.json") == first.record
    [second] = go(npz, tmp_path, *words)
    assert second.skipped


def test_more_tasks_extend_a_finished_run_to_the_bits_of_a_single_one(npz: Path, tmp_path: Path):
    words = ("strategy=ewc", "scenario.n_tasks=null", "eval_every=2")
    [short] = go(npz, tmp_path, *words, "max_tasks=3")
    [longer] = go(npz, tmp_path, *words, "max_tasks=7")
    assert longer.folder == short.folder
    assert longer.record.stream["experiences"] == 7
    [single] = go(npz, tmp_path / "other", *words, "max_tasks=7")
    assert bits(longer.record) == bits(single.record)
    [again] = go(npz, tmp_path, *words, "max_tasks=7")
    assert again.skipped


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "foreign", "text"])
def test_a_damaged_checkpoint_is_named_and_left(
    npz: Path, tmp_path: Path, raising: Path, damage: str
):
    done = interrupted(npz, tmp_path, raising)
    file = done.folder / "checkpoint"
    good = file.read_bytes()
    bad = {
        "empty": b"",
        "cut": good[: len(good) // 2],
        "text": b"hello\n",
        "flip": good[:200] + bytes(b ^ 255 for b in good[200:400]) + good[400:],
        "foreign": npz.read_bytes(),
    }[damage]
    file.write_bytes(bad)
    line = refused(npz, tmp_path, f"strategy={raising}", "strategy.how=interrupt", resume=True)
    assert str(file) in line
    assert "\n" not in line
    assert file.read_bytes() == bad


def test_a_checkpoint_of_another_seed_is_refused(npz: Path, tmp_path: Path, raising: Path):
    done = interrupted(npz, tmp_path, raising)
    other = done.folder.parent / "seed1"
    other.mkdir()
    (other / "checkpoint").write_bytes((done.folder / "checkpoint").read_bytes())
    words = (f"strategy={raising}", "strategy.how=interrupt", "seed=1")
    assert "another run" in refused(npz, tmp_path, *words, resume=True)


def test_a_pickle_is_never_loaded(npz: Path, tmp_path: Path, raising: Path):
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    done = interrupted(npz, tmp_path, raising)
    (done.folder / "checkpoint").write_bytes(pickle.dumps(Evil()))
    assert refused(npz, tmp_path, f"strategy={raising}", "strategy.how=interrupt", resume=True)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 99}', "NaN"])
def test_a_damaged_record_is_named_and_left(npz: Path, tmp_path: Path, text: str, overwrite: bool):
    [done] = go(npz, tmp_path)
    file = done.folder / "record.json"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        go(npz, tmp_path, overwrite=overwrite)
    assert str(file) in str(caught.value)
    assert file.read_text() == text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_an_unwritable_folder_is_refused(npz: Path, tmp_path: Path):
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="cannot be written"):
        go(npz, tmp_path / "shut" / "runs")


@pytest.mark.parametrize("where", ["runs", "runs/scole"])
def test_a_file_in_the_way_is_refused(npz: Path, tmp_path: Path, where: str):
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        go(npz, tmp_path / "runs")
    assert path.read_text() == "in the way"


def test_nothing_is_written_if_any_run_of_a_sweep_is_wrong(npz: Path, tmp_path: Path):
    with pytest.raises(UsageError):
        go(npz, tmp_path / "runs", "scenario.classes_per_task=2,9")
    assert not (tmp_path / "runs").exists()


def test_a_second_process_on_one_folder_says_so(npz: Path, tmp_path: Path):
    [point] = points(*WORDS, npz=npz)
    run = prepare(resolve_point(point))
    folder = run.folder(tmp_path)
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(ClbenchError, match="another process"):
        execute(run, options(tmp_path))
    assert [p.name for p in folder.iterdir()] == [".lock"]
    assert not execute(run, options(tmp_path))[1]


def test_an_endless_run_without_anyone_to_stop_it_is_refused(npz: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="max_tasks"):
        go(npz, tmp_path, "scenario.n_tasks=null")


def test_classes_without_samples_are_refused(tmp_path: Path):
    import numpy as np

    x, y = np.zeros((6, 3), np.float32), np.array([1, 2, 3, 1, 2, 3])
    np.savez(tmp_path / "gap.npz", train_x=x, train_y=y, test_x=x, test_y=y)
    with pytest.raises(UsageError, match="class 0"):
        go(tmp_path / "gap.npz", tmp_path / "runs")
    np.savez(tmp_path / "gap.npz", train_x=x, train_y=y % 3, test_x=x[:2], test_y=y[:2] % 3)
    with pytest.raises(UsageError, match="class 0 has no sample to score"):
        go(tmp_path / "gap.npz", tmp_path / "runs")


@pytest.mark.usefixtures("forked_workers")
def test_two_processes_give_the_bits_of_one(npz: Path, tmp_path: Path):
    words = ("strategy=ewc,naive", "ewc.lam=1", "seed=0..1", "checkpoint_seconds=30")
    alone = go(npz, tmp_path / "alone", *words)
    beside = go(npz, tmp_path / "beside", *words, jobs=2)

    def by_folder(done: list[Done], out: Path) -> dict[str, Any]:
        return {str(d.folder.relative_to(out)): bits(d.record) for d in done}

    a, b = by_folder(alone, tmp_path / "alone"), by_folder(beside, tmp_path / "beside")
    assert len(a) == 4
    assert a == b


def test_records_of_a_run_are_json_without_nan(npz: Path, tmp_path: Path):
    [done] = go(npz, tmp_path, "strategy=ewc", "scenario=domain_incremental", "scenario.n_tasks=3")
    text = (done.folder / "record.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert Record.load(done.folder / "record.json") == done.record


def test_tensorboard_goes_on_where_a_run_was_broken_off(npz: Path, tmp_path: Path, raising: Path):
    interrupted(npz, tmp_path, raising)
    words = (f"strategy={raising}", "strategy.how=interrupt")
    curves = Chosen(find("tracker", "tensorboard"))
    [done] = go(npz, tmp_path, *words, resume=True, trackers=(curves,))
    assert list((done.folder / "tensorboard").glob("events*"))
