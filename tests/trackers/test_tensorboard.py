"""TensorBoard: what is read back is what was evaluated, also after a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
from trackers.telling import CELLS, evaluation, report, start

from clbench.plugins.registry import find
from clbench.tracker import MAX_CURVES, Evaluation, RunStart, Tracker
from clbench.world import Cell


def board() -> Tracker:
    cls = find("tracker", "tensorboard").load()
    tracker: Tracker = cls(cls.Config())
    return tracker


def tags(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def test_what_tensorboard_reads_is_what_was_evaluated(tmp_path: Path):
    tracker = board()
    tracker.start(start(tmp_path))
    tracker.progress(report(evaluation(0, 1, 0, 2, 1)))
    tracker.progress(report(evaluation(1, 4, 1, 2, 1, loss=0.5)))
    tracker.progress(report(evaluation(1, 4, 1, 2, 1, loss=0.5), experiences=2))  # not evaluated
    tracker.progress(report(evaluation(3, 3, 1, 2, 2, loss=0.25)))
    tracker.finish(None)
    found = tags(tmp_path)
    assert found["world_accuracy"] == [(0, 0.25), (1, 0.5), (3, 0.5)]
    assert found["diagnostics/loss"] == [(1, 0.5), (3, 0.25)]
    assert {name for name in found if name.startswith("accuracy/")} == {
        f"accuracy/{cell.name}" for cell in CELLS
    }
    assert found["accuracy/class_0"] == [(0, 0.25), (1, 1.0), (3, 0.75)]
    assert found["accuracy/class_1/domain_1"] == [(0, 0.25), (1, 0.25), (3, 0.5)]


def test_a_resumed_run_goes_on_where_its_checkpoint_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was written after the checkpoint and lost with it is not there twice."""
    past = [evaluation(at) for at in (1, 2)]
    first = board()
    first.start(start(tmp_path))
    for one in (*past, evaluation(3, 0, 0, 0, 0)):  # the last is lost
        first.progress(report(one))
    first.finish(None)
    # Files are named by the second; two sessions of a test lie in one.
    monkeypatch.setattr("time.time", lambda: 4e9)
    again = board()
    again.start(start(tmp_path, *past))
    for one in (evaluation(3), evaluation(4)):
        again.progress(report(one))
    again.finish(None)
    assert tags(tmp_path)["world_accuracy"] == [
        (at, evaluation(at).world_accuracy) for at in (1, 2, 3, 4)
    ]


def test_a_run_that_had_no_curves_before_has_its_past_in_them(tmp_path: Path):
    tracker = board()
    tracker.start(start(tmp_path, evaluation(1), evaluation(2)))
    tracker.progress(report(evaluation(3)))
    tracker.finish(None)
    assert [step for step, _ in tags(tmp_path)["world_accuracy"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("classes", "domains", "expected"),
    [(MAX_CURVES, 1, MAX_CURVES), (4, 8, 32), (4, 9, 4), (MAX_CURVES, 2, MAX_CURVES), (40, 1, 32)],
)
def test_there_are_at_most_so_many_curves(
    tmp_path: Path, classes: int, domains: int, expected: int
):
    cells = tuple(Cell(c, d) for d in range(domains) for c in range(classes))
    sizes = tuple(2 for _ in cells)
    run = RunStart(tmp_path, "a run", {}, 0, cells, sizes, 1)
    right = tuple(1 for _ in cells)
    values = run.scalars(Evaluation(0, 0.5, right, {}))
    assert len(values) == 1 + expected
    assert set(values.values()) == {0.5}


def test_quick_evaluations_are_written_by_the_block_and_slow_ones_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now, written = [1e9], []
    monkeypatch.setattr("time.time", lambda: now[0])
    tracker = board()
    tracker.start(start(tmp_path))
    add = tracker.writer.file_writer.add_summary  # type: ignore[attr-defined]

    def noted(event: object, step: int, at: float) -> None:
        written.append((step, at))
        add(event, step, at)

    monkeypatch.setattr(tracker.writer.file_writer, "add_summary", noted)  # type: ignore[attr-defined]
    for step in range(200):
        tracker.progress(report(evaluation(step)))
        assert len(written) in (1, 65, 129, 193)
    for step in range(200, 203):
        now[0] += 60
        tracker.progress(report(evaluation(step)))
        assert written[-1] == (step, now[0])
    tracker.finish(None)
    assert [step for step, _ in written] == [*range(203)]
    assert [step for step, _ in tags(tmp_path)["world_accuracy"]] == [*range(203)]
