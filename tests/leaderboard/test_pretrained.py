"""An entry that starts from released weights: open division, by the file's name and hash alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import declare, run_on

from clbench.configure.board import Board
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import compare, point_of, rerun
from clbench.leaderboard.rules.findings import Finding
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.submit import submit
from clbench.nets import weights


def errors(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.level == "error"]


def test_an_entry_with_released_weights(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zygote: Zygote
):
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.Linear(8, 10))
    state = {f"{2 + 2 * int(n[0])}{n[1:]}": t for n, t in net.state_dict().items()}
    (tmp_path / "here").mkdir()
    weights.save(tmp_path / "here" / "w.safetensors", state, {})
    path = f"strategy.weights_path={tmp_path / 'here' / 'w.safetensors'}"
    with pytest.raises(UsageError, match="network division"):
        run_on(board, tmp_path / "runs", "strategy=naive", path)
    arm = run_on(
        board, tmp_path / "runs", "strategy=naive", "division=open", "model=mlp",
        "model.hidden=[8]", path,
    )  # fmt: skip
    _, entry = submit(arm, "warm", board.folder.parent)
    declare(entry.folder)
    for record in (entry.folder / "runs").iterdir():
        assert str(tmp_path) not in record.read_text()
    entry = load_entry(entry.folder)
    assert errors(validate(board, entry)) == []

    monkeypatch.chdir(tmp_path / "here")  # whoever verifies has the released file at hand
    record = entry.records[1]
    again = rerun(point_of(board, entry, record), zygote=zygote)
    assert compare(board, record, again.record).equal
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"w\.safetensors: no such file"):
        rerun(point_of(board, entry, record), zygote=zygote)
    weights.save(tmp_path / "w.safetensors", {k: t + 1 for k, t in state.items()}, {})
    with pytest.raises(ClbenchError, match="it is another file") as caught:
        rerun(point_of(board, entry, record), zygote=zygote)
    assert "\n" not in str(caught.value)
