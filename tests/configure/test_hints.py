"""Settings as people write them: what to type instead, and a dry run that refuses what the run does."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import clbench, tiny
from small import write_npz

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("lr=0.1", "write strategy.lr=0.1"),
        ("n_tasks=5", "write scenario.n_tasks=5"),
        ("hidden=[8]", "write model.hidden=[8]"),
        ("augment=none", "write data.augment=none"),
        ("moment=0.9", "did you mean 'strategy.momentum'?"),
        ("sed=1", "did you mean 'seed'?"),
        ("nothing_alike_at_all=1", "unknown setting 'nothing_alike_at_all'"),
    ],
)
def test_a_setting_without_its_group_is_told_its_group(
    npz: Path, capsys: Capture, word: str, told: str
):
    code, out, err = clbench(capsys, "run", *tiny(npz), "strategy=naive", word, "--dry-run")
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model.hidden=64,64", "write model.hidden=[64,64]"),
        ("model.hidden=64,32", "write model.hidden=[64,32]"),
        ("mlp.hidden=64,32", "write model.hidden=[64,32]"),
        ("model.hidden=64", "write model.hidden=[64]"),
    ],
)
def test_a_list_without_brackets_is_told_to_have_some(
    npz: Path, capsys: Capture, word: str, told: str
):
    words = [w for w in tiny(npz) if not w.startswith("model.hidden")]
    code, _, err = clbench(capsys, "run", *words, "strategy=naive", word, "--dry-run")
    assert code == 2
    assert told in err


@pytest.mark.parametrize(
    "words",
    [
        ["strategy=naive", "strategy.optimizer=Adamm"],
        ["strategy=naive,ewc", "seed=0..1", "ewc.lam=-1"],
        ["strategy=er", "strategy.memory_size=100000000000"],
        ["strategy=naive", "scenario.n_tasks=null"],
        ["strategy=naive", "--out", "/proc/nope"],
        ["strategy=naive", "tracker=nothing_like_it"],
        ["strategy=naive", "device=cuda:77"],
        ["strategy=naive", "seed=9223372036854775808"],
        ["strategy=naive", "seed=0,9223372036854775808"],
        ["strategy=naive", "--out", "/dev/null/below"],
        ["strategy=naive", "--out", "x" * 300],
    ],
    ids=" ".join,
)
def test_a_dry_run_refuses_what_the_run_refuses(
    npz: Path, tmp_path: Path, capsys: Capture, words: list[str]
):
    if "--out" not in words:
        words = [*words, "--out", str(tmp_path / "out")]
    base = [w for w in tiny(npz) if w.partition("=")[0] not in {v.partition("=")[0] for v in words}]
    dry = clbench(capsys, "run", *base, *words, "--dry-run")
    real = clbench(capsys, "run", *base, *words, "-q")
    assert (dry.code, dry.out) == (real.code, real.out) == (2, "")
    assert dry.err == real.err
    assert not (tmp_path / "out").exists()


def test_a_strategy_is_made_once_for_each_choice_of_settings(
    npz: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from clbench.engine.build import Run

    made = []
    build = Run.strategy
    monkeypatch.setattr(Run, "strategy", lambda run: made.append(run) or build(run))
    words = ["strategy=naive", "strategy.lr=0.1,0.2", "seed=0..9", "--out", str(tmp_path / "out")]
    assert clbench(capsys, "run", *tiny(npz), *words, "--dry-run").code == 0
    assert len(made) == 2


def test_who_shows_a_folder_of_runs_is_told_what_reads_it(tmp_path: Path, capsys: Capture):
    code, _, err = clbench(capsys, "show", str(tmp_path))
    assert code == 2
    assert "clbench results FOLDER" in err
