"""Whatever a rule raises on one file is that file's finding; the other files are judged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_rules import put
from tiny import edit, plain

from clbench.cli import main
from clbench.configure.board import Board
from clbench.leaderboard.entry import Entry, load_entry
from clbench.leaderboard.pages.summary import summarise
from clbench.leaderboard.rules import validate as rules
from clbench.leaderboard.rules.findings import Finding, error, place

SPOILT = [
    put("config.evaluate_on", {}),
    put("config.strategy", {}),
    put("config.strategy.name", {}),
    put("config.scenario", []),
    put("config.encoder", {"name": []}),
    put("config.seed", {"a": None}),
    put("config.diagnostics", "x"),
    put("sources", {}),
    put("stream.n_tasks", 10**18),
    put("tasks", {}),
    put("cost.flops_uncounted", {}),
    put("started", "2026-13-45T99:00:00Z"),
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_one_record_is_one_files_finding(board: Board, naive: Path, spoil: object):
    edit(naive / "runs" / "seed2.json", spoil)  # type: ignore[arg-type]
    found = rules.validate(board, load_entry(naive))
    errors = [f for f in found if f.level == "error"]
    assert errors
    assert "entries/naive/runs/seed2.json" in {f.file for f in errors}
    assert not any(f.file.endswith(f"seed{k}.json") for f in errors for k in (0, 1, 3, 4))
    assert all(f.message.isprintable() for f in found)
    [row] = [row for row in summarise(board, rules.validate) if row.slug == "naive"]
    assert not row.ranked


def test_a_rule_that_fails_is_told_of_the_record_it_fails_on(board: Board, naive: Path):
    def rule(board: Board, entry: Entry) -> Iterator[Finding]:
        """M9: a rule with a fault."""
        for seed in entry.records:
            if seed in (1, 3):
                raise KeyError("evaluate_on\x1b[31m")
            yield error("M9", place(entry, f"runs/seed{seed}.json"), "is judged")

    found = rules._judged(rule, board, load_entry(naive))
    assert [f.file.rpartition("seed")[2] for f in found] == [f"{k}.json" for k in (1, 3, 0, 2, 4)]
    assert [f.message == "is judged" for f in found] == [False, False, True, True, True]
    assert all(f.rule == "M9" and f.message.isprintable() for f in found)
    assert "KeyError" in found[0].message


def test_a_rule_that_fails_on_the_entry_is_told_of_its_folder(board: Board, naive: Path):
    def rule(board: Board, entry: Entry) -> Iterator[Finding]:
        raise RecursionError
        yield

    [found] = rules._judged(rule, board, dataclasses.replace(load_entry(naive), records={}))
    assert (found.rule, found.level, found.file) == ("S2", "error", "entries/naive")


def test_the_command_judges_the_other_entries_and_boards(
    board: Board, naive: Path, capsys: pytest.CaptureFixture[str]
):
    root = board.folder.parent
    other = shutil.copytree(naive, naive.parent / "other")
    edit(naive / "runs" / "seed2.json", put("config.evaluate_on", {}))
    edit(other / "runs" / "seed1.json", put("metrics.forgetting.value", 0.0))
    (root / "broken").mkdir()
    (root / "broken" / "board.yaml").write_text("protocol: 2026-13-45\n")
    capsys.readouterr()
    assert main(["validate", str(root)]) == 1
    out, err = capsys.readouterr()
    assert "errors" in err
    for file in ("broken/board.yaml", "naive/runs/seed2.json", "other/runs/seed1.json"):
        assert file in out
    assert main(["validate", str(root / "broken")]) == 2


def _paths(data: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(data, dict):
        for key in data:
            yield (*path, key)
            yield from _paths(data[key], (*path, key))
    elif isinstance(data, list) and data:
        yield (*path, 0)
        yield from _paths(data[0], (*path, 0))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**6) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@pytest.mark.fuzz
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.data())
def test_no_change_of_a_record_stops_the_judging(board: Board, naive: Path, data: st.DataObject):
    file = naive / "runs" / "seed2.json"
    before = file.read_bytes()
    record = plain(before.decode())
    try:
        *head, last = data.draw(st.sampled_from(list(_paths(record))))
        inside = record
        for key in head:
            inside = inside[key]
        inside[last] = data.draw(PLAIN)
        file.write_text(json.dumps(record))
        found = rules.validate(board, load_entry(naive))
        assert all(f.message.isprintable() and len(f.message) < 2000 for f in found)
        summarise(board, rules.validate)
    finally:
        file.write_bytes(before)
