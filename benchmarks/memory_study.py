"""Kanerva against replay at equal bytes: accuracy against everything a strategy keeps.

A memory of samples and a memory that is written by Bayesian inference are comparable at equal bytes
only, and of all of the state: network, memory and optimizer (``state_bytes``), since one of them may
do without the network. So each strategy gets, at each of four budgets, the largest memory with which
its whole state fits. Nothing is tuned: all settings but the size of the memory are defaults, and the
network is that of the boards (``mlp``, 64-64); one more stream has the convolutional network in its
place. A frozen encoder's bytes are the same for all and are not part of the budget.

Streams: class_incremental (5 tasks; 5 epochs for what has a network, gdumb its own 30 of its memory)
and scole (200 tasks of 2 classes, a quarter of their samples each), both of ``mnist5k``, of pixels
and of latents. Measured is the world accuracy after the last task.

Run by hand, ``python benchmarks/memory_study.py``; runs that are done are not run again, so it can be
broken off. It rewrites the part of ``docs/memory.md`` between its marks, and ``docs/memory.png``; the
text around them is written by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clbench.atomic import write_atomically
from clbench.build import Run, prepare
from clbench.config import resolve_point
from clbench.data.pool import Pool
from clbench.execute import Options, record_of, run_all
from clbench.ledger import state_bytes
from clbench.record import Record
from clbench.sweep import sweep
from clbench.tables import t_interval

BUDGETS = (250_000, 500_000, 1_000_000, 2_000_000)
"""Bytes of the whole state."""
DOCS = Path(__file__).parents[1] / "docs"
MARKS = "<!-- generated: begin -->", "<!-- generated: end -->"


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


ENCODED = "encoder=efficientnet_lite0"
SPLIT = ("scenario=class_incremental", "data=mnist5k", "scenario.n_tasks=5")
SCOLE = ("scenario=scole", "data=mnist5k", "scenario.n_tasks=200", "scenario.share=0.25")
MLP, CNN = "model=mlp", "model=scole_cnn"
EPOCHS = ("strategy.epochs=5",)
SLOWER = ("er, lr 0.03", "derpp, lr 0.03")
STREAMS = (
    Stream("split-pixels", "Split MNIST, pixels", (*SPLIT, MLP), 5, 1, EPOCHS),
    Stream("split-latents", "Split MNIST, latents", (*SPLIT, MLP, ENCODED), 5, 1, EPOCHS, SLOWER),
    Stream("scole-pixels", "SCoLe MNIST, pixels", (*SCOLE, MLP), 200, 25),
    Stream("scole-latents", "SCoLe MNIST, latents", (*SCOLE, MLP, ENCODED), 200, 25, (), SLOWER),
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
CONTROLS = tuple(
    Arm(name, (f"strategy={name.partition(',')[0]}", "strategy.lr=0.03"), "", "") for name in SLOWER
)
"""In the tables, not in the figure: the learning rate is not what tells the strategies apart."""

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


def bytes_with(run: Run, size: int) -> int:
    """Bytes of the whole state of a strategy whose memory has a size."""
    settings = dataclasses.replace(run.config.strategy, memory_size=size)
    sized = dataclasses.replace(run, config=dataclasses.replace(run.config, strategy=settings))
    return state_bytes(sized.strategy().state_dict())


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
            size = largest(partial(bytes_with, run), budget)
            yield Cell(stream, arm, budget, size, (*words, f"strategy.memory_size={size}"))


def run(cells: list[Cell], seeds: range, out: Path) -> None:
    """Run what has not been run; seed by seed, so that what is broken off can be compared."""
    wanted = [cell for cell in cells if cell.fits]
    points = [sweep([*c.words, f"seed={seed}"])[0] for seed in seeds for c in wanted]
    for done in run_all(points, Options(out, resume=True, quiet=True, tensorboard=False)):
        record = record_of(done)
        if record.status == "interrupted":
            raise SystemExit(130)
        if record.status != "completed":
            raise SystemExit(f"{done.folder}: {record.status}: {record.error}")


def collect(cells: list[Cell], seeds: range, out: Path, pools: Pools) -> None:
    """Enter the records of finished runs.

    Raises:
        SystemExit: a state went over its budget, or the arms did not meet the same stream.
    """
    streams: dict[int, str] = {}
    for cell, seed in itertools.product([c for c in cells if c.fits], seeds):
        path = one([*cell.words, f"seed={seed}"], pools).folder(out) / "record.json"
        if not path.exists():
            continue
        record = Record.load(path)
        if record.status != "completed":
            continue
        if cell.budget is not None and record.cost["state_bytes"] > cell.budget:
            raise SystemExit(f"{path}: {record.cost['state_bytes']} bytes of {cell.budget}")
        if streams.setdefault(seed, record.stream_sha256) != record.stream_sha256:
            raise SystemExit(f"{path}: met another stream than the others of seed {seed}")
        cell.records[seed] = record


def interval(values: Sequence[float], signed: bool = False) -> str:
    """``81.3 ± 2.0``; of a difference with its sign, bold where the interval leaves 0 out."""
    mean, half, _ = t_interval(values)
    if mean is None:
        return "–"
    text = f"{mean:+.1f}".replace("-", "−") if signed else f"{mean:.1f}"
    text += "" if half is None else f" ± {half:.1f}"
    return f"**{text}**" if signed and half is not None and abs(mean) > half else text


def row(name: str, values: Sequence[str]) -> str:
    """A line of Markdown's table."""
    return f"| {name} | " + " | ".join(values) + " |"


