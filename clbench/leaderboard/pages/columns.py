"""Which columns a board shows, which direction is good, and how their numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from clbench.configure.board import DIVISIONS, FIRST_DIVISIONS, Anchor, Board
from clbench.leaderboard.pages.summary import EntryRow
from clbench.results import metrics, tables
from clbench.results.tables import Column, Interval
from clbench.settings import switched_on
from clbench.util.files import read_text

COSTS = ("train_flops", "state_bytes")
"""The costs that rank on the Pareto front and have columns of their own."""


def by_key() -> dict[str, Column]:
    """The columns of all metrics and costs."""
    return {column.key: column for column in tables.columns()}


def primary(board: Board) -> Column:
    """The column that ranks, with a digit more than elsewhere."""
    return by_key()[board.primary]._replace(digits=2)


def others(board: Board, rows: Sequence[EntryRow]) -> list[Column]:
    """The other metrics of narrow tables, where any entry has a value."""
    return [
        column
        for column in tables.columns()
        if is_metric(column.key)
        and column.main
        and column.key != board.primary
        and any(row.ranked and row.values.get(column.key, (None,))[0] is not None for row in rows)
    ]


def is_metric(key: str) -> bool:
    """Whether it is a metric, not a cost."""
    return key in metrics.table()


def lower_is_better(key: str) -> bool:
    """Whether small values of a metric or cost are good."""
    metric = metrics.table().get(key)
    return metric is None or metric.lower_is_better


def explain(key: str) -> str:
    """One sentence on a metric or cost."""
    return by_key()[key].help


def definitions(board: Board, rows: Sequence[EntryRow]) -> list[tuple[str, str]]:
    """What each column of the narrow tables means."""
    costs = [by_key()[key] for key in COSTS]
    return tables.definitions([primary(board), *costs, *others(board, rows)])


def number(value: float | None, column: Column) -> str:
    """``97.3``, in the column's unit; a dash where undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    scaled = value * column.scale
    text = f"{scaled:.{column.digits}f}" if abs(scaled) < 1e12 else f"{scaled:.2e}"
    return "0" + text[2:] if text.startswith("-0") and float(text) == 0 else text


def with_interval(interval: Interval, column: Column) -> str:
    """``97.32 ± 0.61``; a dash where undefined."""
    text = number(interval.mean, column)
    if interval.half_width is None:
        return text
    return f"{text} ± {number(interval.half_width, column)}"


def cost(row: EntryRow, key: str) -> str:
    """A cost that ranks; a dash where it was not counted in full."""
    if not row.comparable_cost:
        return "–"
    return number(row.values[key].mean, by_key()[key])


def leads(row: EntryRow) -> bool:
    """Whether nothing is known to be better, on seeds that all were completed."""
    return row.rank_range is not None and row.rank_range[0] == 1 and not row.failed


def places(row: EntryRow) -> str:
    """``1–2``, or ``3`` where nothing else is left open."""
    if row.rank_range is None:
        return "–"
    low, high = row.rank_range
    return str(low) if low == high else f"{low}–{high}"


def test_set(board: Board, rows: Sequence[EntryRow]) -> str:
    """Test-set size and what one image is worth in percentage points."""
    sizes = sorted({row.test_images for row in rows if row.ranked and row.test_images})
    if not sizes:
        return "not known before the first entry"
    points = ", ".join(f"{100 / size:.3g}" for size in sizes)
    counts = ", ".join(f"{size:,}" for size in sizes)
    return f"{counts} images; one is worth {points} percentage points"


def facts(board: Board, rows: Sequence[EntryRow]) -> list[tuple[str, str]]:
    """What the protocol fixes, as pairs of a word and plain text."""
    column = primary(board)
    budget = {
        "epochs": board.budget.epochs,
        "batch size": board.budget.batch_size,
        "training samples": board.budget.samples,
        "training FLOPs": board.budget.train_flops,
    }
    spent = ", ".join(f"{k} {v:,}" for k, v in budget.items() if v is not None)
    points = [("floor", board.floor), ("naive", board.naive), *ceilings(board)]
    anchors = ", ".join(
        f"{what} {a.mean * column.scale:.1f} ({', '.join((a.strategy, *a.words))})"
        for what, a in points
    )
    return [
        ("Scenario", _group(board.settings.get("scenario"))),
        ("Data", _group(board.settings.get("data"))),
        ("Network", f"{_group(board.model)} ({_where_fixed(board)})"),
        ("Budget", spent or "none but the stream"),
        ("Primary", ": ".join(tables.definitions([column])[0])),
        ("Anchors", anchors),
        ("Test set", test_set(board, rows)),
        ("Seeds", " ".join(map(str, board.seeds))),
        ("Tuning", _tuning(board)),
        *((("Training", _pairs(board.training)),) if board.training else ()),
        ("Protocol", f"{board.protocol}, {board.sha256[:12]}"),
    ]


