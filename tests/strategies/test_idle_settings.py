"""Settings that others leave without effect: refused, and without effect indeed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import go, pool, run

from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.engine.build import prepare
from clbench.errors import UsageError

ON = ("scenario=class_incremental", "scenario.n_tasks=2")
OTHER: dict[str, Any] = {
    "nesterov": False,
    "accumulate": 1,
    "optimizer": "adam",
    "schedule": "cosine",
    "mask": "group",
    "mask_scope": "task",
    "prototypes": "learnt",
}
"""Another value of a setting that is neither a number nor a switch."""
CASES = (
    ("icarl", "form=bce"),
    ("ema", "half_life=50"),
    ("rwalk", "score=false"),
    ("lucir", "margin=null"),
    ("slca", "draws=0"),
    ("xder", "lam=0"),
    ("few_shot", "contrast=0"),
    ("few_shot", "adapt=false"),
    ("ranpac", "adapt=false"),
    ("aper", "adapt=false"),
    ("gdumb", "mask=group"),
)


def words(strategy: str, switch: str) -> tuple[str, ...]:
    return f"strategy={strategy}", *ON, f"strategy.{switch}"


def idle(strategy: str, switch: str) -> dict[str, Any]:
    """The settings without effect that have another value to try, and that value."""
    settings: Any = run(*words(strategy, switch)).config.strategy
    found = {}
    for name in settings.without_effect():
        now = getattr(settings, name)
        if name in OTHER:
            found[name] = OTHER[name]
        elif isinstance(now, bool):
            found[name] = not now
        elif isinstance(now, int | float):
            found[name] = now / 2 if isinstance(now, float) else now + 1
    return {name: value for name, value in found.items() if value != getattr(settings, name)}


@pytest.mark.parametrize(("strategy", "switch"), CASES)
def test_they_are_refused(strategy: str, switch: str) -> None:
    other = idle(strategy, switch)
    assert other
    for name, value in other.items():
        text = str(value).lower()
        with pytest.raises(
            UsageError, match=rf"strategy\.{name} has no effect with .*: leave it out"
        ):
            run(*words(strategy, switch), f"strategy.{name}={text}")


@pytest.mark.parametrize(("strategy", "switch"), CASES)
def test_they_change_no_score(strategy: str, switch: str) -> None:
    data, scores = pool(shape=(4, 4)), []
    for other in ({}, idle(strategy, switch)):
        [point] = sweep([*words(strategy, switch), "model=mlp", "model.hidden=[8]", "device=cpu"])
        config = resolve_point(point)
        for name, value in other.items():
            object.__setattr__(config.strategy, name, value)  # past the check
        pools = {(config.data, torch.device("cpu"), config.common.evaluate_on): data}
        learner, outcome = go(prepare(config, pools))
        assert outcome.status == "completed", outcome.error
        with torch.no_grad():
            scores.append(learner(data.gather("test", np.arange(20))))
    assert torch.equal(*scores)


@pytest.mark.parametrize(
    ("strategy", "switch", "word", "would"),
    [
        ("lwf", "alpha=1", "reset_weights=true", "teacher"),
        ("icarl", "alpha=1", "reset_weights=true", "network to learn from"),
        ("generative_replay", "replay_batch=4", "reset_weights=true", "fresh network label"),
        ("kanerva_pp", "replay_batch=4", "reset_weights=true", "fresh network label"),
        ("ema", "rho=0.9", "reset_weights=true", "the average"),
        ("joint", "budget=evaluations", "warmup=1", "makes none"),
        ("joint", "budget=evaluations", "reset_weights=true", "no effect"),
        ("joint", "budget=full", "memory_epochs=3", "no effect with budget=full"),
    ],
)
def test_what_would_not_do_what_it_says_is_refused(
    strategy: str, switch: str, word: str, would: str
) -> None:
    with pytest.raises(UsageError, match=would):
        run(*words(strategy, switch), f"strategy.{word}")
