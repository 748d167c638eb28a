"""Progress on stderr: how often, and what."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import pytest
from trackers.telling import evaluation, report, start

from clbench.tracker import Evaluation
from clbench.trackers import progress as tracking


def accurate(experiences: int, accuracy: float) -> Evaluation:
    return Evaluation(experiences, accuracy, (0, 0, 0, 0), {})


def bar() -> tracking.Bar:
    return tracking.Bar(tracking.Bar.Config())


def lines(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: float,
    total: int | None = 100,
    done: int = 0,
    n: int = 10,
) -> list[str]:
    """What a run prints whose experiences take ``step`` seconds each."""
    clock = itertools.count()
    monkeypatch.setattr("clbench.trackers.progress.time.monotonic", lambda: next(clock) * step)
    tracker = bar()
    tracker.start(start(Path(), total=total, done=done))
    for at in range(n):
        tracker.progress(report(accurate(done + at + 1, at / 100)))
    tracker.finish(None)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


@pytest.mark.parametrize(("step", "expected"), [(1.0, 1), (5.0, 5), (10.0, 10), (0.1, 0)])
def test_lines_come_at_most_so_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: float, expected: int
):
    assert tracking.QUIET_SECONDS == 10
    assert len(lines(monkeypatch, capsys, step)) == expected


def test_a_line_tells_progress_accuracy_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = lines(monkeypatch, capsys, 10.0, n=3)
    assert found[2] == "a run: 3/100, world accuracy 2.0%, 970 s left"


def test_time_left_counts_from_where_a_run_was_resumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    [line] = lines(monkeypatch, capsys, 10.0, done=89, n=1)
    assert line == "a run: 90/100, world accuracy 0.0%, 100 s left"


def test_an_endless_run_has_no_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert lines(monkeypatch, capsys, 10.0, total=None, n=1) == ["a run: 1, world accuracy 0.0%"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("clbench.trackers.progress.BAR_SECONDS", 0.0)
    tracker = bar()
    tracker.start(start(Path(), total=2))
    tracker.progress(report(accurate(1, 0.25)))
    tracker.progress(report(accurate(2, 0.5)))
    tracker.finish(None)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "a run" in shown
    assert "2/2" in shown
    assert "50.0%" in shown


def test_a_bar_shows_the_last_evaluation_between_evaluations(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("clbench.trackers.progress.BAR_SECONDS", 0.0)
    tracker = bar()
    tracker.start(start(Path(), total=4))
    tracker.progress(report(evaluation(1, 4, 4, 0, 0), experiences=3))
    tracker.finish(None)
    assert "3/4" in terminal.getvalue()
    assert "50.0%" in terminal.getvalue()


def test_counting_in_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    now = iter([0.0, 5.0, 20.0, 21.0])
    monkeypatch.setattr(tracking.time, "monotonic", lambda: next(now))
    with tracking.counted("f", 40) as counted:
        for done in (5, 10, 11):
            counted(done)
    assert capsys.readouterr().err == "f: 10/40, 60 s left\n"


def test_counting_at_a_terminal(monkeypatch: pytest.MonkeyPatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with tracking.counted("f.safetensors", 4) as counted:
        counted(4)
    assert "4/4" in stream.getvalue()
