"""What ``memory_study.py`` runs: streams, strategies, and the sizes that budgets allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from clbench.build import Run, prepare
from clbench.config import resolve_point
from clbench.data.pool import Pool
from clbench.ledger import state_bytes
from clbench.record import Record
from clbench.sweep import sweep

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
    controls: tuple[str, ...] = ()
    """Names of controls that are run, too."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One line; colours are of Okabe and Ito's palette."""

    name: str
    words: tuple[str, ...]
    color: str
    marker: str
    sized: bool = True
    """Whether it has a memory whose size is set."""
    spared: str = ""
    """An entry of the state that the budget does not count, as if it could be done without."""


ENCODED = "encoder=efficientnet_lite0"
SPLIT = ("scenario=class_incremental", "data=mnist5k", "scenario.n_tasks=5")
SCOLE = ("scenario=scole", "data=mnist5k", "scenario.n_tasks=200", "scenario.share=0.25")
MLP, CNN = "model=mlp", "model=scole_cnn"
EPOCHS = ("strategy.epochs=5",)
SLOWER = ("er, lr 0.03", "derpp, lr 0.03")
SPARED = "kanerva fixed, keys spared"
STREAMS = (
    Stream("split-pixels", "Split MNIST, pixels", (*SPLIT, MLP), 5, 1, EPOCHS, (SPARED,)),
    Stream(
        *("split-latents", "Split MNIST, latents", (*SPLIT, MLP, ENCODED), 5, 1, EPOCHS),
        controls=(SPARED, *SLOWER),
    ),
    Stream("scole-pixels", "SCoLe MNIST, pixels", (*SCOLE, MLP), 200, 25),
    Stream("scole-latents", "SCoLe MNIST, latents", (*SCOLE, MLP, ENCODED), 200, 25),
    Stream("split-pixels-cnn", "Split MNIST, pixels, CNN", (*SPLIT, CNN), 5, 1, EPOCHS),
)
KANERVA = (
    Arm("kanerva map", ("strategy=kanerva",), "#D55E00", "o"),
    Arm("kanerva fixed", ("strategy=kanerva", "strategy.address=fixed"), "#E69F00", "D"),
    Arm("kanerva replay", ("strategy=kanerva", "strategy.mode=replay"), "#CC79A7", "v"),
)
GDUMB = Arm("gdumb", ("strategy=gdumb",), "#009E73", "P")
NAIVE = Arm("naive", ("strategy=naive",), "#777777", "x", sized=False)
OTHERS = (
    Arm("er", ("strategy=er",), "#0072B2", "s"),
    Arm("derpp", ("strategy=derpp",), "#56B4E9", "^"),
    GDUMB,
    NAIVE,
)
JOINT = Arm("joint", ("strategy=joint",), "#000000", "", sized=False)
ARMS = (*KANERVA, *OTHERS, JOINT)
CONTROLS = (
    Arm(SPARED, ("strategy=kanerva", "strategy.address=fixed"), "", "", spared="memory.keys"),
    Arm(SLOWER[0], ("strategy=er", "strategy.lr=0.03"), "", ""),
    Arm(SLOWER[1], ("strategy=derpp", "strategy.lr=0.03"), "", ""),
)
"""In the tables, not in the figure: what is the bytes' doing, and what another setting's."""

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
    """Words of all runs of an arm on a stream, but for the size and the seed."""
    if arm is GDUMB:  # trains for evaluations: one is enough
        return (*stream.words, *arm.words, f"eval_every={stream.n_tasks}")
    return (*stream.words, *arm.words, f"eval_every={stream.every}", *stream.training)


def one(words: Sequence[str], pools: Pools) -> Run:
    """The run that words ask for."""
    [point] = sweep(words)
    return prepare(resolve_point(point), pools)


def bytes_with(run: Run, spared: str, size: int) -> int:
    """Bytes of the whole state, but for what is spared, of a strategy whose memory has a size."""
    settings = dataclasses.replace(run.config.strategy, memory_size=size)
    sized = dataclasses.replace(run, config=dataclasses.replace(run.config, strategy=settings))
    state = sized.strategy().state_dict()
    return state_bytes({name: value for name, value in state.items() if name != spared})


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


def cells_of(stream: Stream, pools: Pools) -> Iterator[Cell]:
    """All strategies, with the sizes that fit."""
    for arm in (*ARMS, *(a for a in CONTROLS if a.name in stream.controls)):
        words = words_of(stream, arm)
        if not arm.sized:
            yield Cell(stream, arm, None, None, words)
            continue
        run = one(words, pools)
        for budget in BUDGETS:
            size = largest(partial(bytes_with, run, arm.spared), budget)
            yield Cell(stream, arm, budget, size, (*words, f"strategy.memory_size={size}"))
