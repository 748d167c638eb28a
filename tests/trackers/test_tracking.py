"""Progress lines and TensorBoard: how often, what, and after a resume."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import pytest

from clbench.engine.ledger import Ledger
from clbench.trackers import progress as tracking


def advance(ledger: Ledger, accuracy: float, **diagnostics: float) -> None:
    ledger.experiences += 1
    ledger.evaluated([1], b"", accuracy, diagnostics)


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
    ledger = Ledger("s", "p", experiences=done)
    with tracking.progress("a run", total, done) as report:
        for at in range(n):
            advance(ledger, at / 100)
            report(ledger)
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
    ledger = Ledger("s", "p")
    with tracking.progress("a run", 2, 0) as report:
        for accuracy in (0.25, 0.5):
            advance(ledger, accuracy)
            report(ledger)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "a run" in shown
    assert "2/2" in shown
    assert "50.0%" in shown


def test_together_makes_every_report():
    seen: list[str] = []
    report = tracking.together([lambda _: seen.append("a"), lambda _: seen.append("b")])
    report(Ledger("s", "p"))
    assert seen == ["a", "b"]


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(e.step, e.value) for e in events.Scalars(name)]


def test_what_tensorboard_reads_is_what_was_evaluated(tmp_path: Path):
    ledger = Ledger("s", "p")
    with tracking.tensorboard(tmp_path, ledger) as report:
        for accuracy in (0.25, 0.5, 0.75):
            advance(ledger, accuracy, loss=1 - accuracy)
            report(ledger)
        ledger.experiences += 1  # learnt, not evaluated
        report(ledger)
        advance(ledger, 0.5)  # a diagnostic that is not there
        report(ledger)
    accuracies = scalars(tmp_path, "world_accuracy")
    assert accuracies == [(1, 0.25), (2, 0.5), (3, 0.75), (5, 0.5)]
    assert scalars(tmp_path, "diagnostics/loss") == [(1, 0.75), (2, 0.5), (3, 0.25)]


def test_a_resumed_run_goes_on_where_its_checkpoint_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was written after the checkpoint and lost with it is not there twice."""
    ledger = Ledger("s", "p")
    with tracking.tensorboard(tmp_path, ledger) as report:
        for accuracy in (0.25, 0.5):
            advance(ledger, accuracy)
            report(ledger)
        saved = ledger.to_dict()
        saved = {k: list(v) if isinstance(v, list) else v for k, v in saved.items()}
        advance(ledger, 0.125)  # killed before it was saved
        report(ledger)
    resumed = Ledger.from_dict(saved)
    # Files are named by the second; two sessions of a test lie in one.
    monkeypatch.setattr("time.time", lambda: 4e9)
    with tracking.tensorboard(tmp_path, resumed) as report:
        for accuracy in (0.75, 1.0):
            advance(resumed, accuracy)
            report(resumed)
    found = scalars(tmp_path, "world_accuracy")
    assert found == [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]


def test_counting_in_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    now = iter([0.0, 5.0, 20.0, 21.0])
    monkeypatch.setattr(tracking.time, "monotonic", lambda: next(now))
    with tracking.counted("f", 40) as report:
        for done in (5, 10, 11):
            report(done)
    assert capsys.readouterr().err == "f: 10/40, 60 s left\n"


def test_counting_at_a_terminal(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with tracking.counted("f.safetensors", 4) as report:
        report(4)
    assert "4/4" in stream.getvalue()
