"""The workflows of contributions: what they may do, and that their commands work; the comment."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import clbench
from test_since import enter, git
from tiny import edit

from clbench.configure.board import Board
from clbench.leaderboard.pages.difference import MAX_ROWS, SHOWN, comment, difference, row_of
from clbench.leaderboard.pages.summary import EntryRow
from clbench.leaderboard.rules.validate import validate
from clbench.results.tables import Interval

GITHUB = Path(__file__).parents[2] / ".github"
ALL = sorted(GITHUB.glob("workflows/*.yml"), key=lambda path: path.stem)
WORKFLOWS = [path for path in ALL if path.stem.startswith("contribution")]
Capture = pytest.CaptureFixture[str]


def parsed(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in parsed(path)["jobs"].values():
        yield from job["steps"]


def test_there_are_two() -> None:
    assert [path.stem for path in WORKFLOWS] == ["contribution", "contribution-comment"]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_no_text_of_a_stranger_is_in_a_script_and_actions_are_pinned(path: Path) -> None:
    assert "secrets" not in re.sub(r"(?m)^ *#.*$", "", path.read_text())
    for step in steps(path):
        assert "${{" not in step.get("run", "")
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
    for name, job in parsed(path)["jobs"].items():
        # Publishing on a tag is what no contribution starts.
        assert "permissions" not in job or (path.stem, name) == ("publish", "publish")
        assert job["timeout-minutes"] <= 120


def test_what_runs_a_strangers_code_can_write_nothing() -> None:
    found = parsed(WORKFLOWS[0])
    assert found[True] == {"pull_request": {"paths": ["leaderboards/**"]}}  # YAML's "on"
    assert found["permissions"] == {"contents": "read"}
    assert "github.token" not in WORKFLOWS[0].read_text()
    installed = [s["run"] for s in steps(WORKFLOWS[0]) if "pip" in s.get("run", "")]
    assert all("./base" in run and "theirs" not in run for run in installed)


def test_what_may_comment_runs_the_bases_code_alone() -> None:
    found = parsed(WORKFLOWS[1])
    assert [*found[True]] == ["workflow_run"]
    assert found["permissions"] == {
        "actions": "read", "contents": "read", "pull-requests": "write",
    }  # fmt: skip
    for step in steps(WORKFLOWS[1]):
        if "checkout" in step.get("uses", ""):
            assert {*step["with"]} == {"persist-credentials"}  # the default branch
        if "download" in step.get("uses", ""):
            assert step["with"]["path"].startswith("${{ runner.temp }}")


@pytest.mark.parametrize("path", sorted(GITHUB.glob("ISSUE_TEMPLATE/[bc]*.yml")))
def test_forms_are_forms(path: Path) -> None:
    found = parsed(path)
    if path.stem == "config":
        return
    assert {"name", "description", "body"} <= {*found}
    for part in found["body"]:
        assert part["type"] in ("input", "textarea")
        assert part["attributes"]["label"]


def row(**changes: Any) -> dict[str, Any]:
    made = {
        "board": "tiny", "entry": "mine", "name": "Mine", "division": "network",
        "tier": "validated", "primary": 0.5, "half_width": 0.01, "rank_low": 1, "rank_high": 2,
        "errors": [],
    }  # fmt: skip
    return {**made, **changes}


def said(tmp_path: Path, data: Any) -> str:
    path = tmp_path / "difference.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return comment(path)


def test_a_comment_is_a_table(tmp_path: Path) -> None:
    text = said(tmp_path, {"rows": [row()]})
    assert "| tiny | mine | network | validated | 50.00 ± 1.00 | 1–2 |  |" in text
    assert said(tmp_path, {"rows": []}) == "The tables stay as they are.\n"


@pytest.mark.parametrize(
    "evil",
    ["a | b | c", "<img src=x onerror=alert(1)>", "[x](http://evil)", "![x](http://evil/x.png)",
     "@everyone", "#1", "`x`", "**x**", "http://evil.example"],
)  # fmt: skip
def test_a_hostile_text_is_a_cell(tmp_path: Path, evil: str) -> None:
    plain = said(tmp_path, {"rows": [row(board="x")]})
    text = said(tmp_path, {"rows": [row(board=evil)]})
    assert text.count("\n") == plain.count("\n")
    unescaped = [re.sub(r"\\.", "", line) for line in (text, plain)]
    assert unescaped[0].count("|") == unescaped[1].count("|")
    assert "<img" not in text
    assert not re.search(r"@\w|(?<!\\)\]\(|#\d", text)


@pytest.mark.parametrize(
    "data",
    ["", "{", "[]", '{"rows": 1}', {"rows": [row(more=1)]}, {"rows": [row(primary="x")]},
     {"rows": [row(primary=1e300)]}, {"rows": [row(half_width=-1e9)]}, {"rows": [row(rank_low=0)]},
     {"rows": [row(rank_high=10**18)]}, '{"rows": [{"primary": NaN}]}',
     '{"rows": [{"primary": 1e999}]}',
     {"rows": [row(primary=True)]}, {"rows": [row(rank_low=1.5)]}, {"rows": [row(primary=10**400)]},
     {"rows": [row(board="a\nb")]}, {"rows": [row()] * (MAX_ROWS + 1)}, {"rows": [{}]},
     '{"rows": [' + "[" * 10_000],
)  # fmt: skip
def test_what_is_malformed_is_said_to_be_and_not_shown(tmp_path: Path, data: Any) -> None:
    assert said(tmp_path, data).startswith("The file of results that the checks uploaded is malf")


def test_a_comment_is_bounded(tmp_path: Path) -> None:
    rows = [row(entry="e" * 60, errors=["x" * 200] * 3)] * MAX_ROWS
    text = said(tmp_path, {"rows": rows})
    assert f"{MAX_ROWS - SHOWN} more are left out." in text
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("numbers", "cells"),
    [({"primary": -1000.0}, "-100000.00 ± 1.00 | 1–2"), ({"primary": 0}, "0.00 ± 1.00 | 1–2"),
     ({"half_width": None}, "50.00 | 1–2"), ({"primary": 1e-300, "half_width": 5e-324}, "0.00 ± 0.00"),
     ({"primary": None}, "– | 1–2"), ({"rank_low": None}, "± 1.00 | – |"),
     ({"rank_high": None}, "| – |"), ({"rank_high": 1}, "| 1 |"),
     ({"rank_low": 1000, "rank_high": 1000}, "| 1000 |")],
)  # fmt: skip
def test_numbers_of_a_comment_stay_short(
    tmp_path: Path, numbers: dict[str, Any], cells: str
) -> None:
    [line] = [
        line for line in said(tmp_path, {"rows": [row(**numbers)]}).splitlines() if "mine" in line
    ]
    assert cells in line
    assert len(line) < 100


@pytest.mark.parametrize("value", [1e300, -1e300, math.inf, -math.inf, math.nan])
def test_a_number_that_no_metric_gives_hides_no_other_row(
    tiny_board: Board, tmp_path: Path, value: float
) -> None:
    odd = EntryRow("odd", "Odd", "x", "network", "validated", primary=Interval(value, value, 5))
    rows = [row(), row_of(tiny_board, odd)]
    text = said(tmp_path, {"rows": rows})
    assert "| tiny | mine |" in text
    assert "| tiny | odd | network | validated | – | – |" in text


@pytest.mark.parametrize("value", [1e300, -1e300, 1e-320])
def test_a_record_of_odd_numbers_is_a_row(
    board: Board, tiny_board: Board, tmp_path: Path, value: float
) -> None:
    def change(data: dict[str, Any]) -> None:
        for metric in data["metrics"].values():
            metric["value"] = value

    for path in (board.entries / "naive" / "runs").iterdir():
        edit(path, change)
    found = difference(board.folder.parent, tiny_board.folder.parent, validate)
    text = said(tmp_path, found)
    assert "| tiny | naive |" in text
    assert max(map(len, text.splitlines())) < 400


PULLS = {
    "one": ("12\t{sha}\n13\t{other}\n", "12"),
    "none": ("13\t{other}\n", None),
    "nothing": ("", None),
    "several": ("12\t{sha}\n14\t{sha}\n", None),
    "a beginning": ("12\t{sha}0\n", None),
    "another number of the same value": ("12\t0{sha}\n", None),
    "no number": ("x\t{sha}\n", None),
}


@pytest.mark.parametrize("what", PULLS)
def test_a_comment_goes_to_the_one_pull_request_of_the_head(tmp_path: Path, what: str) -> None:
    """The step's own script, with a ``gh`` that answers and writes down what it is asked."""
    answer, number = PULLS[what]
    sha, other = "1e" + "9" * 38, "1e" + "8" * 38  # as numbers, both are infinite
    (tmp_path / "answer").write_text(answer.format(sha=sha, other=other))
    gh = tmp_path / "gh"
    gh.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$1" != api ] || cat {tmp_path}/answer\n'
    )
    gh.chmod(0o755)
    [script] = [s["run"] for s in steps(WORKFLOWS[1]) if s.get("name") == "Comment"]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path),
                   "REPOSITORY": "a/b", "HEAD_SHA": sha}  # fmt: skip
    done = subprocess.run(["bash", "-e", "-c", script], env=environment, capture_output=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0].startswith("api --paginate repos/a/b/pulls?state=open&per_page=100 --jq .[]")
    assert done.returncode == (0 if number else 1)
    assert [line.split()[:3] for line in asked[1:]] == (
        [["pr", "comment", number]] if number else []
    )


