"""Bounds of settings: declared beside the type, checked in one place for every group."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench import DataSet, Encoder, Model, Scenario, Strategy, UsageError
from clbench.configure.config import resolve
from clbench.plugins import registry
from clbench.plugins.source import settings as read
from clbench.settings import AtLeast, Positive, Within, bounds, check

NUMBERS = st.floats(-5, 5) | st.integers(-5, 5)


@given(NUMBERS, NUMBERS, NUMBERS, st.booleans(), st.booleans())
def test_within_is_an_interval(low, high, value, open_low, open_high) -> None:
    bound = Within(low, high, open_low, open_high)
    inside = low <= value <= high
    at_open_end = (open_low and value == low) or (open_high and value == high)
    assert bound.allows(value) == (inside and not at_open_end)


@given(st.sampled_from([Positive, AtLeast(0), AtLeast(-3), Within(0, 1)]))
def test_only_finite_numbers_are_within_bounds(bound: Within) -> None:
    assert not any(bound.allows(value) for value in (math.nan, math.inf, -math.inf))


@dataclass(frozen=True)
class Base:
    lr: Annotated[float | None, Positive] = None
    widths: Annotated[tuple[int, ...], AtLeast(1)] = (3,)
    name: str = ""

    def __post_init__(self) -> None:
        check(self, "group")


@dataclass(frozen=True)
class Sub(Base):
    lr: float | None = 0.5
    share: Annotated[float, Within(0, 1, open_high=True)] = 0.0
    steps: Annotated[int, AtLeast(1)] = 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"lr": 0.0}, "group.lr=0.0 must be finite and positive"),
        ({"lr": math.inf}, "group.lr=inf must be finite and positive"),
        ({"lr": math.nan}, "group.lr=nan must be finite and positive"),
        ({"widths": (2, 0)}, "group.widths=[2, 0] has a value that must be at least 1"),
        ({"share": 1.0}, "group.share=1.0 must be in [0, 1)"),
        ({"steps": 0}, "group.steps=0 must be at least 1"),
    ],
)
def test_errors_name_the_setting_its_value_and_the_bound(values, says: str) -> None:
    with pytest.raises(UsageError) as error:
        Sub(**values)
    assert str(error.value) == says


def test_null_and_empty_lists_are_within_bounds() -> None:
    Sub(lr=None, widths=())


def test_a_subclass_keeps_the_bounds_of_its_base() -> None:
    assert set(bounds(Sub)) == {"lr", "widths", "share", "steps"}
    assert bounds(Sub)["lr"] is Positive


PLUGINS = [p for group in registry.GROUPS for p in registry.plugins(group).values()]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: f"{p.group}-{p.name}")
def test_what_is_shown_is_what_is_checked(plugin: registry.Plugin) -> None:
    cls = plugin.load()
    config = cls.Config if plugin.group == "strategy" else cls
    shown = {s.name: s.bound for s in read(plugin.path) if s.bound}
    assert shown == {name: str(bound) for name, bound in bounds(config).items()}
    assert not any("Annotated" in s.type for s in read(plugin.path))


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: f"{p.group}-{p.name}")
def test_every_bound_of_a_built_in_is_checked_from_python(plugin: registry.Plugin) -> None:
    cls = plugin.load()
    config = cls.Config if plugin.group == "strategy" else cls
    for name, bound in bounds(config).items():
        kind = {field.name: str(field.type) for field in dataclasses.fields(config)}[name]
        outside = bound.low - 1
        with pytest.raises(UsageError, match=f"^{plugin.group}.{name}="):
            config(**{name: (outside,) if "tuple" in kind else outside})


@pytest.mark.parametrize(
    "words",
    [
        ("strategy.lr=0",),
        ("scenario.n_tasks=0",),
        ("data=synbols", "data.n_train=0"),
        ("model=mlp", "model.hidden=[0]"),
        ("encoder=identity", "encoder.batch_size=0"),
    ],
)
def test_every_group_is_checked_from_words(words: tuple[str, ...]) -> None:
    key = words[-1].partition("=")[0]
    with pytest.raises(UsageError, match=key):
        resolve(["scenario=scole", "strategy=naive", *words])


@pytest.mark.parametrize("base", [Strategy.Config, Scenario, DataSet, Encoder, Model])
def test_every_base_checks(base: type) -> None:
    assert "__post_init__" in vars(base)