def ceilings(board: Board) -> list[tuple[str, Anchor]]:
    """The ceiling of each division; one alone where they are the same."""
    found = {name: board.ceiling_of(name) for name in board.divisions}
    if len({*found.values()}) <= 1:
        return [("ceiling", board.ceiling)]
    return [(f"ceiling of {name}", anchor) for name, anchor in found.items()]


def _where_fixed(board: Board) -> str:
    names = [name for name in board.divisions if name != "open"]
    return f"{' and '.join(names)} division{'s' if len(names) > 1 else ''}"


def _divisions(board: Board) -> str:
    """What each division of a board is for."""
    said = {**DIVISIONS, **FIRST_DIVISIONS} if "closed" in board.divisions else DIVISIONS
    return " ".join(f"{name.capitalize()}: {said[name]}." for name in board.divisions)


def _tuning(board: Board) -> str:
    """How settings are chosen."""
    seeds = f"on seeds {' '.join(map(str, board.tuning_seeds)) or 'none'}"
    if board.tuning is None:
        return f"free, {seeds}"
    part = f"the first {board.tuning.tasks} tasks" if board.tuning.tasks else "the whole stream"
    return f"{board.tuning.trials} trials of clbench tune for every entry, {seeds}, over {part}"


def _pairs(values: Mapping[str, object]) -> str:
    """What strategies are given that have the setting, unless the entrant says otherwise."""
    return ", ".join(f"{name} {_said(value)}" for name, value in values.items())


def _group(value: object) -> str:
    """``scole: n_tasks 1000, classes_per_task 2``, without what is off or unset."""
    if not isinstance(value, dict):
        return str(value)
    said = {k: v for k, v in switched_on(value).items() if v is not None and v != []}
    rest = ", ".join(f"{k} {_said(v)}" for k, v in said.items())
    return f"{value.get('name')}: {rest}" if rest else str(value.get("name"))


def _said(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def withdrawn(folder: Path) -> list[str]:
    """What was withdrawn and why: the items of a folder's ``withdrawn.md``, of a board or of all."""
    path = folder / "withdrawn.md"
    if not path.is_file():
        return []
    lines = read_text(path).splitlines()
    return [line[2:].strip() for line in lines if line.startswith("- ")]


def reading(board: Board) -> list[str]:
    """Notes on how to read the table, as plain sentences."""
    n = len(board.seeds)
    return [
        f"Scores are means over the board's {n} seeds ± the half width of a 95 % Student-t "
        "interval. A failed or missing seed scores 0 on the primary; it is not dropped, and "
        "leaves a wide interval and rank. Other columns average the seeds that were completed.",
        "A rank is the range of places compatible with the evidence: 1 + the entries "
        "significantly better, to n − the entries significantly worse. Entries learn the same "
        "streams, so pairs are compared seed by seed (paired t-test), and Holm's adjustment keeps "
        "the chance of any wrong claim within a division at 5 %. Divisions are ranked apart.",
        "★: on the Pareto front of its division: no entry is better on the primary, training FLOPs "
        "or state bytes without being worse on another. An entry with operations that could not be "
        "counted shows – and cannot be on the front.",
        "Nothing that an entry says of itself is evidence. An entry is ranked by the verifier's own "
        "counts, costs and platform, once every seed of the board was run again, isolated, with each "
        "prediction made by a process built from the state, and one seed on data drawn for that "
        "verification. Scores marked as claimed are those of the entry's own records.",
        "Tiers: self-reported (not checked), validated (every rule passed, metrics recomputed from "
        "counts: still a claim), reproduced 3/10 (the verifier found the same answers on 3 of 10 "
        "seeds), re-run 3/10 (it found other answers on another platform, and shows its own).",
        "Unstable: a learning rate × (1 + 1e-6), or another number of threads, moves the primary (rms "
        "over seeds) by more than half the standard deviation over seeds. No FLOPs rank: operations "
        "could not be counted, or the verifier measured more than 5 × the CPU seconds per counted "
        f"operation of {board.naive.strategy}.",
        _divisions(board),
        "The anchors are fixed with the protocol: floor, naive fine-tuning and joint training. On "
        "boards of protocol 1.0 joint is a compute-matched control and no upper bound: each task "
        "trains on as many samples as it has, drawn from all that were seen.",
    ]


def submit_commands(board: Board) -> str:
    """How to take part, as shell lines."""
    scenario = board.settings["scenario"]["name"]
    words = f"board={board.name} strategy=path/to/mine.py"
    if board.tuning is None:
        run = f"clbench run {words}\n"
    else:
        run = (
            f"clbench tune {words}\n"
            f"clbench run {words} tuned=runs/tuning/{board.name}-mine-5e6f7a8b.json   # as printed\n"
        )
    return (
        f"{run}"
        f"clbench submit runs/{scenario}/mine-1a2b3c4d --entry my-entry   # run printed it\n"
        "clbench validate && clbench leaderboard\n"
    )
