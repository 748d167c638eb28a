"""An isolated strategy: the same bits, and what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import go, run

from clbench.engine.counting import is_counted
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.reproduce.child import one_line
from clbench.leaderboard.reproduce.hygiene import Limits, hygiene
from clbench.leaderboard.reproduce.isolate import isolated, job_of, source_of
from clbench.leaderboard.reproduce.processes import Popened, Zygote
from clbench.plugins.registry import Plugin

SCOLE = ("scenario=scole",)
NAIVE = (*SCOLE, "strategy=naive", "max_tasks=2")

NOISY = '''
"""Draws from every generator, remembers its mode, and writes to stdout."""
import os, random, sys
import numpy as np
import torch
from clbench.strategy import Strategy

class Noisy(Strategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.model = build_model()
        self.drop = torch.nn.Dropout(0.5)

    def learn(self, task):
        print("as large as a frame" * 5000)
        os.write(1, b"garbage")
        sys.__stdout__.write("more")
        self.eval() if len(task) % 2 else self.train()
        noise = random.random() + np.random.rand() + torch.rand(())
        with torch.no_grad():
            for p in self.model.parameters():
                p += self.drop(torch.randn_like(p)) * noise

    def prepare(self):
        with torch.no_grad():
            for p in self.model.parameters():
                p += torch.randn_like(p) * (1 + self.training)

    def forward(self, x, task_id=None):
        return self.model(x) + self.training

    def diagnostics(self):
        return {"draw": torch.rand(()), "modes": torch.tensor(self.drop.training)}
'''

MISBEHAVING = '''
"""Does what its setting says."""
import dataclasses, os
import torch
from clbench.strategy import Strategy

class Misbehaving(Strategy):
    pretrained = True

    @dataclasses.dataclass(frozen=True)
    class Config(Strategy.Config):
        how: str = ""

    def learn(self, task):
        if self.config.how == "raise":
            raise KeyError("no\\nsuch \\x1b[31mthing")
        if self.config.how == "spin":
            while True:
                pass

    def prepare(self):
        torch.zeros(3 << 28)

    def forward(self, x, task_id=None):
        if len(x) == 1:
            os._exit(7)
        return torch.zeros(len(x), 2)

    def diagnostics(self):
        return {"pair": torch.zeros(2)}
'''


def skip_without(measure: str) -> None:
    if hygiene()[measure] is not True:
        pytest.skip(f"{measure}: {hygiene()[measure]}")


@pytest.fixture
def plugin(tmp_path: Path) -> Any:
    def write(text: str, name: str = "mine") -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    return write


GROWING = ("scenario=class_incremental", "scenario.n_tasks=4", "strategy=expansion")
"""Loads by adding backbones, which draws random numbers."""


@pytest.mark.parametrize(
    "words",
    [
        (*SCOLE, "strategy=er"),
        (*GROWING, "strategy.memory_size=20"),
        pytest.param((*SCOLE, "strategy=derpp", "prequential=true"), marks=pytest.mark.slow),
        pytest.param(
            (*SCOLE, "strategy=ewc", "strategy.lam=0.3", "strategy.penalty_step=explicit"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*SCOLE, "strategy=joint", "strategy.epochs=2", "strategy.budget=scratch"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bits_are_those_of_an_ordinary_run(words: tuple[str, ...], zygote: Zygote) -> None:
    """And so are all that is counted, although the learner is built anew once or twice."""
    this = run(*words, "max_tasks=5", "eval_every=2", "seed=3")
    _, here = go(this)
    with isolated(this, cuts=(2, 4), count=True, zygote=zygote) as strategy:
        first = strategy.learner
        _, there = go(this, strategy)
        assert strategy.learner is not first
        assert strategy.rebuild
        assert strategy.spent.train.seconds
    assert (here.status, there.status) == ("completed", "completed")
    for what in ("learned", "prepared", "predicted", "updates", "uncounted", "memory_bytes"):
        assert getattr(there.ledger, what) == getattr(here.ledger, what), what
    assert max(there.ledger.state_bytes, strategy.held) == here.ledger.state_bytes
    assert strategy.spent.train.operations >= here.ledger.learned[0][2]
    assert there.ledger.predictions_sha256 == here.ledger.predictions_sha256
    assert there.ledger.diagnostics == here.ledger.diagnostics


def test_operators_without_a_formula_are_told_of_every_call(plugin: Any, zygote: Zygote) -> None:
    """Also of those that an ordinary run does not count."""
    text = NOISY.replace("print(", "self.n = getattr(self, 'n', 0) + 1\n        print(", 1)
    text = text.replace(
        "os.write(", "if self.n == 3:\n            torch.fft.fft(task.x)\n        os.write(", 1
    )
    words = (*SCOLE, f"strategy={plugin(text)}", "max_tasks=4", "eval_every=10", "seed=1")
    this = run(*words)
    assert not is_counted(1, "learn", 3)
    _, here = go(this)
    with isolated(this, count=True, zygote=zygote) as strategy:
        go(this, strategy)
        assert any("fft" in name for name in strategy.spent.uncounted)
    assert not here.ledger.uncounted


def test_bits_of_a_strategy_that_draws_and_prints(plugin: Any, zygote: Zygote) -> None:
    """In one process, as of a strategy that is not resumable."""
    this = run("scenario=class_incremental", f"strategy={plugin(NOISY)}", "eval_every=2")
    torch.manual_seed(0)  # the evaluation before the first experience draws from what is there
    _, here = go(this)
    torch.manual_seed(0)
    with isolated(this, rebuild=False, zygote=zygote) as strategy:
        assert strategy.state_dict() == {}
        _, there = go(this, strategy)
    assert there.ledger.correct == here.ledger.correct
    assert there.ledger.predictions_sha256 == here.ledger.predictions_sha256
    assert there.ledger.diagnostics["draw"][1:] == here.ledger.diagnostics["draw"][1:]
    assert there.ledger.diagnostics["modes"] == here.ledger.diagnostics["modes"]


def test_errors_say_what_happened_and_the_process_goes_on(plugin: Any, zygote: Zygote) -> None:
    path = plugin(MISBEHAVING)
    this = run("scenario=scole", f"strategy={path}", "strategy.how=raise", "max_tasks=2")
    line = MISBEHAVING[: MISBEHAVING.index("raise KeyError")].count("\n") + 1
    limits = Limits(memory_bytes=1 << 30)
    with isolated(this, limits, rebuild=False, zygote=zygote) as strategy:
        assert strategy.pretrained
        with pytest.raises(ClbenchError, match=rf"'mine' raised KeyError at line {line}: .*thing"):
            strategy.learn(this.stream.experience(0))
        with pytest.raises(ClbenchError, match=r"must answer with floats of shape \(3, 4\)"):
            strategy(torch.zeros(3, 6))
        with pytest.raises(ClbenchError, match="0-d"):
            strategy.diagnostics()
        if hygiene()["memory"] is True:
            with pytest.raises(ClbenchError, match=r"raised RuntimeError .*allocate"):
                strategy.prepare()
        outcome = go(this, strategy)[1]
        for _ in range(2):
            with pytest.raises(ClbenchError, match="'mine' ended with exit code 7"):
                strategy(torch.zeros(1, 6))
    assert outcome.status == "error"


@pytest.mark.slow
def test_a_process_that_spins_is_an_error(plugin: Any) -> None:
    skip_without("cpu")
    words = ("scenario=scole", f"strategy={plugin(MISBEHAVING)}", "strategy.how=spin")
    this = run(*words, "max_tasks=2")
    with (
        pytest.raises(ClbenchError, match="'mine' used more than cpu_seconds=4"),
        isolated(this, Limits(cpu_seconds=4)) as strategy,
    ):
        strategy.learn(this.stream.experience(0))


def test_what_cannot_be_built_is_a_usage_error(plugin: Any, zygote: Zygote) -> None:
    this = run(*NAIVE)
    source = source_of(Plugin("strategy", "mine", plugin("x = 1\nimport nothing_such\n")), {})
    with (
        pytest.raises(UsageError, match=r"mine\.py line 2: does not import: ModuleNotFoundError"),
        isolated(this, job=replace(job_of(this), strategy=source), zygote=zygote),
    ):
        pass


@pytest.mark.parametrize("name", ["../mine", "", "a/b", ".hidden", "C:x", "a\n"])
def test_a_name_is_not_a_path(name: str) -> None:
    this = run(*NAIVE)
    job = job_of(this)
    with (
        pytest.raises(UsageError, match="cannot be the name"),
        isolated(this, job=replace(job, strategy=replace(job.strategy, name=name))),
    ):
        pass


@pytest.mark.slow
def test_a_system_without_fork_starts_each_process_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    this = run(*NAIVE, "eval_every=2")
    _, here = go(this)
    monkeypatch.setattr("clbench.leaderboard.reproduce.isolate.can_fork", lambda: False)
    with isolated(this, count=True) as strategy:
        assert isinstance(strategy.learner.process, Popened)
        _, there = go(this, strategy)
        assert strategy.spent.train.seconds is None
    assert there.ledger.predictions_sha256 == here.ledger.predictions_sha256


def test_settings_have_to_be_plain(plugin: Any) -> None:
    naive = Plugin("strategy", "mine", plugin("pass"))
    with pytest.raises(UsageError, match="not plain data"):
        source_of(naive, {"weights": Path("weights.pt")})
    assert source_of(naive, {"a": (1, float("inf"))}).settings == {"a": [1, "inf"]}


def test_every_measure_is_in_force_or_says_why() -> None:
    for device in ("cpu", "cuda"):
        for name, works in hygiene(device).items():
            assert works is True or str(works).startswith(("no: ", "partly: ")), name
    assert isinstance(hygiene("cuda")["memory"], str)


def test_one_line() -> None:
    assert one_line("a\n\x1b[31m b\ud800", 100) == "a [31m b"
    assert one_line("x" * 1000, 10) == "xxxxxxx..."
