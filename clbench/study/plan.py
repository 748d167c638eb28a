"""Which runs the latent study is made of: heads, replay sizes, seeds, and the siblings of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clbench.errors import UsageError
from clbench.sweep import sweep, without_folder

MLP = "mlp_head"
REPLAY = "strategy.replay_per_class"
REINIT = "strategy.reinit"
DEFAULTS = {
    "data": "mnist5k,fashion_mnist",
    "encoder": "efficientnet_lite0,random:efficientnet_lite0,identity",
    "strategy": f"nmc,slda,knn,ridge,{MLP}",
    "seed": "0..4",
}
REPLAY_SIZES = "0,2,10,50"
"""Of the MLP; 0 is naive training."""

Point = dict[str, Any]
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Member:
    """One run of the study, and those it is measured beside: positions in the list of all runs."""

    setting: Key
    """What it learns from: every word but those of the head and the seed."""
    head: Key
    seed: str
    run: int
    reinit: int | None = None
    iid: int | None = None
    alone: int | None = None


@dataclass(frozen=True)
class Plan:
    """All runs, each once, and what each is for."""

    words: tuple[str, ...]
    """What the user passed; of a path only the file's name."""
    points: list[Point]
    members: list[Member]


def plan(words: Sequence[str]) -> Plan:
    """The runs that the study asks for.

    Args:
        words: ``key=value`` beside and in place of the defaults.

    Raises:
        UsageError: a word has no sense here.
    """
    given = {word.partition("=")[0] for word in words}
    for key in ("scenario", "board", "scenario.n_tasks", REPLAY, REINIT, f"{MLP}.reinit"):
        if key in given:
            instead = f"; set {MLP}.replay_per_class" if key == REPLAY else ""
            raise UsageError(f"{key}= is set by the study itself{instead}")
    full = [*words, *(f"{key}={value}" for key, value in DEFAULTS.items() if key not in given)]
    names = next(word for word in full if word.startswith("strategy=")).partition("=")[2].split(",")
    if MLP in names and f"{MLP}.replay_per_class" not in given:
        full.append(f"{MLP}.replay_per_class={REPLAY_SIZES}")
    # Data and encoder vary slowest: each is loaded once.
    full.sort(key=lambda word: (not word.startswith("data"), not word.startswith("encoder")))
    shown = tuple(map(without_folder, words))
    points: list[Point] = []
    members = []
    for point in sweep(["scenario=latent_replay", *full]):
        members.append(_member({**point, "overrides": list(shown)}, points))
    return Plan(shown, points, members)


def _member(point: Point, points: list[Point]) -> Member:
    """A run and its siblings, each of which is added to the points unless it is there."""

    def number(point: Point) -> int:
        if point not in points:
            points.append(point)
        return points.index(point)

    member = Member(_setting(point), _head(point), str(point["seed"]), number(point))
    if point["strategy"] != MLP:
        return member
    naive = {**point, REPLAY: "0"}
    whole = {k: v for k, v in naive.items() if k != "scenario.task_order"}
    return replace(
        member,
        reinit=number({**point, REINIT: "true"}),
        iid=number({**whole, "scenario.n_tasks": "1"}),
        alone=number({**naive, REINIT: "true"}),
    )


def _head(point: Point) -> Key:
    return tuple((k, str(v)) for k, v in point.items() if _is_of_head(k))


def _setting(point: Point) -> Key:
    other = ("scenario", "seed", "overrides")
    return tuple((k, str(v)) for k, v in point.items() if not _is_of_head(k) and k not in other)


def _is_of_head(key: str) -> bool:
    return key == "strategy" or key.startswith("strategy.")
