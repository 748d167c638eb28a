"""Columns of tables and boards: those of all metrics, then those of the costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from clbench.metric import Metric
from clbench.results import metrics

if TYPE_CHECKING:
    from clbench.results.tables import Interval


class Column(NamedTuple):
    """How a metric or cost is shown."""

    key: str
    title: str
    scale: float = 1.0
    digits: int = 1
    main: bool = True
    """Whether the narrow tables show it; csv and json show all."""
    everywhere: bool = True
    """Whether narrow tables and boards have it even where no row has a value."""
    help: str = ""
    """One sentence that defines it."""
    dash: str = ""
    """Why a finished run may have no value."""
    span: tuple[float, float] = (-math.inf, math.inf)
    """The least and the largest possible value, before scaling."""
    better: Literal["higher", "lower", ""] = "lower"
    """Which values are good; empty where none are, such as seconds, which no machine repeats."""


COST_COLUMNS = (
    Column(
        "train_flops",
        "train GFLOP",
        1e-9,
        2,
        help="Floating-point operations of training; no matter on what machine.",
    ),
    Column("predict_flops", "predict GFLOP", 1e-9, 2, main=False),
    Column("encode_flops", "encode GFLOP", 1e-9, 2, everywhere=False),
    Column(
        "state_bytes",
        "state kB",
        1e-3,
        help="Largest size of all that the strategy carries from one experience to the next.",
    ),
    Column("memory_bytes", "memory kB", 1e-3, main=False),
    Column("frozen_bytes", "frozen kB", 1e-3, main=False),
    Column("samples_delivered", "samples", 1, 0, main=False),
    Column("updates", "updates", 1, 0, main=False),
    Column(
        "train_seconds",
        "train s",
        1,
        2,
        dash="every experience was counted for its operations, which takes longer than training "
        "(runs of one or two experiences, and realtime)",
        better="",
    ),
    Column("predict_seconds", "predict s", 1, 2, main=False, better=""),
    Column("harness_seconds", "harness s", 1, 2, main=False, better=""),
    Column("peak_rss_bytes", "peak MB", 1e-6, 0, main=False, better=""),
)


COST_SPAN = (0.0, math.inf)


def columns() -> list[Column]:
    """The columns of all metrics in the table, then those of the costs."""
    return [
        *map(_column, metrics.table().values()),
        *(c._replace(span=COST_SPAN) for c in COST_COLUMNS),
    ]


def _column(metric: Metric) -> Column:
    percent = metric.unit == "%"
    return Column(
        metric.name,
        f"{metric.title} {metric.unit}".rstrip(),
        scale=100 if percent else 1,
        digits=1 if percent else 3,
        main=metric.main,
        everywhere=metric.everywhere,
        help=metric.help,
        span=metric.span or (-math.inf, math.inf),
        better="lower" if metric.lower_is_better else "higher",
    )


def definitions(shown: Iterable[Column]) -> list[tuple[str, str]]:
    """The title and definition of each column that has one."""
    return [
        (c.title, c.help.removeprefix(f"{c.title.partition(' ')[0]}: ")) for c in shown if c.help
    ]


def columns_of(rows: Iterable[Mapping[str, Interval]]) -> list[Column]:
    """The columns of a board or narrow table whose rows have these values."""
    known = {key for values in rows for key, interval in values.items() if interval.n}
    return [c for c in columns() if c.everywhere or c.key in known]
