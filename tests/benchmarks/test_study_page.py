"""The study's page and figure: from numbers that are known, and from runs of a second."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from small import write_npz

from benchmarks.study.figure import figure
from benchmarks.study.latent import study
from benchmarks.study.latents import Latents
from benchmarks.study.metrics import Measures
from benchmarks.study.plan import MLP, REPLAY, Key
from benchmarks.study.report import report
from benchmarks.study.result import Result, names_of, parts_of
from clbench.engine.execute import Done, Options
from clbench.errors import UsageError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A curve takes longer to draw than these runs take; tests/test_execute.py draws it."""
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )


GOOD: Key = (("data", "d"), ("encoder", "net"))
POOR: Key = (("data", "d"), ("encoder", "random:net"))
NMC: Key = (("strategy", "nmc"),)


def mlp(size: int) -> Key:
    return (("strategy", MLP), (REPLAY, str(size)))


def measures(a_cl: float, a_iid: float | None = None) -> Measures:
    return Measures(a_cl, 0.95, 0.95 - a_cl, 0.1, None, None, a_iid, None, None, None)


def seeds(a_cl: float, a_iid: float | None = None) -> dict[str, Measures]:
    return {str(s): measures(a_cl + e, a_iid) for s, e in enumerate((-0.01, 0.0, 0.01))}


RESULT = Result(
    words=("data=d",),
    found={
        GOOD: {
            NMC: seeds(0.7),
            mlp(0): seeds(0.2, 0.9),
            mlp(2): seeds(0.6, 0.9),
            mlp(50): seeds(0.8, 0.9),
        },
        POOR: {NMC: seeds(0.5), mlp(2): seeds(0.2, 0.6), mlp(50): seeds(0.7, 0.6)},
    },
    latents={GOOD: Latents(8, 4.5, 0.25, 0.5), POOR: Latents(8, 2.5, None, None)},
    failed=("strategy=mlp_head seed=4: diverged",),
    n_runs=21,
)


def test_what_follows_from_the_numbers():
    assert RESULT.curve(GOOD) == [
        (0, pytest.approx(0.2)),
        (2, pytest.approx(0.6)),
        (50, pytest.approx(0.8)),
    ]
    crossing = RESULT.crossing(GOOD, "nmc")
    assert crossing is not None
    assert crossing.size == pytest.approx(10)  # halfway from 2 to 50, in log
    assert RESULT.crossing(GOOD, "slda") is None
    assert RESULT.replay_gain(GOOD) == pytest.approx(0.2)
    assert RESULT.replay_gain(POOR) == pytest.approx(0.5)
    gains = {(s, h): gain for s, h, gain in RESULT.pretraining()}
    assert set(gains) == {(GOOD, NMC), (GOOD, mlp(2)), (GOOD, mlp(50))}
    assert gains[GOOD, NMC].mean == pytest.approx(0.2)
    assert gains[GOOD, NMC].half_width == pytest.approx(0)  # seed by seed


def test_the_page_says_what_came_out():
    page = report(RESULT, "picture.png")
    assert "python -m benchmarks.study latent data=d\n" in page
    assert "| d, net | 70.0 | 10 | – | – |" in page
    assert (
        "A_CL was higher in 3 of 3 comparisons, paired by seed; in 3 of them the interval" in page
    )
    assert "This holds for 1 of 1 pairs of neighbouring rows" in page
    assert "![Accuracy against replay size](picture.png)" in page
    assert "| d, random:net | 8 | 2.5 | – | – |" in page
    assert "| naive MLP | 3 | 20.0 ± 2.5 | 95.0 ± 0.0 |" in page
    assert "- strategy=mlp_head seed=4: diverged" in page
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    tables = [list(rows) for bar, rows in itertools.groupby(page.splitlines(), _is_row) if bar]
    assert tables
    assert all(len({row.count("|") for row in rows}) == 1 for rows in tables)


def _is_row(line: str) -> bool:
    return line.startswith("|")


def test_the_figure_is_a_png():
    assert figure(RESULT).startswith(b"\x89PNG")
    assert figure(Result((), {}, {}, (), 0)).startswith(b"\x89PNG")


def test_names_tell_what_differs_and_no_more():
    keys: list[Key] = [
        (("data", "d"), ("encoder", "e"), ("scenario.shots", "1"), ("scenario.chunk", "7")),
        (("data", "d"), ("encoder", "e"), ("scenario.shots", "2"), ("scenario.chunk", "7")),
    ]
    assert list(names_of(keys).values()) == ["d, e, shots=1", "d, e, shots=2"]
    slow = (*mlp(2), ("strategy.lr", "1"))
    assert names_of([NMC, mlp(2)]) == {NMC: "nmc", mlp(2): "MLP, replay 2"}
    assert names_of([NMC, mlp(2), slow])[slow] == "MLP, replay 2, lr=1"


def test_settings_of_one_encoder_or_data_set_make_no_other_of_it():
    wide, plain = ("encoder", "wide"), ("encoder", "plain")
    keys: list[Key] = [
        (("data", "d"), wide, ("encoder.resolution", "56")),
        (("data", "d"), plain),
        (("data", "f"), plain, ("data.path", "folder")),
    ]
    assert list(names_of(keys).values()) == ["d, wide", "d, plain", "f, plain"]
    at_28: Key = (("data", "d"), wide, ("encoder.resolution", "28"))
    assert names_of([*keys, at_28])[at_28] == "d, wide, resolution=28"
    assert parts_of(keys[0]) == ((("data", "d"),), keys[0][1:])
    heads = {mlp(2): seeds(0.5, 0.9), mlp(50): seeds(0.6, 0.9)}
    better = {mlp(2): seeds(0.5, 0.8), mlp(50): seeds(0.7, 0.8)}
    latents = {key: Latents(8, 4.5, 0.25, 0.5) for key in keys[:2]}
    result = Result((), {keys[0]: heads, keys[1]: better}, latents, (), 2)
    assert "This holds for 1 of 1 pairs of neighbouring rows" in report(result, "p.png")