def head(name: str) -> list[str]:
    """The head of a table over budgets."""
    budgets = [f"{budget // 1000:,} kB" for budget in BUDGETS]
    return [row(name, budgets), "| --- |" + " ---: |" * len(BUDGETS)]


def along(cells: list[Cell], name: str) -> list[Cell]:
    """A strategy's cells, one per budget; the same one where it has no memory."""
    found = [cell for cell in cells if cell.arm.name == name]
    return found if len(found) > 1 else found * len(BUDGETS)


def difference(a: Cell, b: Cell) -> str:
    """Of two strategies' accuracies on the same seeds, a less b."""
    seeds = sorted(a.records.keys() & b.records.keys())
    values = [accuracy(a.records[s]) - accuracy(b.records[s]) for s in seeds]
    return interval(values, signed=True)


def means(cell: Cell, render: Callable[[list[Record]], str]) -> str:
    """What there is to say of a cell's runs, or a dash."""
    return render(list(cell.records.values())) if cell.records else "–"


def state(records: list[Record]) -> str:
    """Bytes of state, of the largest of the runs."""
    return f"{max(r.cost['state_bytes'] for r in records) / 1000:,.1f} kB"


def operations(cell: Cell, naive: Cell) -> str:
    """GFLOPs of training, as counted; of gdumb those of one training from scratch, calculated.

    Its training belongs to an evaluation, which the harness counts at some experiences only. Naive
    tells what training on a sample once takes.
    """
    if not cell.records or not naive.records:
        return "–"
    if cell.arm is not GDUMB:
        return f"{np.mean(cell.costs('train_flops')) / 1e9:.3g}"
    settings = next(iter(naive.records.values())).config["strategy"]
    passes = settings["epochs"] * sum(naive.costs("samples_delivered"))
    each = sum(naive.costs("train_flops")) / passes
    own = next(iter(cell.records.values())).config["strategy"]
    return f"{each * own['epochs'] * own['memory_size'] / 1e9:.3g}"


def tables(stream: Stream, cells: list[Cell], seeds: range) -> list[str]:
    """A stream's part of the page."""
    wanted = [cell for cell in cells if cell.fits]
    missing = len(wanted) * len(seeds) - sum(len(cell.records) for cell in wanted)
    lines = [f"### {stream.title}", "", "`" + " ".join((*stream.words, *stream.training)) + "`", ""]
    if missing:
        lines += [f"**Unfinished**: {missing} of {len(wanted) * len(seeds)} runs are missing.", ""]
    if missing == len(wanted) * len(seeds):
        return lines
    lines += head("world accuracy, %")
    sized = list(dict.fromkeys(cell.arm for cell in cells if cell.arm.sized))
    for arm in sized:
        values = [
            interval([accuracy(r) for r in c.records.values()]) for c in along(cells, arm.name)
        ]
        lines.append(row(arm.name, values))
    lines.append("")
    for name in ("naive", "joint"):
        cell = along(cells, name)[0]
        found = [accuracy(r) for r in cell.records.values()]
        if found:
            text = f"{interval(found)} with {state(list(cell.records.values()))} of state"
            lines += [f"`{name}`, which has no size to be set: {text}.", ""]
    lines += head("difference, points")
    for a, b in itertools.product(KANERVA, (*OTHERS, *sized[len(KANERVA) + 3 :])):
        pairs = zip(along(cells, a.name), along(cells, b.name), strict=True)
        lines.append(row(f"{a.name} − {b.name}", [difference(x, y) for x, y in pairs]))
    lines += ["", *head("rows or samples; state")]
    for arm in sized:
        sizes = along(cells, arm.name)
        lines.append(row(arm.name, [f"{c.size or 'none'}; {means(c, state)}" for c in sizes]))
    lines += ["", *head("GFLOPs of training")]
    [naive] = (cell for cell in cells if cell.arm is NAIVE)
    for arm in (*sized, NAIVE):
        lines.append(row(arm.name, [operations(c, naive) for c in along(cells, arm.name)]))
    return [*lines, ""]


