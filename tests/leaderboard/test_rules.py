"""Every rule refuses what it is there for, and nothing else; scores come from counts alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import agree, edit, edit_yaml, with_own_source, write_board

from clbench.configure.board import Board, load_board
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.rules.validate import validate_board
from clbench.leaderboard.scores import score
from clbench.metric import Metric

GROUP_METRICS = {"worst_group_accuracy", "anytime_worst_group_accuracy"}


def rules(board: Board, level: str = "error") -> set[str]:
    """The rules that say something of the board and its entries at a level."""
    return {f.rule for f in validate_board(board) if f.level == level}


def test_a_real_entry_is_valid(board: Board, naive: Path) -> None:
    assert list(validate_board(board)) == []
    values = score(board, load_entry(naive))
    metrics = {s: load_entry(naive).records[s].metric(board.primary) for s in board.seeds}
    assert values == metrics


def test_records_from_before_there_were_groups_are_valid(board: Board, naive: Path) -> None:
    def age(data: dict[str, Any]) -> None:
        del data["stream"]["groups"]
        for name in GROUP_METRICS:
            del data["metrics"][name]

    for path in (naive / "runs").iterdir():
        edit(path, age)
    assert list(validate_board(board)) == []


Change = Callable[[dict[str, Any]], Any]


def put(path: str, value: Any) -> Change:
    """Sets the value at ``a.b.0.c``."""

    def change(data: dict[str, Any]) -> None:
        *parents, last = [int(p) if p.lstrip("-").isdigit() else p for p in path.split(".")]
        for parent in parents:
            data = data[parent]
        data[last] = value

    return change


def more_right(data: dict[str, Any]) -> None:
    """One more right answer in the last evaluation."""
    row, cells = data["counts"]["correct"][-1], data["counts"]["cells"]
    at = next(n for n, cell in enumerate(cells) if row[n] < cell["size"])
    row[at] += 1
    agree(data)


def bigger_cell(data: dict[str, Any]) -> None:
    data["counts"]["cells"][0]["size"] += 1
    agree(data)


def bigger_world(data: dict[str, Any]) -> None:
    """Another number of cells, consistently."""
    data["counts"]["cells"].append({"label": 0, "domain": 1, "task_id": None, "size": 1})
    for row in data["counts"]["correct"]:
        row.append(1)
    data["exposure"]["first"].append(1)
    agree(data)


def ledger(entry: Path, name: str, text: str) -> None:
    """Write a file of the board's ledger."""
    (entry.parents[1] / "verified" / name).write_text(text)