def test_the_difference_is_what_is_new(
    board: Board, tiny_board: Board, capsys: Capture, tmp_path: Path
) -> None:
    root, before = board.folder.parent, tiny_board.folder.parent
    assert difference(root, before, validate) == {"rows": []}
    (board.entries / "naive").rename(board.entries / "other")
    words = ("leaderboard", "--boards", root, "--against", before)
    code, out, _ = clbench(capsys, *words)
    assert code == 0
    [found] = json.loads(out)["rows"]
    assert (found["entry"], found["tier"]) == ("other", "validated")
    (tmp_path / "d.json").write_text(out)
    assert (
        "| tiny | other |" in clbench(capsys, "leaderboard", "--comment", tmp_path / "d.json").out
    )


@pytest.mark.slow
def test_the_commands_of_the_workflows_work(
    board: Board, tiny_board: Board, capsys: Capture, tmp_path: Path
) -> None:
    """Code alone is admitted, run, verified, and its row commented, in a repository of git."""
    root = board.folder.parent
    git(root.parent, "init", "-q", "-b", "main")
    git(root.parent, "add", root.name)
    git(root.parent, "commit", "-qm", "base")
    git(root.parent, "tag", "base")
    enter(root)
    git(root.parent, "add", root.name)
    git(root.parent, "commit", "-qm", "mine")
    assert clbench(capsys, "validate", "--since", "base", "--boards", root).code == 0
    words = ("verify", root, "--since", "base", "--fill", "--perturbed", "0", "--seeds", "0")
    code, out, _ = clbench(capsys, *words)
    assert "mine" in out
    assert re.search("held-out|bit for bit|C4", out)
    out = clbench(
        capsys, "leaderboard", "--boards", root, "--against", tiny_board.folder.parent
    ).out
    (tmp_path / "d.json").write_text(out)
    assert "| tiny | mine | network |" in comment(tmp_path / "d.json")
    (root / "tiny" / "verified" / "mine.json").write_text("{}")
    git(root.parent, "add", root.name)
    git(root.parent, "commit", "-qm", "a ledger")
    code, _, err = clbench(capsys, *words)
    assert (code, "only clbench verify writes there" in err) == (2, True)