def write_page(text: str, path: Path) -> None:
    """Put the tables between the marks of the page."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise SystemExit(f"{path.name}: has not both marks, {MARKS[0]} and {MARKS[1]}")
    write_atomically(path, f"{before}{begin}\n{text}\n{end}{after}".encode())


def apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights as near to those wanted as a gap between neighbours allows, in the same order."""
    order = np.argsort(wanted, kind="stable")
    groups: list[list[float]] = []  # of neighbours that touch: how many, and their mean height
    for height in np.asarray(wanted)[order]:
        groups.append([1, float(height)])
        while len(groups) > 1:
            (m, low), (n, high) = groups[-2:]
            if high - low >= gap * (m + n) / 2:
                break
            groups[-2:] = [[m + n, (m * low + n * high) / (m + n)]]
    heights = [mean + gap * (k - (n - 1) / 2) for n, mean in groups for k in range(int(n))]
    found = np.empty(len(heights))
    found[order] = heights
    return [float(height) for height in found]


def draw(panels: dict[Stream, list[Cell]], path: Path) -> None:
    """Accuracy against bytes of state, one panel per stream."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.4), layout="constrained")
    grid = figure.subplots(2, 3, sharex=True).flat
    # Columns: pixels, latents, the other network.
    order = [STREAMS[k] for k in (0, 1, 4, 2, 3)]
    for axes, stream in itertools.zip_longest(grid, order):
        if stream is None:
            axes.set_axis_off()
            note = (
                "Mean of the seeds, with 95 % intervals; logit scale.\n"
                "Solid: Kanerva; dashed: memories of samples.\n"
                "Cross: the network alone, without a memory.\n"
                "Dotted: joint, which keeps all data (more than 3 MB)."
            )
            axes.text(
                0, 0.9, note, transform=axes.transAxes, va="top", fontsize=10, color="#444444"
            )
        else:
            panel(axes, stream, panels[stream])
    figure.savefig(path, dpi=110)


def panel(axes: Any, stream: Stream, cells: list[Cell]) -> None:
    """One stream's lines, each labelled at its end."""
    axes.set_title(stream.title, loc="left", fontsize=11)
    axes.set_xscale("log")
    axes.set_yscale("logit")
    recurs = "scenario=scole" in stream.words
    axes.set(xlim=(110e3, 2.2e6), ylim=(0.35 if recurs else 0.13, 0.985))
    ticks = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98) if recurs else (0.2, 0.5, 0.8, 0.9, 0.95, 0.98)
    axes.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axes.set_xticks(BUDGETS, ["250 kB", "500 kB", "1 MB", "2 MB"], fontsize=9)
    axes.tick_params(labelbottom=True)
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="bytes of all state", ylabel="world accuracy at the end")
    ends = []
    for arm in ARMS:
        found = [c for c in cells if c.arm == arm and c.records]
        if not found:
            continue
        there = [t_interval([accuracy(r) / 100 for r in c.records.values()]) for c in found]
        y = np.array([i.mean for i in there], dtype=float)
        half = np.array([i.half_width or 0.0 for i in there])
        if arm is JOINT:
            axes.axhline(y[0], color=arm.color, lw=1, ls=":")
        else:
            x = [max(c.costs("state_bytes")) for c in found]
            error = [np.minimum(half, y - 0.01), np.minimum(half, 0.995 - y)]
            style = "-" if arm in KANERVA else "--"
            axes.errorbar(
                *(x, y, error),
                color=arm.color, marker=arm.marker, ls=style, lw=1.8, ms=6, elinewidth=1,
            )  # fmt: skip
            if not arm.sized:
                axes.plot([x[0], BUDGETS[-1]], [y[0], y[0]], color=arm.color, lw=0.8, ls=":")
        ends.append((arm, float(y[-1])))
    scale = axes.transData + axes.transAxes.inverted()
    wanted = [scale.transform((BUDGETS[-1], y))[1] for _, y in ends]
    for (arm, _), at, label in zip(ends, wanted, apart(wanted, 0.052), strict=True):
        axes.annotate(
            arm.name, (0.97, at), (1.04, label), "axes fraction", "axes fraction",
            color=arm.color, fontsize=9, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": arm.color, "lw": 0.6, "shrinkB": 3},
        )  # fmt: skip


def main() -> None:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [stream.name for stream in STREAMS]
    parser.add_argument("--out", type=Path, default=Path("runs/memory_study"))
    parser.add_argument("--seeds", type=int, default=5, help="from 100 on")
    parser.add_argument("--streams", nargs="*", choices=names, default=names, help="to be run")
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args()
    seeds = range(100, 100 + asked.seeds)
    pools: Pools = {}
    panels = {}
    for stream in STREAMS:
        cells = list(cells_of(stream, pools))
        if stream.name in asked.streams:
            run(cells, seeds, asked.out)
        collect(cells, seeds, asked.out, pools)
        panels[stream] = cells
    lines = [line for stream, cells in panels.items() for line in tables(stream, cells, seeds)]
    write_page("\n".join(["", *lines]), asked.docs / "memory.md")
    draw(panels, asked.docs / "memory.png")


if __name__ == "__main__":
    main()
