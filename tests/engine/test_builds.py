"""Whether a strategy builds and trains the network that it is given, on boards and elsewhere."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clbench.configure.config import resolve
from clbench.engine.build import Run, prepare
from clbench.engine.builds import Builds, bits
from clbench.engine.execute import Options, execute
from clbench.errors import UsageError

sys.path.append(str(Path(__file__).parents[1] / "leaderboard"))
from tiny import make_board

IDLE = """
from clbench import Strategy
class Idle(Strategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.model = build_model()
    def learn(self, task):
        pass
    def forward(self, x, task_id=None):
        return self.model(x)
"""


def linear() -> nn.Module:
    return nn.Linear(3, 2)


def test_a_change_of_any_bit_is_training() -> None:
    builds = Builds(linear)
    model = builds()
    assert (builds.n_built, builds.is_trained) == (1, False)
    weight = model.weight
    assert isinstance(weight, nn.Parameter)
    before = weight.detach().clone()
    weight.data[0, 0] = torch.nextafter(weight.data[0, 0], torch.tensor(9.0))
    assert builds.is_trained
    weight.data = before  # as a flat vector takes a parameter over
    assert not builds.is_trained


def test_what_is_built_later_or_has_gone_is_not_watched() -> None:
    builds = Builds(linear)
    first = builds()
    builds.stop()
    later = builds()
    later.weight.data.zero_()  # type: ignore[operator,union-attr]
    assert (builds.n_built, builds.is_trained) == (1, False)
    first.weight.data.zero_()  # type: ignore[operator,union-attr]
    assert builds.is_trained
    del first
    assert not builds.is_trained


def test_copies_keep_no_parameter() -> None:
    builds = Builds(linear)
    model = builds()
    assert copy.deepcopy(builds).n_built == 1
    assert builds.__getstate__()["watched"] == []
    assert not hasattr(model, "network_builds")


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.complex128]
)
def test_bits_are_those_of_the_values(dtype: torch.dtype) -> None:
    values = torch.arange(6).reshape(2, 3).to(dtype)
    assert bits(values) == bits(values.t())  # whatever the order
    assert bits(values) != bits(values + 1)
    assert bits(values[0, 0]) == 0
    assert bits(torch.empty(3, device="meta")) is None
    assert bits(nn.parameter.UninitializedParameter()) is None


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    board = make_board(tmp_path_factory.mktemp("boards") / "tiny", seeds=(0,))
    return [f"board={board.folder}", "seed=0", "device=cpu"]


def made(words: list[str], *more: str) -> Run:
    [config] = resolve([*words, *more])
    return prepare(config)


@pytest.mark.parametrize(
    ("strategy", "division"),
    [
        *((name, "network") for name in ("naive", "er", "gdumb", "lwf", "kanerva")),
        *((name, "any") for name in ("ridge", "slda", "nmc", "knn", "kanerva")),
    ],
)
def test_the_division_is_what_a_strategy_does(
    words: list[str], strategy: str, division: str
) -> None:
    more = {"kanerva": {"network": ["strategy.mode=replay"], "any": ["strategy.mode=classifier"]}}
    given = [f"strategy={strategy}", *more.get(strategy, {}).get(division, [])]
    run = made(words, *given)
    assert run.config.protocol is not None
    assert run.config.protocol.as_dict()["division"] == division
    named = made(words, *given, f"division={division}")
    assert named.run_sha256 == run.run_sha256


def test_what_builds_no_network_is_refused_before_training(words: list[str]) -> None:
    run = made(words, "strategy=ridge", "division=network")
    with pytest.raises(UsageError, match=r"does not build the board's network: .*division=any"):
        run.strategy()


def test_what_trains_no_network_ends_in_an_error(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(IDLE)
    run = made(words, f"strategy={tmp_path / 'idle.py'}")
    options = Options(out=tmp_path / "runs", quiet=True, curve=False)
    record, _ = execute(run, options)
    assert record.status == "error"
    assert record.error is not None
    said: Any = record.error["message"]
    assert said == "strategy 'idle' never trained the board's network: run it with division=any"
    other, _ = execute(made(words, f"strategy={tmp_path / 'idle.py'}", "division=any"), options)
    assert (other.status, other.declares["trains_network"]) == ("completed", False)


@pytest.mark.parametrize(("strategy", "trains"), [("naive", True), ("ridge", False)])
def test_a_record_says_whether_the_network_was_trained(
    tmp_path: Path, strategy: str, trains: bool
) -> None:
    words = ["scenario=scole", "data=digits", "scenario.n_tasks=3", "device=cpu"]
    [config] = resolve([*words, f"strategy={strategy}"])
    record, _ = execute(prepare(config), Options(out=tmp_path, quiet=True, curve=False))
    assert record.declares["trains_network"] is trains