def _study(tmp_path: Path, *words: str, **options: Any) -> tuple[Result | None, list[Done], Path]:
    npz = write_npz(tmp_path / "images.npz", n_classes=5, shape=(8, 8))
    ended: list[Done] = []
    page = tmp_path / "page" / "latent.md"
    own = ["data=npz", f"data.path={npz}", "device=cpu"]
    if not any(word.startswith("encoder=") for word in words):
        own.append("encoder=random:mlp,identity")
    words = (*own, *words)
    made = Options(out=tmp_path / "runs", quiet=True, **options)
    return study(words, made, page, ended.append), ended, page


def test_a_study_of_real_runs_and_nothing_is_run_twice(tmp_path: Path):
    words = ("strategy=nmc", "seed=0,1", "scenario.shots=3")
    result, ended, page = _study(tmp_path, *words)
    assert result is not None
    assert len(ended) == result.n_runs == 4
    assert not any(done.skipped for done in ended)
    assert not result.failed
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    nmc = [result.mean(setting, NMC, "a_cl") for setting in result.found]
    assert all(interval.n == 2 and interval.mean is not None for interval in nmc)
    for done in ended:
        assert done.record is not None
        settings = [
            s for s in result.found if ("encoder", done.record.config["encoder"]["name"]) in s
        ]
        if settings:
            found = result.found[settings[0]][NMC][str(done.record.seed)]
            assert found.a_cl == pytest.approx(done.record.metric("average_accuracy"))
            assert found.a_task_cl == pytest.approx(done.record.metric("learning_accuracy"))
    before = page.read_bytes()
    again, ended, page = _study(tmp_path, *words)
    assert again is not None
    assert all(done.skipped for done in ended)
    assert page.read_bytes() == before


def test_the_mlp_is_measured_beside_its_siblings(tmp_path: Path):
    """From the records of real runs, joined by hand."""
    words = (
        "encoder=identity",
        "strategy=slda,mlp_head",
        "mlp_head.replay_per_class=0,2",
        "seed=1",
    )
    result, ended, page = _study(tmp_path, *words, "mlp_head.epochs=2", "model=linear")
    assert result is not None
    assert len(ended) == result.n_runs == 1 + 2 + 2 + 1
    records = {}
    for done in ended:
        assert done.record is not None
        config = done.record.config
        strategy = config["strategy"]
        key = (strategy["name"], strategy.get("reset_weights"), config["scenario"]["n_tasks"])
        records[key] = done.record
        if strategy["name"] != "slda":
            assert (strategy["optimizer"], strategy["epochs"]) == ("adam", 2)
    run, reinit = records["mlp_head", False, 5], records["mlp_head", True, 5]
    iid, alone = records["naive", False, 1], records["naive", True, 5]
    [heads] = result.found.values()
    [found] = [by_seed["1"] for head, by_seed in heads.items() if dict(head).get(REPLAY) == "2"]
    a_cl, a_task = run.metric("average_accuracy"), run.metric("learning_accuracy")
    a_task_iid, a_iid = alone.metric("learning_accuracy"), iid.metric("average_accuracy")
    assert None not in (a_cl, a_task, a_task_iid, a_iid)
    assert found.transfer == pytest.approx(a_cl - reinit.metric("average_accuracy"))  # type: ignore[operator]
    assert found.forgetting == pytest.approx(a_task - a_cl)  # type: ignore[operator]
    # A task is one class here, all of as many test samples, so that both means are the same.
    assert found.a_iid == pytest.approx(a_iid)
    assert found.interference_total == pytest.approx(a_task_iid - a_iid)  # type: ignore[operator]
    assert found.interference == pytest.approx(a_task_iid - a_task)  # type: ignore[operator]
    assert "epochs=2" in page.read_text()
    assert "| naive MLP | 1 |" in page.read_text()


def test_what_fails_is_said_and_the_rest_joined(tmp_path: Path):
    words = ("strategy=nmc,naive", "naive.lr=1e30", "naive.clip_norm=null", "seed=0")
    result, _, page = _study(tmp_path, *words)
    assert result is not None
    assert len(result.failed) == 2
    assert "diverged" in page.read_text()
    assert all(list(heads) == [NMC] for heads in result.found.values())


@pytest.mark.parametrize("words", [["strategy=nowhere"], ["encoder=nowhere"], ["scenario.shots=0"]])
def test_wrong_words_run_nothing(tmp_path: Path, words: list[str]):
    with pytest.raises(UsageError):
        study(
            words, Options(out=tmp_path / "runs", quiet=True), tmp_path / "p.md", lambda done: None
        )
    assert not (tmp_path / "p.md").exists()
    assert not (tmp_path / "runs").exists()


def test_the_page_is_markdown(tmp_path: Path):
    with pytest.raises(UsageError, match="must end in"):
        study([], Options(out=tmp_path), tmp_path / "page.html", lambda done: None)
