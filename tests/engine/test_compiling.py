"""compile=true: what is compiled, when it is passed by, and that a compiled run resumes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import small
import torch
from torch import nn

from clbench.configure.config import resolve_point
from clbench.engine.build import prepare
from clbench.engine.compiling import compile_network
from clbench.engine.execute import Options, execute
from clbench.nets.flops import Count
from clbench.strategy import Strategy

WORDS = ("scenario=scole", "scenario.n_tasks=6", "checkpoint_seconds=0")


class Counted:
    """Stands for a compiler: calls what it was given, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            self.calls += 1
            return function(*args)

        return run


def no_compiler(*_: Any, **__: Any) -> Any:
    raise RuntimeError("No working C++ compiler found\nand a long trace")


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(torch, "compile", counted)
    return counted


def strategy_of(*words: str) -> Strategy:
    return small.run("scenario=scole", "scenario.n_tasks=3", *words).strategy()


def test_nothing_changes_but_the_call(compiler: Counted):
    strategy = strategy_of("strategy=naive")
    before, generator = copy.deepcopy(strategy.state_dict()), torch.get_rng_state()
    assert compile_network(strategy, threads=1) is None
    after = strategy.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in strategy.parameters())
    assert strategy.training
    compiler.calls = 0
    strategy(torch.zeros(2, 6))
    assert compiler.calls == 1


@pytest.mark.parametrize("mode", ["hook", "count", "copy"])
def test_who_looks_inside_sees_the_network_as_it_is_written(compiler: Counted, mode: str):
    strategy: Any = strategy_of("strategy=naive")
    compile_network(strategy, threads=1)
    compiler.calls = 0
    x = torch.zeros(2, 6)
    if mode == "hook":
        seen = []
        last = [m for m in strategy.model.modules() if isinstance(m, nn.Linear)][-1]
        with last.register_forward_hook(lambda *_: seen.append(1)):
            strategy(x)
        assert seen == [1]
    elif mode == "count":
        with Count() as count:
            strategy(x)
        assert count.total > 0
    else:
        copy.deepcopy(strategy.model)(x)
    assert compiler.calls == 0
    strategy(x)
    assert compiler.calls == 1


def test_without_a_compiler_one_line_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "compile", no_compiler)
    strategy = strategy_of("strategy=naive")
    told = compile_network(strategy, threads=1)
    assert told is not None
    assert "does not compile here" in told
    assert "No working C++ compiler found" in told
    assert "\n" not in told
    assert strategy(torch.zeros(2, 6)).shape == (2, 4)


def test_a_strategy_without_a_network_is_told_so():
    assert "no network" in str(compile_network(strategy_of("strategy=nmc"), threads=1))


def run(npz: Path, out: Path, *words: str) -> Any:
    [point] = small.points(*WORDS, *words, npz=npz)
    return execute(prepare(resolve_point(point)), Options(out, True, quiet=True, curve=False))[0]


def test_a_compiled_run_resumes_and_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    eager = partial(compile_network, backend="eager")
    monkeypatch.setattr("clbench.engine.execute.compile_network", eager)
    npz = small.write_npz(tmp_path / "blobs.npz")
    words = ("strategy=ewc", "strategy.batch_size=7", "compile=true")
    whole = run(npz, tmp_path / "whole", *words)
    assert (whole.status, whole.warnings) == ("completed", [])
    run(npz, tmp_path / "parts", *words, "max_tasks=3")
    torch.compiler.reset()  # as a new process has it
    parts = run(npz, tmp_path / "parts", *words)
    assert parts.predictions_sha256 == whole.predictions_sha256
    plain = run(npz, tmp_path / "plain", *words[:2])
    assert plain.predictions_sha256 == whole.predictions_sha256  # this backend changes no bits
    assert plain.config_sha256 != whole.config_sha256


def test_the_record_says_that_a_run_was_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch, "compile", no_compiler)
    npz = small.write_npz(tmp_path / "blobs.npz")
    record = run(npz, tmp_path, "strategy=naive", "compile=true")
    assert record.status == "completed"
    assert "does not compile here" in record.warnings[0]