TAMPERED: dict[str, tuple[Change, str]] = {
    "a metric": (put("metrics.anytime_world_accuracy.value", 0.99), "M1"),
    "a metric's terms": (put("metrics.forgetting.n_terms", 1), "M1"),
    "a metric undefined": (put("metrics.world_accuracy.value", None), "M1"),
    "groups where there are none": (put("stream.groups", True), "M1"),
    "a metric of groups": (put("metrics.worst_group_accuracy.value", 0.5), "M1"),
    "a metric left out": (lambda data: data["metrics"].pop("forgetting"), "S2"),
    "a count": (more_right, "M1"),
    "other answers than counts": (put("answers.counts.0", [99, 0, 0, 0]), "S2"),
    "answers of another time": (put("answers.after", 3), "S2"),
    "a rate that was set": (put("resolved", {"strategy": {"epochs": 9}}), "S2"),
    "when a class came": (put("exposure.first.0", -1), "M1"),
    "when samples came": (put("exposure.samples.1", 1), "M1"),
    "more samples than came": (put("exposure.samples.-1", 10**6), "B2"),
    "a retention row": (put("retention.0.accuracy", 0.5), "M1"),
    "a frequency row": (put("frequency.0.frequency", 0.5), "M1"),
    "a cell's size": (bigger_cell, "M1"),
    "another world": (bigger_world, "M2"),
    "an evaluation moved": (put("counts.evaluated_after.10", 11), "M2"),
    "a task not ended": (put("stream.n_tasks", 21), "M2"),
    "more experiences": (put("stream.experiences", 21), "M2"),
    "the stream": (put("stream_sha256", "0" * 64), "C1"),
    "the pool": (put("pool_sha256", "0" * 64), "C1"),
    "another version": (put("board.protocol", "2.0"), "C1"),
    "another board": (put("board.name", "other"), "C1"),
    "no board": (put("board", None), "C1"),
    "another division": (put("board.division", "open"), "C1"),
    "a fixed setting": (put("config.scenario.share", 0.5), "C1"),
    "true for 1": (put("config.threads", True), "C1"),
    "a wider model": (put("config.model.hidden", [512]), "C1"),
    "a setting more": (put("config.model.extra", 1), "C1"),
    "test for val": (put("config.evaluate_on", "val"), "C1"),
    "pretrained in closed": (put("declares.pretrained", True), "C1"),
    "the budget's epochs": (put("config.strategy.epochs", 2), "B1"),
    "too many samples": (put("cost.samples_delivered", 20_001), "B1"),
    "another learning rate": (put("config.strategy.lr", 0.3), "C2"),
    "the config's hash": (put("config_sha256", "0" * 64), "C2"),
    "the sources' hash": (put("source_sha256", "0" * 64), "C2"),
    "another engine": (put("sources.engine", "0" * 64), "C2"),
    "interrupted": (put("status", "interrupted"), "C2"),
    "a dirty checkout": (put("code.dirty", True), "C4"),
    "no samples": (put("cost.samples_delivered", 5), "B2"),
    "time backwards": (put("started", "2099-01-01T00:00:00Z"), "B2"),
    "more time than there was": (put("cost.train_seconds", 1e6), "B2"),
    "tuned without trials": (put("tuning.ruleset", "tuned"), "T1"),
    "trials without tuning": (put("tuning.trials", 5), "T1"),
    "another seed": (put("seed", 3), "S2"),
    "an unknown schema": (put("schema", 2), "S2"),
    "an unknown status": (put("status", "fine"), "S2"),
    "a huge number": (put("counts.correct.1.1", 10**30), "S2"),
    "a float count": (put("counts.correct.1.1", 1.5), "S2"),
    "a text count": (put("counts.correct.1.1", "5"), "S2"),
    "more right than there are": (put("counts.correct.1.1", 10**6), "S2"),
    "a negative cell": (put("counts.views.0.0", -1), "S2"),
    "a mask for a view": (put("counts.views.0", [True, False]), "S2"),
    "a cell twice": (put("counts.views.0", [1, 1]), "S2"),
    "a negative cost": (put("cost.train_flops", -5), "S2"),
    "a field more": (put("prize", 1), "S2"),
    "a home folder": (put("overrides", ["strategy=/home/ann/mine.py"]), "S2"),
    "a Windows folder": (put("overrides", [r"strategy=C:\Users\ann\mine.py"]), "S2"),
    "a control character": (put("environment.machine", "x\x1b[2J"), "S2"),
    "half a character": (put("environment.machine", "\ud800"), "S2"),
    "a deep setting": (put("config.strategy.lr", [[[[[[[[[1]]]]]]]]]), "S2"),
    "a time that is none": (put("finished", "yesterday"), "S2"),
    "a list for a record": (lambda data: data.clear(), "S2"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_tampered_record_is_refused(what: str, board: Board, naive: Path) -> None:
    change, rule = TAMPERED[what]
    edit(naive / "runs" / "seed2.json", change)
    assert rule in rules(board)


def test_an_edited_metric_changes_no_score(board: Board, naive: Path) -> None:
    before = score(board, load_entry(naive))
    edit(naive / "runs" / "seed2.json", put("metrics.anytime_world_accuracy.value", 0.99))
    assert score(board, load_entry(naive)) == before


RAW = {
    "duplicate keys": (lambda text: text.replace("{", '{"seed": 2, ', 1), "S2"),
    "NaN": (lambda text: text.replace('"trials": 0', '"trials": NaN'), "S2"),
    "infinity": (lambda text: text.replace('"trials": 0', '"trials": 1e999'), "S2"),
    "depth": (lambda text: "[" * 100_000, "S2"),
    "digits": (lambda text: text.replace('"trials": 0', '"trials": ' + "9" * 5000), "S2"),
    "too large": (lambda text: text + " " * (1 << 20), "S1"),
    "empty": (lambda text: "", "S2"),
    "not text": (lambda text: text.replace("scole", "\udcff"), "S2"),
}


def test_a_missing_seed_is_told_with_the_whole_command(board: Board, naive: Path) -> None:
    (naive / "runs" / "seed2.json").unlink()
    command = f"clbench run board={board.name} strategy=naive seed=2, then submit again"
    assert any(command in str(found) for found in validate_board(board))


@pytest.mark.parametrize("what", RAW)
def test_a_malformed_file_is_refused(what: str, board: Board, naive: Path) -> None:
    change, rule = RAW[what]
    path = naive / "runs" / "seed2.json"
    path.write_text(change(path.read_text()), errors="surrogateescape")
    assert {rule, "C2"} <= rules(board), "refused, and its seed is missing"


def swap_seeds(naive: Path) -> None:
    a, b = (naive / "runs" / f"seed{k}.json" for k in (0, 1))
    texts = a.read_bytes(), b.read_bytes()
    a.write_bytes(texts[1])
    b.write_bytes(texts[0])


def duplicate(naive: Path) -> None:
    """Seed 1 under the name of seed 3, with the fields that tell the seed made to fit."""
    data = json.loads((naive / "runs" / "seed1.json").read_text())
    theirs = json.loads((naive / "runs" / "seed3.json").read_text())
    data["seed"] = data["config"]["seed"] = 3
    data["stream_sha256"] = theirs["stream_sha256"]
    (naive / "runs" / "seed3.json").write_text(json.dumps(data))


def replace_by_link(name: str) -> Callable[[Path], None]:
    def change(naive: Path) -> None:
        target = naive.parent.parent.parent / "elsewhere"
        (naive / name).rename(target)
        (naive / name).symlink_to(target)

    return change


def append(name: str, text: str) -> Callable[[Path], None]:
    def change(naive: Path) -> None:
        (naive / name).write_text((naive / name).read_text() + text)

    return change


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "seeds swapped": (swap_seeds, "S1"),
    "a duplicate": (duplicate, "C2"),
    "a missing seed": (lambda d: (d / "runs" / "seed4.json").unlink(), "C2"),
    "a seed more": (lambda d: shutil.copy(d / "runs/seed4.json", d / "runs/seed9.json"), "C2"),
    "a zero before": (lambda d: (d / "runs/seed4.json").rename(d / "runs/seed04.json"), "S1"),
    "an edited source": (append("strategy.py", "\nx = 1\n"), "C3"),
    "a source that is none": (append("strategy.py", "\n)(\n"), "C3"),
    "a deep source": (append("strategy.py", "\nx = " + "-" * 90_000 + "1\n"), "C3"),
    "a nested source": (append("strategy.py", "\nx = " + "(" * 5_000 + "\n"), "C3"),
    "a null byte": (append("strategy.py", "\0"), "C3"),
    "a large source": (append("strategy.py", "#" * (1 << 17)), "S1"),
    "no source": (lambda d: (d / "strategy.py").unlink(), "S1"),
    "a model in closed": (lambda d: (d / "model.py").write_text(""), "C1"),
    "an extra file": (lambda d: (d / "notes.txt").write_text("x"), "S1"),
    "an extra folder": (lambda d: (d / "data").mkdir(), "S1"),
    "a hidden file": (lambda d: (d / "runs" / ".seed0.json").write_text("x"), "S1"),
    "a linked record": (replace_by_link("runs/seed0.json"), "S1"),
    "a linked source": (replace_by_link("strategy.py"), "S1"),
    "linked runs": (replace_by_link("runs"), "S1"),
    "a link to a device": (lambda d: (d / "model.py").symlink_to("/dev/zero"), "S1"),
    "a link to nowhere": (lambda d: (d / "verified.json").symlink_to("nowhere"), "S1"),
    "a linked entry": (lambda d: (d.parent / "other").symlink_to(d), "S1"),
    "a pipe": (lambda d: os.mkfifo(d / "verified.json"), "S1"),
    "a file among entries": (lambda d: (d.parent / "x.txt").write_text(""), "S1"),
    "a stray in the board": (lambda d: (d.parent.parent / "x.sh").write_text(""), "S1"),
    "an upper-case name": (lambda d: d.rename(d.with_name("Naive")), "S1"),
    "a device's name": (lambda d: d.rename(d.with_name("con")), "S1"),
    "a name with dots": (lambda d: d.rename(d.with_name("..naive")), "S1"),
    "a name that obeys": (lambda d: d.rename(d.with_name("a\n\x1b[2J")), "S1"),
    "a name of odd bytes": (lambda d: d.rename(d.with_name(os.fsdecode(b"a\xff"))), "S1"),
    "names that differ in case": (lambda d: shutil.copytree(d, d.with_name("NAIVE")), "S1"),
    "a forged verification": (lambda d: (d / "verified.json").write_text('{"tier": "gold"}'), "S1"),
    "a stray in the ledger": (lambda d: ledger(d, "notes.txt", ""), "S1"),
    "a ledger of no entry": (lambda d: ledger(d, "other.json", "{}"), "S1"),
    "a ledger that is none": (lambda d: ledger(d, "naive.json", '{"tier": "gold"}'), "S2"),
    "no entry.yaml": (lambda d: (d / "entry.yaml").unlink(), "S3"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_tampered_folder_is_refused(what: str, board: Board, naive: Path) -> None:
    """Of an entry that holds its source itself; ``test_shared.py`` has those that name one."""
    change, rule = FOLDERS[what]
    change(with_own_source(naive))
    found = list(validate_board(board))
    assert rule in {f.rule for f in found if f.level == "error"}
    assert all((f.file + f.message).isprintable() for f in found)


META: dict[str, tuple[dict[str, Any], str]] = {
    "a script": ({"url": "javascript:alert(1)"}, "S3"),
    "a script in capitals": ({"code": "JaVaScRiPt://x/%0aalert(1)"}, "S3"),
    "data": ({"url": "data:text/html,x"}, "S3"),
    "a file": ({"url": "file:///etc/passwd"}, "S3"),
    "no scheme": ({"url": "//example.org"}, "S3"),
    "no host": ({"url": "https:///x"}, "S3"),
    "a password": ({"url": "https://ann:secret@example.org/"}, "S3"),
    "a quote": ({"url": "https://example.org/\"onclick='x'"}, "S3"),
    "a bad port": ({"url": "https://example.org:x/"}, "S3"),
    "a blank name": ({"name": "  "}, "S3"),
    "a long name": ({"name": "x" * 61}, "S3"),
    "a name that turns around": ({"name": "ab\u202ecd"}, "S3"),
    "a number for a name": ({"name": 5}, "S3"),
    "a typo": ({"descripton": "x"}, "S3"),
    "another division": ({"division": "opne"}, "S3 C1"),
    "the open division": ({"division": "open"}, "C1"),
    "another strategy": ({"strategy": "ewc"}, "S3"),
    "no declaration": ({"declaration": {}}, "S3"),
    "half a declaration": ({"declaration": {"no_test_data": True}}, "S3"),
    "a false declaration": (
        {"declaration": {"no_test_data": True, "no_evaluation_seed_tuning": False}}, "S3",
    ),
    "tuned on scored seeds": ({"tuned_on": [0]}, "T1"),
    "tuned on other seeds": ({"tuned_on": [77]}, "T1"),
    "a strange reference": ({"paper_reference": {"value": "high"}}, "S3"),
    "a reference's typo": ({"paper_reference": {"valeu": 0.5}}, "S3"),
}  # fmt: skip


@pytest.mark.parametrize("what", META)
def test_a_wrong_entry_yaml_is_refused(what: str, board: Board, naive: Path) -> None:
    values, rule = META[what]
    edit_yaml(naive / "entry.yaml", **values)
    assert rules(board) == set(rule.split())


def test_typos_get_a_suggestion(board: Board, naive: Path) -> None:
    edit_yaml(naive / "entry.yaml", descripton="x")
    [finding] = validate_board(board)
    assert "did you mean 'description'?" in finding.message
    assert finding.file == "entries/naive/entry.yaml"


def test_a_metric_more_or_less_in_the_table_is_no_fault(
    board: Board, naive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric of a package joins the columns, and may rank; it and unknown ones are no fault."""
    from clbench.leaderboard.pages import columns, html, markdown
    from clbench.leaderboard.pages.summary import summarise
    from clbench.results import metrics

    kept = tuple(m for m in metrics.BUILTIN if m.name != "forgetting")
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "BUILTIN", kept)
        assert list(validate_board(board)) == []
    later = Metric("last", metrics.BUILTIN[0].function, "last", since="2026-11-28")
    monkeypatch.setattr(metrics, "BUILTIN", (*metrics.BUILTIN, later))
    assert list(validate_board(board)) == []
    rows = summarise(board, lambda *_: [])
    assert "last" in {column.key for column in columns.others(board, rows)}
    for page in (html.to_html(board, rows), markdown.to_markdown(board, rows)):
        assert "last %" in page
        assert later.help.removeprefix("last: ")[:40] in page.replace("&#x27;", "'")
    other = dataclasses.replace(board, primary="last")
    write_board(other)
    assert load_board(board.folder).primary == "last"
    entry = load_entry(naive)
    assert score(other, entry) == {s: r.metric("world_accuracy") for s, r in entry.records.items()}
