"""Kanerva against replay at equal bytes: accuracy against everything a strategy keeps.

A memory of samples and a memory that is written by Bayesian inference are comparable at equal bytes
only, and of all of the state: network, memory and optimizer (``state_bytes``), since one of them may
do without the network. So each strategy gets, at each of four budgets, the largest memory with which
its whole state fits. Every strategy's settings are chosen first, on validation data and other seeds,
from as many combinations (``memory_tune.py``). The network is that of the boards (``mlp``, 64-64). A
frozen encoder's bytes are the same for all and are not part of the budget.

Streams: class_incremental (5 tasks; 5 epochs for what has a network, gdumb its own of its memory) and
scole (100 tasks of 2 classes, a quarter of their samples each), both of ``mnist5k``, of pixels and of
latents. Measured is the world accuracy after the last task.

Run by hand, ``python benchmarks/memory_study.py``; runs that are done are not run again, so it can be
broken off. It rewrites the part of ``docs/memory.md`` between its marks, and ``docs/memory.png``; the
text around them is written by hand. With ``--streams`` it runs these, prints their tables, and
leaves the page as it is.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from memory_figure import Line, Panel, draw
from memory_grid import (
    ARMS,
    BUDGETS,
    JOINT,
    KANERVA,
    NAIVE,
    OTHERS,
    SEEDS,
    STREAMS,
    Cell,
    Pools,
    Stream,
    accuracy,
    cells_of,
    one,
    words_of,
)
from memory_runs import records_of
from memory_tune import Choice, choose, table

from clbench.engine.resolved import resolved
from clbench.results.record import Record
from clbench.results.tables import t_interval
from clbench.util.atomic import write_atomically

DOCS = Path(__file__).parents[1] / "docs"
MARKS = "<!-- generated: begin -->", "<!-- generated: end -->"
COMMAND = "<!-- command: python benchmarks/memory_study.py -->"


def run(cells: list[Cell], out: Path, pools: Pools) -> None:
    """Run what has not been run, and enter the records.

    Raises:
        SystemExit: a run failed, a state went over its budget, or the arms did not meet the same
            stream.
    """
    pairs = [(seed, cell) for seed in SEEDS for cell in cells if cell.fits]
    many = [(*cell.words, f"seed={seed}") for seed, cell in pairs]
    streams: dict[int, str] = {}
    for (seed, cell), record in zip(pairs, records_of(many, out, pools), strict=True):
        what = f"{cell.stream.name}, {cell.arm.name}, {cell.budget} bytes, seed {seed}"
        if record.status != "completed":
            raise SystemExit(f"{what}: {record.status}: {record.error}")
        used = record.cost["state_bytes"]
        if cell.budget is not None and used > cell.budget:
            raise SystemExit(f"{what}: keeps {used} bytes")
        if streams.setdefault(seed, record.stream_sha256) != record.stream_sha256:
            raise SystemExit(f"{what}: met another stream than the others")
        cell.records[seed] = record


def regression(stream: Stream, pools: Pools) -> str:
    """A control that no order and no memory size touches: ridge regression on all of the stream.

    On samples brought to root mean square 1, with the ridge 1, as ``mode=classifier`` has them; its
    state are the two sums of products, in float64.
    """
    run = one([*words_of(stream, KANERVA[0]), f"seed={SEEDS[0]}"], pools)
    n, width = run.stream.n_classes, int(np.prod(run.info().input_shape))

    def samples(x: torch.Tensor) -> torch.Tensor:
        z = x.flatten(1).double()
        scaled: torch.Tensor = torch.nn.functional.normalize(z) * width**0.5
        return scaled

    gram, moment = torch.eye(width).double(), torch.zeros(width, n).double()
    for k in range(stream.n_tasks):
        task = run.stream.experience(k)
        z = samples(task.x)
        gram += z.mT @ z
        moment += z.mT @ torch.eye(n).double()[task.y]
    world = run.stream.world()
    answers = (samples(world.x) @ torch.linalg.solve(gram, moment)).argmax(1)
    right = 100 * float((answers == world.y).double().mean())
    kept = (gram.nbytes + moment.nbytes) / 1000
    return f"Ridge regression on the whole stream, a control: {right:.1f} with {kept:,.1f} kB."


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


def operations(cell: Cell) -> str:
    """GFLOPs of training, as counted: of gdumb, those of its one training for the last evaluation."""
    return f"{np.mean(cell.costs('train_flops')) / 1e9:.3g}" if cell.records else "–"


def tables(stream: Stream, cells: list[Cell], choices: list[Choice], control: str) -> list[str]:
    """A stream's part of the page."""
    words = (*stream.words, *stream.training)
    lines = [f"### {stream.title}", "", f"`{' '.join(words)}`", "", *_resolved(words), ""]
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
    lines += [control, ""]
    lines += head("difference, points")
    for a, b in itertools.product(KANERVA, OTHERS):
        pairs = zip(along(cells, a.name), along(cells, b.name), strict=True)
        lines.append(row(f"{a.name} − {b.name}", [difference(x, y) for x, y in pairs]))
    lines += ["", *head("rows or samples; state")]
    for arm in sized:
        sizes = along(cells, arm.name)
        lines.append(row(arm.name, [f"{c.size or 'none'}; {means(c, state)}" for c in sizes]))
    lines += ["", *head("GFLOPs of training")]
    for arm in (*sized, NAIVE):
        lines.append(row(arm.name, [operations(c) for c in along(cells, arm.name)]))
    return [*lines, "", *table(choices), ""]


