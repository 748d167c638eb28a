"""Tuning of any scenario, without a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clbench.configure import tuning
from clbench.configure.config import resolve
from clbench.engine.execute import Options
from clbench.errors import UsageError
from clbench.leaderboard.tune import tune

FREE = ["scenario=scole", "scenario.n_tasks=5", "data=digits", "eval_every=5", "device=cpu"]


def test_any_scenario_is_tuned_without_a_board(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from clbench.cli import main

    words = [*FREE, "seed=7", "strategy=ewc", "ewc.lam=1,100", "ewc.fisher=batched"]
    assert main(["tune", *words, "--trials", "3", "--out", str(tmp_path)]) == 0
    *trials, _, place, command = capsys.readouterr().out.splitlines()
    assert len(trials) == 3
    table = tuning.read(Path(place.partition(": ")[0]))
    assert table["board"] is None
    assert table["seeds"] == [7]
    assert [*map(float, (line.split()[0] for line in trials))] == sorted(
        (round(tuning.mean(t["values"]), 4) for t in table["results"]), reverse=True
    )
    [config] = resolve([w for w in command.split() if "=" in w])  # it can be typed
    assert config.strategy.fisher == "batched"
    if "strategy.lam" in table["best"]:
        assert config.strategy.lam == float(table["best"]["strategy.lam"])


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"trials": 0}, "at least 1"),
        ({"primary": "forgetting"}, "higher is better"),
        ({"primary": "backward_transfer"}, "no value is below 0"),
        ({"primary": "world_acuracy"}, "higher is better"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(given: dict[str, Any], wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        tune([*FREE, "strategy=naive"], Options(), print, **given)


def test_optuna_is_an_extra(tmp_path: Path) -> None:
    words = [*FREE, "strategy=naive", "seed=7"]
    try:
        import optuna  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match=r"pip install 'clbench\[optuna\]'"):
            tune(words, Options(out=tmp_path), print, sampler="tpe")
        return
    table, _ = tune(
        words, Options(out=tmp_path, quiet=True, curve=False), print, trials=3, sampler="tpe"
    )
    assert table["sampler"] == "tpe"
    assert len(table["results"]) == 3
    assert all(t["settings"] for t in table["results"][1:])
