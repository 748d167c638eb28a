"""More memory than there is: one line with the setting that asks for it; other errors pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from small import run

from clbench.engine.allocation import explained, largest
from clbench.errors import UsageError


@dataclass(frozen=True)
class Config:
    memory_size: int = 200
    hidden: tuple[int, ...] = (8, 8)
    big_default: int = 10**6
    flag: bool = True
    rate: float = 1e9


@pytest.mark.parametrize("size", [10**13, 10**18, 10**30])
@pytest.mark.parametrize("make", [torch.zeros, np.zeros])
def test_allocators_of_torch_and_numpy(size: int, make: object):
    with pytest.raises(UsageError) as refused, explained("it", strategy=Config(memory_size=size)):
        make((size, 64))  # type: ignore[operator]
    assert str(refused.value).startswith(f"strategy.memory_size={size}: it needs more memory")
    assert "\n" not in str(refused.value)


def test_the_largest_setting_that_was_set_is_named():
    assert largest({"a": Config()}) == "a.big_default=1000000"
    assert largest({"a": Config(memory_size=300)}) == "a.memory_size=300"
    assert largest({"a": Config(memory_size=300), "b": Config(hidden=(4, 900))}) == (
        "b.hidden=[4,900]"
    )


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("size mismatch"), KeyError(1)])
def test_other_errors_pass(error: Exception):
    with pytest.raises(type(error)) as caught, explained("it", a=Config()):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("strategy=er", "strategy.memory_size=100000000000000"), "strategy.memory_size="),
        (("strategy=naive", "model=mlp", "model.hidden=[90000000000000]"), "model.hidden=["),
    ],
)
def test_a_strategy_that_cannot_be_allocated_names_the_setting(words: tuple[str, ...], named: str):
    with pytest.raises(UsageError, match="needs more memory than there is") as refused:
        run("scenario=scole", "scenario.n_tasks=2", *words).strategy()
    assert str(refused.value).startswith(named)
