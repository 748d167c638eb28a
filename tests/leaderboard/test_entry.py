"""Entries of strangers: a fuzzer over records and entry.yaml; no crash, no score from nowhere."""

from __future__ import annotations

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import edit_yaml, plain

from clbench.configure.board import Board
from clbench.leaderboard.entry import Entry, iter_entries, load_entry
from clbench.leaderboard.rules.validate import changes, validate
from clbench.leaderboard.scores import score
from clbench.results import metrics
from clbench.results.record import optional_fields
from clbench.results.record_schema import faults
from clbench.util.files import FileError, read_json

EXAMPLES = int(os.environ.get("CLBENCH_FUZZ_EXAMPLES", "150"))
"""Raise to fuzz for long: CLBENCH_FUZZ_EXAMPLES=5000 pytest -m fuzz tests/leaderboard/test_entry.py"""
FUZZ = settings(max_examples=EXAMPLES, derandomize=True, deadline=None)

ODD = (
    None, True, False, 0, 1, -1, 2, 7, 10**6, 10**18, 10**19, 1 << 63, -(10**30), 0.5, -0.0, 1e308,
    1e-320, "", "x", "0", "log", "a\x00b", "\u202e", "\ud800", "<script>", "../../etc", "x" * 5000,
    [], {}, [[]], [{}], [1], [[1, 2]], [True], [None], {"name": "x"}, {"": {}}, [[[[[[[[[[1]]]]]]]]]],
    "javascript:alert(1)", "completed", "diverged", "http://[", "2026-01-01T00:00:00Z",
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in plain data; of a long list only the ends."""
    found = [path] if path else []
    if isinstance(data, dict):
        inner: Any = data.items()
    elif isinstance(data, list):
        some = range(len(data)) if len(data) < 8 else (0, 1, len(data) // 2, len(data) - 1)
        inner = ((n, data[n]) for n in some)
    else:
        return found
    for key, value in inner:
        found += places(value, (*path, key))
    return found


def mutate(data: Any, draw: random.Random) -> Any:
    """The data with one to four values deleted, replaced, inserted, or moved about."""
    data = copy.deepcopy(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        known = places(data)
        if not known:
            return data
        *parents, last = draw.choice(known)
        inside = data
        for key in parents:
            inside = inside[key]
        what = draw.randrange(7)
        if what == 0:
            del inside[last]
        elif what == 1:
            inside[last] = copy.deepcopy(draw.choice(ODD))
        elif what == 2 and isinstance(inside, list):
            inside.insert(last, copy.deepcopy(draw.choice(ODD)))
        elif what == 3 and isinstance(inside, dict):
            inside[draw.choice(("extra", "", "a\nb", "name", "\ud800"))] = draw.choice(ODD)
        elif what == 4 and type(inside[last]) in (int, float):
            inside[last] += draw.choice((-1, 1, 0.5, 1e-12, -1e-3))
        elif what == 5 and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[last]))
        else:
            source = data
            for key in draw.choice(known):
                try:
                    source = source[key]
                except (LookupError, TypeError):
                    break
            inside[last] = copy.deepcopy(source)
    return data


def all_is_told_and_no_score_is_made_up(board: Board, folder: Path) -> list[str]:
    """Everything that is done with an entry; returns the rules with errors."""
    entry = load_entry(folder)
    found = validate(board, entry)
    found += changes(board, board, entry)
    assert all((f.rule + f.file + f.message).isprintable() for f in found)
    json.dumps([f.message for f in found]).encode()
    values = score(board, entry)
    assert set(values) == set(board.seeds)
    errors = [f.rule for f in found if f.level == "error"]
    for seed, value in values.items():
        record = entry.records.get(seed)
        if record is None or record.status != "completed":
            assert value == 0.0
            continue
        counted = metrics.compute(record.to_counts())[board.primary].value or 0.0
        assert value == counted
        assert 0 <= value <= 1 + 1e-9
        if not errors:
            said = record.metrics[board.primary]["value"]
            assert abs(value - said) <= 1e-9
    return errors


@pytest.fixture(scope="module")
def fuzzed(tiny_board: Board, tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Path]:
    """A copy of the tiny board with one entry, overwritten by every example."""
    import dataclasses
    import shutil

    boards = tmp_path_factory.mktemp("fuzz") / "boards"
    shutil.copytree(tiny_board.folder.parent, boards)
    folder = boards / "tiny"
    return dataclasses.replace(tiny_board, folder=folder), folder / "entries" / "naive"


@pytest.mark.fuzz
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_fuzzed_records(seed: int, fuzzed: tuple[Board, Path]) -> None:
    board, folder = fuzzed
    path = folder / "runs" / "seed2.json"
    original = path.read_text()
    try:
        path.write_text(json.dumps(mutate(plain(original), random.Random(seed))))
        all_is_told_and_no_score_is_made_up(board, folder)
    finally:
        path.write_text(original)


@pytest.mark.fuzz
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_fuzzed_records_with_metrics_that_fit(seed: int, fuzzed: tuple[Board, Path]) -> None:
    """Counts are changed and the metrics made anew, so that more than the form is tested."""
    board, folder = fuzzed
    path = folder / "runs" / "seed2.json"
    original = path.read_text()
    data = plain(original)
    del data["answers"]  # of counts that are changed
    parts = mutate({k: data[k] for k in ("counts", "tasks", "stream")}, random.Random(seed))
    try:
        path.write_text(json.dumps({**data, **parts}))
        entry = load_entry(folder)
        if 2 in entry.records:
            counts = entry.records[2].to_counts()
            data.update(parts)
            data["metrics"] = {k: m._asdict() for k, m in metrics.compute(counts).items()}
            data["retention"] = [row._asdict() for row in metrics.retention(counts)]
            data["frequency"] = [row._asdict() for row in metrics.frequency(counts)]
            path.write_text(json.dumps(data, allow_nan=False))
            errors = all_is_told_and_no_score_is_made_up(board, folder)
            assert not {"S2", "M1"} & set(errors)
    finally:
        path.write_text(original)


@pytest.mark.fuzz
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_fuzzed_entry_yaml(seed: int, fuzzed: tuple[Board, Path]) -> None:
    board, folder = fuzzed
    path = folder / "entry.yaml"
    original = path.read_text()
    try:
        text = yaml.dump(mutate(yaml.safe_load(original), random.Random(seed)))
        path.write_text(text, errors="backslashreplace")
        all_is_told_and_no_score_is_made_up(board, folder)
    finally:
        path.write_text(original)


@pytest.mark.fuzz
@FUZZ
@given(seed=st.integers(0, 2**32), data=st.binary(max_size=20))
def test_fuzzed_bytes(seed: int, data: bytes, fuzzed: tuple[Board, Path]) -> None:
    """Some bytes of any file are replaced, cut or doubled."""
    board, folder = fuzzed
    draw = random.Random(seed)
    source = load_entry(folder).source
    path = draw.choice((folder / "entry.yaml", source, folder / "runs" / "seed1.json"))
    original = path.read_bytes()
    a, b = sorted(draw.randrange(len(original)) for _ in range(2))
    text = draw.choice((
        original[:a] + data + original[a + len(data) :], original[:a], original[:b] + original[a:],
        original[:a] + data + original[b:], data,
    ))  # fmt: skip
    try:
        path.write_bytes(text)
        all_is_told_and_no_score_is_made_up(board, folder)
    finally:
        path.write_bytes(original)


def test_counts_that_would_take_for_ever_are_refused(board: Board, naive: Path) -> None:
    """Within a megabyte, lists can be chosen so that their products are not."""
    path = naive / "runs" / "seed2.json"
    data = json.loads(path.read_text())
    cell = {"label": 0, "domain": 0, "task_id": None, "size": 1}
    wide = copy.deepcopy(data)
    wide["counts"]["cells"] = [{**cell, "domain": n} for n in range(10_000)]
    wide["counts"]["views"] = [[n] for n in range(5_000)]
    wide["counts"]["correct"] = [[0] * 10_000 for _ in data["counts"]["evaluated_after"]]
    assert any("too many" in fault for fault in faults(wide))
    long = copy.deepcopy(data)
    long["tasks"] = {"view": [0] * 10**6, "end": list(range(1, 10**6 + 1))}
    long["counts"]["cells"] = [{**cell, "domain": n} for n in range(20)]
    long["counts"]["correct"] = [[0] * 20 for _ in data["counts"]["evaluated_after"]]
    assert any("too many" in fault for fault in faults(long))


def test_entries_come_one_at_a_time_and_links_are_not_followed(board: Board, naive: Path) -> None:
    (board.entries / "link").symlink_to(naive)
    (board.entries / "file.txt").write_text("")
    found = iter_entries(board)
    first = next(found)
    assert (first.slug, sorted(first.records)) == ("naive", [0, 1, 2, 3, 4])
    assert list(found) == []
    linked = load_entry(board.entries / "link")
    assert (linked.meta, linked.records) == (None, {})
    assert "not a link" in linked.problems[0].message


def test_what_cannot_be_read_is_a_problem_with_its_file(naive: Path) -> None:
    (naive / "runs" / "seed2.json").write_text("{")
    edit_yaml(naive / "entry.yaml", divison="open")
    entry = load_entry(naive)
    assert entry.meta is None
    assert sorted(entry.records) == [0, 1, 3, 4]
    assert [p.file for p in entry.problems] == [naive / "entry.yaml", naive / "runs/seed2.json"]
    assert "did you mean 'division'?" in str(entry.problems[0])


def test_an_empty_folder_is_an_entry_with_a_problem(board: Board) -> None:
    (board.entries / "empty").mkdir()
    entry = load_entry(board.entries / "empty")
    assert isinstance(entry, Entry)
    assert {f.rule for f in validate(board, entry)} == {"S1", "S3", "C2"}
    assert set(score(board, entry).values()) == {0.0}


def test_a_real_record_has_no_fault_and_is_read_whole(naive: Path) -> None:
    data = plain((naive / "runs" / "seed0.json").read_text())
    assert faults(data) == []
    for name in data.keys() - optional_fields():
        assert faults({k: v for k, v in data.items() if k != name}), f"{name} can be left out"


def test_the_file_error_names_the_first_faults(naive: Path) -> None:
    path = naive / "runs" / "seed0.json"
    data = plain(path.read_text())
    data["cost"] = {key: -1 for key in data["cost"]}
    path.write_text(json.dumps(data))
    [problem] = load_entry(naive).problems
    assert "cost.train_flops must be at least 0, and is -1" in problem.message
    assert "more" in problem.message
    assert "\n" not in problem.message
    with pytest.raises(FileError):
        read_json(naive / "none")
