"""What the checks of strategies train on: small streams, and learning as the harness does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clbench import seeding
from clbench.checks.finding import Failed
from clbench.checks.pools import N_CLASSES, VECTOR, Kind, blobs
from clbench.configure.config import resolve_point
from clbench.data.pool import Pool
from clbench.engine.build import Run, check_needs
from clbench.errors import UsageError
from clbench.plugins.registry import Plugin, find, stand_in
from clbench.seeding import Axis
from clbench.strategy import Strategy
from clbench.stream import Stream, Task

IDENTITY = tuple(range(N_CLASSES))
COMMON = ("precision", "device")
"""Settings of no group that ``Plugin.given`` may have, beside those of the strategy and ``model``'s."""


@dataclass(frozen=True)
class Trial:
    """A small stream, and how many of its experiences are run."""

    name: str
    stream: Stream
    experiences: int


def device_of(plugin: Plugin) -> str:
    """The device that a plug-in is tried on."""
    return str(dict(plugin.given).get("device", "cpu"))


def trials(
    kind: Kind = "images", order: tuple[int, ...] = IDENTITY, device: str = "cpu"
) -> list[Trial]:
    """One stream of every sort.

    ``recurring``: two random classes a task, as in SCoLe; ``chunked``: the same, endless, cut into
    pieces with hidden boundaries; ``disjoint``, without task ids and with them: three disjoint
    tasks.

    Args:
        kind: of the pool.
        order: what each class is called; the samples of task t are the same under any.
        device: of the pool.
    """
    pool = blobs(kind, order, device)

    def named(classes: tuple[int, ...]) -> Task:
        return Task(tuple(sorted(order[c] for c in classes)))

    def recurring(t: int) -> Task:
        drawn = np.random.default_rng((11, t)).choice(N_CLASSES, 2, replace=False)
        return named(tuple(int(c) for c in drawn))

    def disjoint(t: int) -> Task:
        return named((2 * t, 2 * t + 1))

    again = _stream(pool, recurring, 12)
    chunk = pool.size("train") * 5 // 36  # a third chunk of every task is smaller
    once = replace(_stream(pool, disjoint, 3), disjoint=True)
    return [
        Trial("recurring", again, 12),
        Trial("chunked", replace(again, n_tasks=None, chunk=chunk), 18),
        Trial("disjoint", once, 3),
        Trial("disjoint with task ids", replace(once, task_ids=True), 3),
    ]


def short(trial: Trial, per_class: int) -> Trial:
    """The same sort of stream with so many samples of each class, cut into chunks as before."""
    stream, pool = trial.stream, trial.stream.pool

    def plan(t: int) -> Task:
        classes = stream.plan(t).classes
        labels = pool.labels("train")
        parts = [np.flatnonzero(labels == label)[:per_class] for label in classes]
        return Task(classes, index=np.concatenate(parts))

    chunk = stream.chunk and stream.chunk * N_CLASSES * per_class // pool.size("train")
    return replace(trial, stream=replace(stream, plan=plan, chunk=chunk))


def narrow(trial: Trial, index: np.ndarray | None = None) -> Trial:
    """The same sort of stream with one class a task, or with these samples of it alone."""
    pool = trial.stream.pool

    def plan(t: int) -> Task:
        label = t % N_CLASSES
        if index is None:
            return Task((label,))
        return Task((label,), index=np.flatnonzero(pool.labels("train") == label)[index])

    n = None if trial.stream.n_tasks is None else N_CLASSES
    return replace(trial, stream=replace(trial.stream, plan=plan, n_tasks=n), experiences=4)


def _stream(pool: Pool, plan: Callable[[int], Task], n_tasks: int) -> Stream:
    labels = tuple(range(pool.n_classes))
    return Stream(pool=pool, seed=0, plan=plan, n_tasks=n_tasks, labels=labels)


def fitting(
    plugin: Plugin, kind: Kind = "images", order: tuple[int, ...] = IDENTITY
) -> list[Trial]:
    """The trials that the strategy's ``needs`` allow.

    Raises:
        Failed: there is none.
    """
    strategy: type[Strategy] = plugin.load()
    made = trials(_taken(plugin, kind), order, device_of(plugin))
    found = [trial for trial in made if not lacks(strategy, trial.stream)]
    if not found:
        raise Failed(f"needs={strategy.needs}: no sort of stream gives all of it; ask for less")
    return found


def _taken(plugin: Plugin, kind: Kind) -> Kind:
    """The kind of samples, or images where the model that is tried with takes nothing else."""
    model = dict(plugin.given).get("model")
    if model is not None and kind != "images":
        try:
            find("model", str(model)).load()().build(VECTOR, N_CLASSES, 1.0)
        except UsageError:
            return "images"
    return kind


def lacks(strategy: type[Strategy], stream: Stream) -> bool:
    """Whether the stream is refused for what it does not give."""
    try:
        check_needs(strategy, stream, "")
    except UsageError:
        return True
    return False


def make_run(
    plugin: Plugin, stream: Stream, settings: Mapping[str, Any] | None = None, model: str = "mlp"
) -> Run:
    """A run of the strategy over a stream, with default settings but for those given."""
    chosen = {**dict(plugin.given), **(settings or {})}
    given = {
        n if n in COMMON or n.startswith("model") else f"strategy.{n}": value
        for n, value in chosen.items()
    }
    # The scenario and the data of these settings are not used: the stream is already there.
    scenario = stand_in("scenario").word
    point = {"scenario": scenario, "strategy": plugin.word, "model": model, **given}
    config = resolve_point(point)
    return Run(config, stream, plugin.load(), stream.pool.device, {}, {}, {})


def learn(run: Run, strategy: Strategy, start: int, stop: int) -> None:
    """Experiences ``start`` to ``stop - 1``, each as the harness would deliver it.

    It is prepared for an evaluation after the 1st, 2nd, 4th, 8th, ... and the last of them, as under
    ``eval_every=log``: some strategies do all their training there.
    """
    for number in range(start, stop):
        task = run.stream.experience(number)
        seeding.seed_all(run.config.common.seed, Axis.LEARN, number)
        strategy.learn(task)
        if number + 1 == stop or (number + 1).bit_count() == 1:
            strategy.prepare()
