"""The runs of the latent study: heads, replay sizes, seeds, and the siblings of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clbench.configure.sweep import sweep, without_folder
from clbench.errors import UsageError

MLP = "mlp_head"
REPLAY = "strategy.replay_per_class"
REINIT = "strategy.reset_weights"
DEFAULTS = {
    "data": "mnist5k,fashion_mnist",
    "encoder": "efficientnet_lite0,random:efficientnet_lite0,identity",
    "strategy": f"nmc,slda,knn,ridge,{MLP}",
    "seed": "0..4",
}
MODEL = {"model": "mlp", "model.hidden": "[1024]"}
"""The study's model, unless the words name another."""
MLP_DEFAULTS = {
    f"{MLP}.replay_per_class": "0,2,10,50",
    f"{MLP}.batch_size": "64",
    f"{MLP}.epochs": "20",
    f"{MLP}.optimizer": "adam",
}
"""The study's settings, except for its 100 epochs. Replay 0 is naive training."""

Point = dict[str, Any]
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Member:
    """One run of the study and its siblings, as positions in the list of all runs."""

    setting: Key
    """The data of the run: all words except those of the head and the seed."""
    head: Key
    seed: str
    run: int
    reinit: int | None = None
    iid: int | None = None
    alone: int | None = None


@dataclass(frozen=True)
class Plan:
    """All runs, each once, and the purpose of each."""

    words: tuple[str, ...]
    """The words that the user passed; paths are cut to the file name."""
    points: list[Point]
    members: list[Member]


def plan(words: Sequence[str]) -> Plan:
    """List the runs of the study.

    Args:
        words: ``key=value`` settings, which extend or replace the defaults.

    Raises:
        UsageError: a word does not apply to the study.
    """
    given = {word.partition("=")[0] for word in words}
    for key in ("scenario", "board", "scenario.n_tasks", REPLAY, REINIT, f"{MLP}.reset_weights"):
        if key in given:
            instead = f"; set {MLP}.replay_per_class" if key == REPLAY else ""
            raise UsageError(f"{key}= is set by the study itself{instead}")
    strategies = next((w for w in words if w.startswith("strategy=")), DEFAULTS["strategy"])
    own = {**DEFAULTS, **({} if "model" in given else MODEL)}
    own |= MLP_DEFAULTS if MLP in strategies.removeprefix("strategy=").split(",") else {}
    full = [*words, *(f"{key}={value}" for key, value in own.items() if key not in given)]
    # Data and encoder vary slowest: each is loaded once.
    full.sort(key=lambda word: (not word.startswith("data"), not word.startswith("encoder")))
    shown = tuple(map(without_folder, words))
    points: list[Point] = []
    members = []
    for point in sweep(["scenario=latent_replay", *full]):
        members.append(_member({**point, "overrides": list(shown)}, points))
    return Plan(shown, points, members)


def _member(point: Point, points: list[Point]) -> Member:
    """Plan a run and its siblings; each is added to the points once."""

    def number(point: Point) -> int:
        if point not in points:
            points.append(point)
        return points.index(point)

    naive = {**{k: v for k, v in point.items() if k != REPLAY}, "strategy": "naive"}
    run = naive if point.get(REPLAY) == "0" else point
    member = Member(_setting(point), _head(point), str(point["seed"]), number(run))
    if point["strategy"] != MLP:
        return member
    whole = {k: v for k, v in naive.items() if k != "scenario.task_order"}
    return replace(
        member,
        reinit=number({**run, REINIT: "true"}),
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
