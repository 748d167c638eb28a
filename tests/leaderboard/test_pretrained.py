"""An entry that starts from released weights: open division, by the file's name and hash alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import declare, run_on

from clbench import prepare
from clbench.configure.board import Board
from clbench.data.released import VIT_S14
from clbench.errors import NotHere, UsageError
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.hygiene import FOLDERS_OF, Limits
from clbench.leaderboard.reproduce.job import first_message, job_of, source_of
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import compare, point_of, rerun
from clbench.leaderboard.rules.findings import Finding
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.submit import submit
from clbench.nets import weights
from clbench.plugins.registry import find


def errors(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.level == "error"]


@pytest.mark.slow
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

    record = entry.records[1]
    point = point_of(board, entry, record)
    again = rerun(point, folders=[tmp_path / "here"], zygote=zygote)
    assert compare(board, record, again.record).equal
    monkeypatch.chdir(tmp_path / "here")  # where one happens to be says nothing
    with pytest.raises(UsageError, match=r"w\.safetensors: no such file here; .* --files FOLDER"):
        rerun(point, zygote=zygote)
    weights.save(tmp_path / "w.safetensors", {k: t + 1 for k, t in state.items()}, {})
    with pytest.raises(UsageError, match="it is another file") as caught:
        rerun(point, folders=[tmp_path], zygote=zygote)
    assert "\n" not in str(caught.value)


def test_a_process_gets_the_released_weights_that_its_model_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They are where its own cache is; a model that names none gets none."""
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    run = prepare("scenario=scole", "data=digits", "strategy=naive", "model=linear")
    with_vit = replace(job_of(run), model=source_of(find("model", "vit_s14"), {}))
    (tmp_path / "process").mkdir()
    with pytest.raises(NotHere, match=r"^vit_s14 needs weights .* clbench data weights vit_s14$"):
        first_message(with_vit, tmp_path / "process", Limits())
    VIT_S14.path.parent.mkdir(parents=True)
    VIT_S14.path.write_bytes(b"weights")
    first_message(job_of(run), tmp_path / "process", Limits())
    assert [*(tmp_path / "process").iterdir()] == []
    for division in ("network", "any"):
        with pytest.raises(UsageError, match=f"the {division} division starts from scratch"):
            first_message(replace(with_vit, division=division), tmp_path / "process", Limits())
    first_message(replace(with_vit, division="open"), tmp_path / "process", Limits())
    monkeypatch.delenv("CLBENCH_CACHE")  # as in the process
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "process"))
    assert "XDG_CACHE_HOME" in FOLDERS_OF
    assert VIT_S14.path.read_bytes() == b"weights"
