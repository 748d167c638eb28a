"""``time_limit`` ends a run as a signal does, and resumes to the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import go, run
from test_harness import SCOLE, books, frozen, resumed, same_state

import clbench
from clbench.engine import harness
from clbench.errors import TimeLimit, UsageError
from clbench.results.record import Record

WORDS = ("scenario=scole", "scenario.n_tasks=6", "data=digits", "model=linear")


class Clock:
    """A second passes at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(harness, "time", made)
    return made


def test_a_run_ends_at_an_experience_boundary_and_resumes_to_the_same_bits():
    r = run("strategy=ewc", *SCOLE, "time_limit=1e-9")
    saved = []
    strategy, outcome = go(r, None, lambda b, s: saved.append(frozen(b, s)))
    assert outcome.status == "interrupted"
    assert isinstance(outcome.error, TimeLimit)
    assert outcome.ledger.experiences == 1  # at least one, however short the time
    again, ended = resumed(run("strategy=ewc", *SCOLE), saved[-1])
    strategy, whole = go(run("strategy=ewc", *SCOLE))
    assert books(ended.ledger) == books(whole.ledger)
    assert same_state(again.state_dict(), strategy.state_dict())


def test_seconds_are_those_of_one_session(clock: Clock):
    _, outcome = go(run("strategy=naive", *SCOLE, "time_limit=25"))
    assert outcome.status == "interrupted"
    assert 1 < outcome.ledger.experiences < 6
    _, outcome = go(run("strategy=naive", *SCOLE, "time_limit=1000"))
    assert outcome.status == "completed"


def test_the_last_experience_completes_the_run():
    r = run("strategy=naive", "scenario=scole", "scenario.n_tasks=1", "time_limit=1e-9")
    assert go(r)[1].status == "completed"


def test_the_record_says_why_and_the_sweep_goes_on(tmp_path: Path):
    words = (*WORDS, "strategy=naive,ewc", "time_limit=1e-9")
    records = clbench.run(*words, out=tmp_path, quiet=True, tracker=None)
    assert [r.status for r in records] == ["interrupted"] * 2
    for record in records:
        assert record.error == {
            "type": "TimeLimit",
            "message": "time_limit=1e-09 s, after 1 experiences",
        }
    path = next(tmp_path.rglob("record.json"))
    assert Record.load(path).status == "interrupted"
    assert json.loads(path.read_text())["config"]["time_limit"] == 1e-9
    ended = clbench.run(
        *words[:-1], "time_limit=1000", out=tmp_path, resume=True, quiet=True, tracker=None
    )
    assert [r.status for r in ended] == ["completed"] * 2  # in the same folders
    assert len([*tmp_path.rglob("record.json")]) == 2


@pytest.mark.parametrize("value", ["0", "-1", "nan"])
def test_it_is_positive(value: str):
    with pytest.raises(UsageError, match="time_limit"):
        run("strategy=naive", *SCOLE, f"time_limit={value}")