def _resolved(words: Sequence[str]) -> list[str]:
    """What the words resolve to, with the strategies of the study."""
    names = dict.fromkeys(w.partition("=")[2] for arm in ARMS for w in arm.words[:1])
    asked = [*words, "strategy=" + ",".join(names)]
    return [f"<!-- resolved: {' '.join(asked)} -->", *resolved(asked)]


def write_page(text: str, path: Path) -> None:
    """Put the tables between the marks of the page."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise SystemExit(f"{path.name}: has not both marks, {MARKS[0]} and {MARKS[1]}")
    write_atomically(path, f"{before}{begin}\n{text}\n{end}{after}".encode())


def panel(stream: Stream, cells: list[Cell]) -> Panel:
    """A stream's part of the figure."""
    lines = []
    for arm in ARMS:
        found = [cell for cell in cells if cell.arm == arm and cell.records]
        if not found:
            continue
        lines.append(
            Line(
                arm.name,
                arm.color,
                arm.marker,
                "-" if arm in KANERVA else "--",
                [int(max(c.costs("state_bytes"))) for c in found] if arm is not JOINT else [],
                *_means([[accuracy(r) / 100 for r in c.records.values()] for c in found]),
            )
        )
    return Panel(stream.title, lines, 0.25 if "scenario=scole" in stream.words else 0.13)


def _means(values: list[list[float]]) -> tuple[list[float], list[float]]:
    there = [t_interval(v) for v in values]
    return [i.mean or 0.0 for i in there], [i.half_width or 0.0 for i in there]


def main() -> None:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [stream.name for stream in STREAMS]
    parser.add_argument("--out", type=Path, default=Path("runs/memory_study"))
    parser.add_argument(
        "--streams", nargs="*", choices=names, help="run and print these, write no page"
    )
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args()
    pools: Pools = {}
    panels: list[Panel] = []
    lines = ["", COMMAND, ""]
    for stream in STREAMS:
        if asked.streams and stream.name not in asked.streams:
            continue
        choices = [choose(stream, arm, asked.out, pools) for arm in ARMS]
        cells = [c for k in choices for c in cells_of(stream, k.arm, k.best[0], pools)]
        run(cells, asked.out, pools)
        panels.append(panel(stream, cells))
        lines += tables(stream, cells, choices, regression(stream, pools))
    if asked.streams:
        print("\n".join(lines))
    else:
        write_page("\n".join(lines), asked.docs / "memory.md")
        draw(panels, BUDGETS, asked.docs / "memory.png")


if __name__ == "__main__":
    main()
