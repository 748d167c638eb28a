"""``clbench.run``: the command line's path from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import write_npz

import clbench
from clbench.errors import ClbenchError, UsageError
from clbench.results.record import Record

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


def words(npz: Path) -> list[str]:
    fixed = ["scenario=scole", "scenario.n_tasks=3", "model=mlp", "model.hidden=[8]", "device=cpu"]
    return [*fixed, "data=npz", f"data.path={npz}"]


def run(npz: Path, out: Path, *more: str, **settings: Any) -> Any:
    return clbench.run(*words(npz), *more, out=out, quiet=True, **settings)


def test_keywords_and_words_are_the_same_run(npz: Path, tmp_path: Path):
    by_word = run(npz, tmp_path, "strategy=naive", "seed=3")
    assert isinstance(by_word, Record)
    assert by_word.status == "completed"
    by_keyword = run(npz, tmp_path, strategy="naive", seed=3)
    assert by_keyword == by_word  # found in its folder, not run again
    fresh = run(npz, tmp_path / "other", strategy="naive", seed=3)
    assert fresh.predictions_sha256 == by_word.predictions_sha256
    assert fresh.config == by_word.config


def test_none_is_null(npz: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="max_tasks=0"):
        run(npz, tmp_path, strategy="naive", max_tasks=0)
    assert run(npz, tmp_path, strategy="naive", max_tasks=None).config["max_tasks"] is None


@pytest.mark.parametrize("jobs", [1, 2])
def test_sweeps_give_a_list_in_the_order_of_the_words(npz: Path, tmp_path: Path, jobs: int):
    seeds = range(2) if jobs == 1 else range(1)
    found = run(npz, tmp_path, strategy=["joint", "naive"], seed=seeds, jobs=jobs)
    arms = [(r.config["strategy"]["name"], r.seed) for r in found]
    assert arms == [(name, seed) for name in ("joint", "naive") for seed in seeds]


def test_one_run_that_a_sweep_is_written_for_is_a_record(npz: Path, tmp_path: Path):
    assert isinstance(run(npz, tmp_path, strategy=["naive"], seed=range(1)), Record)


def test_settings_from_a_file(npz: Path, tmp_path: Path):
    (tmp_path / "run.yaml").write_text("strategy: {name: naive, lr: 0.3}\nseed: 4\n")
    record = run(npz, tmp_path / "runs", config=tmp_path / "run.yaml")
    assert (record.config["strategy"]["lr"], record.seed) == (0.3, 4)


def test_frame_and_plot(npz: Path, tmp_path: Path):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    record = run(npz, tmp_path, strategy="naive")
    frame = record.frame()
    assert list(frame.columns[:2]) == ["experiences", "world_accuracy"]
    assert [c for c in frame.columns if c.startswith("class_")] == [f"class_{c}" for c in range(4)]
    assert frame["experiences"].tolist() == record.counts["evaluated_after"]
    assert frame["world_accuracy"].iloc[-1] == record.metric("world_accuracy")
    given = Figure().subplots()
    axes = record.plot(given)
    assert isinstance(axes, Axes)
    assert axes is given
    [line] = axes.lines
    assert list(line.get_ydata()) == frame["world_accuracy"].tolist()
    assert list(line.get_xdata()) == frame["experiences"].tolist()


def test_plot_makes_axes_of_its_own(npz: Path, tmp_path: Path):
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    axes = run(npz, tmp_path, strategy="naive").plot()
    assert axes.get_ylabel() == "world accuracy"
    plt.close(axes.figure)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"strategy": "naiv"}, "did you mean 'naive'"),
        ({"strategy": "naive", "sede": 1}, "did you mean 'seed'"),
        ({"strategy": "naive", "seed": "x"}, "seed=x"),
        ({"strategy": []}, "empty value"),
        ({}, "strategy= is required"),
    ],
)
def test_errors_raise_before_anything_is_written(
    npz: Path, tmp_path: Path, settings: dict[str, Any], told: str
):
    with pytest.raises(UsageError, match=told):
        run(npz, tmp_path / "runs", **settings)
    assert not (tmp_path / "runs").exists()


def test_a_folder_in_use_raises(npz: Path, tmp_path: Path):
    from filelock import FileLock

    run(npz, tmp_path, strategy="naive")
    [record] = tmp_path.rglob("record.json")
    with FileLock(record.parent / ".lock"), pytest.raises(ClbenchError, match="another process"):
        run(npz, tmp_path, strategy="naive")


FAILING = '''"""A strategy that ends badly."""
from dataclasses import dataclass
from clbench.strategy import GradientStrategy

class Failing(GradientStrategy):
    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        interrupt: bool = False
        """Ctrl-C, rather than an error."""

    def begin(self, task):
        raise KeyboardInterrupt if self.config.interrupt else ValueError("no more")
'''


def test_failed_and_interrupted_runs_are_records(npz: Path, tmp_path: Path):
    path = tmp_path / "failing.py"
    path.write_text(FAILING)
    both = run(npz, tmp_path / "a", strategy=[str(path), "naive"])
    assert [r.status for r in both] == ["error", "completed"]
    stopped = run(npz, tmp_path / "b", "failing.interrupt=true", strategy=[str(path), "naive"])
    assert [r.status for r in stopped] == ["interrupted"]
