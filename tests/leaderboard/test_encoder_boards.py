"""Boards that fix an encoder: entries are made, checked and run again from the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import edit, make_board, run_on

from clbench.configure.board import Board
from clbench.configure.config import resolve
from clbench.data import latent_cache
from clbench.errors import UsageError
from clbench.leaderboard.entry import Entry, load_entry
from clbench.leaderboard.pages.csv import to_csv
from clbench.leaderboard.reproduce.held_out import Fresh, held_out
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import compare, point_of, rerun
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.submit import submit
from clbench.results.tables import columns_of, summarise

ENCODER = ("encoder=random:mlp", "encoder.dtype=float16")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def shared_cache(no_real_cache: None, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLBENCH_CACHE", str(cache))


@pytest.fixture(scope="module")
def board(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLBENCH_CACHE", str(cache))
        return make_board(tmp_path_factory.mktemp("boards") / "latent", *ENCODER)


@pytest.fixture(scope="module")
def entry(board: Board, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Entry:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLBENCH_CACHE", str(cache))
        runs = run_on(board, tmp_path_factory.mktemp("runs"), "strategy=naive")
        return submit(runs, "mine", board.folder.parent)[1]


def errors(board: Board, entry: Entry) -> list[str]:
    return [f"{f.rule} {f.message}" for f in validate(board, entry) if f.level == "error"]


def test_the_board_fixes_the_encoder_and_its_settings(board: Board):
    assert board.settings["encoder"]["name"] == "random"
    [config] = resolve([f"board={board.folder}", "strategy=naive", "seed=0"])
    assert (config.encoder.of, config.encoder.dtype) == ("mlp", "float16")
    for words in (["encoder=identity"], ["encoder=none"], ["encoder.dtype=float32"]):
        with pytest.raises(UsageError, match="fixes encoder") as caught:
            resolve([f"board={board.folder}", "strategy=naive", "seed=0", *words])
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="give it once"):
        resolve([f"board={board.folder}", "strategy=naive", "seed=0", "encoder=random:linear"])


def test_a_board_without_an_encoder_has_none(tmp_path: Path):
    raw = make_board(tmp_path / "raw")
    with pytest.raises(UsageError, match="fixes encoder=none, not identity"):
        resolve([f"board={raw.folder}", "strategy=naive", "seed=0", "encoder=identity"])
    assert "encode_flops" not in to_csv(raw, [])


def test_an_entry_is_valid(board: Board, entry: Entry):
    wrong = errors(board, entry)
    assert {line[:2] for line in wrong} <= {"S3", "C4"}, wrong  # not yet declared, nor committed
    rows = summarise(entry.records.values())
    assert "encode_flops" in {column.key for column in columns_of(row.values for row in rows)}


def test_an_entry_is_run_again_from_the_recipe(board: Board, entry: Entry, zygote: Zygote):
    for folder in latent_cache.entries():
        latent_cache.clear(folder)
    record = entry.records[0]
    found = rerun(point_of(board, entry, record), zygote=zygote)
    assert compare(board, record, found.record).equal
    assert len(latent_cache.entries()) == 1


@pytest.mark.slow
def test_held_out_data_are_encoded_too(board: Board, entry: Entry, zygote: Zygote):
    before = set(latent_cache.entries())
    point = point_of(board, entry, entry.records[0])
    fresh = Fresh(board, b"a secret of 16 bytes")
    found = held_out(fresh, point, board.naive.mean, zygote)
    assert set(found.primary) == {"entry", "naive"}
    assert len(set(latent_cache.entries()) - before) == 1  # of the warped data, once
    assert len(held_out(fresh, point, board.naive.mean + 0.4, zygote).draws) == 3  # it is not near
    assert len(set(latent_cache.entries()) - before) == 3


def test_other_latents_are_found_out(board: Board, entry: Entry, tmp_path: Path):
    import shutil

    folder = tmp_path / "other"
    shutil.copytree(entry.folder, folder)
    edit(folder / "runs" / "seed0.json", lambda d: d["encoder"].update(weights_sha256="0" * 64))
    told = errors(board, load_entry(folder))
    assert any("pool_sha256 is not that of encoder" in line for line in told)
