"""A run in which nothing can be learnt says so; one in which something is learnt does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import clbench
from small import go, pool, run, write_npz

from clbench.engine.build import Run
from clbench.engine.idle import foreseen, observed

Capture = pytest.CaptureFixture[str]
GROUP = "strategy.mask=group"
ONE_EACH = ("scenario=class_incremental", "scenario.classes_per_task=1")
TWO_EACH = ("scenario=class_incremental", "scenario.classes_per_task=2")
RECURRING = ("scenario=scole", "scenario.n_tasks=8")
IDLE = [
    (*ONE_EACH, GROUP),
    (*ONE_EACH, GROUP, "strategy.mask_scope=task"),
    (*ONE_EACH, GROUP, "strategy.batch_size=1"),
    (*ONE_EACH, GROUP, "strategy.epochs=3", "strategy.optimizer=adam"),
    (*RECURRING, "scenario.classes_per_task=1", GROUP),
    (*RECURRING, "scenario.chunk=1", GROUP, "max_tasks=2"),
    (*TWO_EACH, GROUP, "strategy.batch_size=1"),
    ("scenario=task_incremental", "scenario.classes_per_task=1"),
    ("scenario=class_incremental", "scenario.n_tasks=1", "data=one"),
]
BUSY = [
    TWO_EACH,
    ONE_EACH,
    (*TWO_EACH, GROUP),
    (*TWO_EACH, GROUP, "strategy.batch_size=1", "strategy.mask_scope=task"),
    (*ONE_EACH, "strategy.mask=single"),
    (*ONE_EACH, "strategy.mask=group_zero"),
    (*TWO_EACH, "strategy.mask=single", "strategy.batch_size=1"),
    (*ONE_EACH, GROUP, "strategy=er"),
    (*ONE_EACH, GROUP, "strategy=joint"),
    ("scenario=task_incremental", "scenario.classes_per_task=2"),
    (*RECURRING, "scenario.chunk=1", "max_tasks=2"),
]


def made(words: tuple[str, ...]) -> Run:
    given = [word for word in words if word != "data=one"]
    strategy = [] if any(w.startswith("strategy=") for w in words) else ["strategy=naive"]
    return run(*strategy, *given, on=pool(n_classes=1) if "data=one" in words else None)


@pytest.mark.parametrize("words", IDLE, ids=" ".join)
def test_what_is_foreseen_learns_nothing(words: tuple[str, ...]):
    """The weights are those of before, and afterwards the counts say the same."""
    one = made(words)
    strategy = one.strategy()
    told = foreseen(one, strategy)
    assert told is not None
    assert told.startswith("nothing is learnt: ")
    assert "\n" not in told
    before = strategy.weights.clone()
    _, outcome = go(one, strategy)
    assert outcome.status == "completed"
    assert torch.equal(strategy.weights, before)
    assert observed(outcome.ledger) is not None


@pytest.mark.parametrize("words", BUSY, ids=" ".join)
def test_what_learns_is_not_warned_of(words: tuple[str, ...]):
    one = made(words)
    strategy = one.strategy()
    assert foreseen(one, strategy) is None
    before = strategy.weights.clone()
    _, outcome = go(one, strategy)
    assert not torch.equal(strategy.weights, before)
    assert observed(outcome.ledger) is None


@pytest.mark.parametrize("strategy", ["naive", "ewc"])
def test_it_is_on_stderr_and_in_the_record(capsys: Capture, tmp_path: Path, strategy: str):
    """EWC has a penalty of its own and is judged afterwards."""
    npz = write_npz(tmp_path / "blobs.npz")
    words = [*ONE_EACH, GROUP, "data=npz", f"data.path={npz}", "model=mlp", "device=cpu"]
    code, _, err = clbench(
        capsys, "run", *words, f"strategy={strategy}", "-q", "--out", tmp_path / "runs"
    )
    assert code == 0
    assert "clbench: warning: nothing " in err
    [path] = (tmp_path / "runs").rglob("record.json")
    assert '"warnings":["nothing ' in path.read_text()
    if strategy == "naive":
        code, _, err = clbench(capsys, "run", *words, "strategy=naive", "--dry-run")
        assert (code, err.count("warning: nothing is learnt")) == (0, 1)
