"""What ``memory_study.py`` runs: streams, strategies, their grids, and the sizes that budgets allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.data.pool import Pool
from clbench.engine.build import Run, prepare
from clbench.engine.harness import run_stream, start_ledger
from clbench.engine.ledger import state_bytes
from clbench.results.record import Record

SEEDS = range(5)
BUDGETS = (250_000, 500_000, 1_000_000, 2_000_000)
"""Bytes of the whole state."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """One panel."""

    name: str
    title: str
    words: tuple[str, ...]
    n_tasks: int
    every: int
    """Tasks between evaluations; only the last one is shown."""
    training: tuple[str, ...] = ()
    """Words for the strategies that train on the stream itself."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One line; colours are of Okabe and Ito's palette."""

    name: str
    words: tuple[str, ...]
    grid: tuple[str, ...]
    """Settings to be chosen from: four combinations; without a memory, two."""
    color: str
    marker: str
    sized: bool = True
    """Whether it has a memory whose size is set."""


MLP, ENCODED = "model=mlp", "encoder=efficientnet_lite0"
SPLIT = ("scenario=class_incremental", "data=mnist5k", "scenario.n_tasks=5", MLP)
SCOLE = ("scenario=scole", "data=mnist5k", "scenario.n_tasks=100", "scenario.share=0.25", MLP)
EPOCHS = ("strategy.epochs=5",)
STREAMS = (
    Stream("split-pixels", "Split MNIST, pixels", SPLIT, 5, 1, EPOCHS),
    Stream("split-latents", "Split MNIST, latents", (*SPLIT, ENCODED), 5, 1, EPOCHS),
    Stream("scole-pixels", "SCoLe MNIST, pixels", SCOLE, 100, 25),
    Stream("scole-latents", "SCoLe MNIST, latents", (*SCOLE, ENCODED), 100, 25),
)
RATES = "strategy.lr=0.03,0.1"
MAP = ("strategy.noise=0.3,1", "strategy.prior_std=0.3,1")
FIXED = ("strategy.noise=0.3,1,3,10",)
REPLAY = (RATES, "strategy.replays=32,128")
KANERVA = (
    Arm("kanerva map", ("strategy=kanerva",), MAP, "#D55E00", "o"),
    Arm("kanerva fixed", ("strategy=kanerva", "strategy.address=fixed"), FIXED, "#E69F00", "D"),
    Arm("kanerva replay", ("strategy=kanerva", "strategy.mode=replay"), REPLAY, "#CC79A7", "v"),
)
GDUMB = Arm("gdumb", ("strategy=gdumb",), (RATES, "strategy.memory_epochs=30,60"), "#009E73", "P")
NAIVE = Arm("naive", ("strategy=naive",), (RATES,), "#777777", "x", sized=False)
OTHERS = (
    Arm("er", ("strategy=er",), (RATES, "strategy.replay_batch=32,64"), "#0072B2", "s"),
    Arm("derpp", ("strategy=derpp",), (RATES, "strategy.alpha=0.2,0.5"), "#56B4E9", "^"),
    GDUMB,
    NAIVE,
)
JOINT = Arm("joint", ("strategy=joint",), (RATES,), "#000000", "", sized=False)
ARMS = (*KANERVA, *OTHERS, JOINT)

Pools = dict[Any, Pool]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A strategy on a stream under a budget."""

    stream: Stream
    arm: Arm
    budget: int | None
    """None: a strategy whose state is what it is."""
    size: int | None
    """Samples, or rows of a Kanerva memory; None: not even one fits, or there is no memory."""
    words: tuple[str, ...]
    records: dict[int, Record] = dataclasses.field(default_factory=dict)
    """By seed; of runs that were not completed there is none."""

    @property
    def fits(self) -> bool:
        """Whether there is anything to run."""
        return self.size is not None or not self.arm.sized

    def costs(self, name: str) -> list[float]:
        """One cost, of every run."""
        return [record.cost[name] for record in self.records.values()]


def accuracy(record: Record) -> float:
    """World accuracy after the last task, in %."""
    value = record.metric("world_accuracy")
    assert value is not None
    return 100 * value


def words_of(stream: Stream, arm: Arm) -> tuple[str, ...]:
    """Words of all runs of an arm on a stream, but for what is chosen, the size and the seed."""
    if arm is GDUMB:  # trains for evaluations: one is enough
        return (*stream.words, *arm.words, f"eval_every={stream.n_tasks}")
    return (*stream.words, *arm.words, f"eval_every={stream.every}", *stream.training)


def one(words: Sequence[str], pools: Pools) -> Run:
    """The run that words ask for."""
    [point] = sweep(words)
    return prepare(resolve_point(point), pools)


def sized(run: Run, size: int) -> Run:
    """The same run with a memory of a size."""
    settings = dataclasses.replace(run.config.strategy, memory_size=size)
    return dataclasses.replace(run, config=dataclasses.replace(run.config, strategy=settings))


def bytes_with(run: Run, size: int, held: int = 0) -> int:
    """Bytes of the whole state of a strategy whose memory has a size, and ``held`` bytes besides."""
    return held + state_bytes(sized(run, size).strategy().state_dict())


def held_while_learning(run: Run, size: int) -> int:
    """Bytes that it holds only while it learns, as the ledger counts them over the whole stream."""
    tried = sized(run, size)
    strategy = tried.strategy()
    before = state_bytes(strategy.state_dict())
    return run_stream(tried, strategy, start_ledger(tried)).ledger.state_bytes - before


def largest_held(runs: Sequence[Run], budget: int) -> int | None:
    """A size with which all that any run ever holds is within the budget; None: 1 is not.

    It is the largest, or one that leaves at most a hundredth of the budget.
    """

    def held(size: int) -> int:
        return max(held_while_learning(run, size) for run in runs)

    def total(size: int) -> int:
        return bytes_with(runs[0], size, held(size)) if size else 0

    size = largest(partial(bytes_with, runs[0]), budget)
    if size is None:
        return None
    if (high_total := total(size)) <= budget:
        return size
    low, low_total, high = 0, 0, size
    while high - low > 1 and (not low or budget - low_total > budget / 100):
        # Bytes grow about evenly with the size.
        share = (budget - low_total) / (high_total - low_total)
        middle = min(high - 1, max(low + 1, low + int(share * (high - low))))
        found = total(middle)
        if found <= budget:
            low, low_total = middle, found
        else:
            high, high_total = middle, found
    return low or None


def largest(bytes_of: Callable[[int], int], budget: int) -> int | None:
    """The largest size whose bytes, which grow with it, are within the budget; None: 1 is not."""
    if bytes_of(1) > budget:
        return None
    low = 1
    while bytes_of(2 * low) <= budget:
        low *= 2
    high = 2 * low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bytes_of(middle) <= budget else (low, middle)
    return low


def cells_of(stream: Stream, arm: Arm, chosen: Sequence[str], pools: Pools) -> Iterator[Cell]:
    """A strategy with the settings chosen for it, and with the sizes that fit."""
    words = (*words_of(stream, arm), *chosen)
    if not arm.sized:
        yield Cell(stream, arm, None, None, words)
        return
    # What is held depends on how many samples the tasks have, and on whether they come again: derpp
    # holds more from the second epoch on. Further epochs hold no more.
    brief = [
        *(w for w in words if w not in stream.training),
        *["strategy.epochs=2"] * len(stream.training),
    ]
    runs = [one([*brief, f"seed={seed}"], pools) for seed in SEEDS]
    for budget in BUDGETS:
        size = largest_held(runs, budget)
        yield Cell(stream, arm, budget, size, (*words, f"strategy.memory_size={size}"))
