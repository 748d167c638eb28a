"""A sweep in hand: the records of several runs, as tables, figures, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean
from clbench.results import tables
from clbench.results.arms import by_arm, settings_of
from clbench.results.record import Record
from clbench.results.summary import rows_of
from clbench.util.text import as_html, counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ALWAYS = ("scenario.name", "strategy.name")
MOST_ROWS = 60
"""Arms that the table in a notebook shows."""


class Records(list[Record]):
    """A list of records, which ``clbench.run`` returns of a sweep."""

    def __repr__(self) -> str:
        completed = sum(r.status == "completed" for r in self)
        arms = by_arm(self)
        scenarios = counted(len({arm.scenario for arm in arms}), "scenario")
        whole = f"{counted(len(self), 'record')} of {counted(len(arms), 'arm')} in {scenarios}"
        return f"<{whole}, {completed} completed>"

    def _repr_html_(self) -> str:
        """The table of the arms; what strangers wrote is escaped."""
        rows = rows_of(by_arm(self))
        shown = tables.narrow(rows)
        head, body = tables.cells(rows, shown)
        best, first = tables.best(rows, shown), len(head) - len(shown)
        keys = [*[""] * first, *(c.key for c in shown)]
        lines = []
        for at, line in enumerate(body[:MOST_ROWS]):
            texts = [
                f"<b>{as_html(text)}</b>" if (at, key) in best else as_html(text)
                for key, text in zip(keys, line, strict=True)
            ]
            lines.append("<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>")
        heads = "".join(f"<th>{as_html(text)}</th>" for text in head)
        more = f"; {len(body) - MOST_ROWS} more arms" if len(body) > MOST_ROWS else ""
        about = f"{as_html(repr(self)[1:-1])}; {tables.INTERVAL} over n seeds{more}"
        table = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
        return f"<p>{about}</p><table>{table}</table>"

    def frame(self) -> pd.DataFrame:
        """A row for each run: scenario, strategy, settings that differ, seed, status, all numbers.

        Numbers are in base units: shares, operations, bytes, seconds; NaN where undefined.
        """
        import pandas as pd

        every = [settings_of(r.config) for r in self]
        keys = [*dict.fromkeys(key for mine in every for key in mine)]
        varied = [k for k in keys if k not in (*ALWAYS, "seed") and self._varies(every, k)]
        rows = []
        for record, mine in zip(self, every, strict=True):
            numbers = {c.key: record.metric(c.key) for c in tables.columns()}
            rows.append(
                {
                    "scenario": mine["scenario.name"],
                    "strategy": mine["strategy.name"],
                    **{k.removesuffix(".name"): _hashable(mine.get(k)) for k in varied},
                    "seed": record.seed,
                    "status": record.status,
                    **{k: float("nan") if v is None else v for k, v in numbers.items()},
                }
            )
        return pd.DataFrame(rows)

    def plot(self, kind: str = "curves") -> Figure:
        """A figure of the completed runs, a panel for each scenario or arm.

        Args:
            kind: ``curves``, ``matrix``, ``forgetting``, ``classes``, ``confusion``, ``bytes`` or
                ``operations``, as of ``clbench results --plot-kind``.

        Raises:
            UsageError: there is no such kind, or the records lack what it draws.
        """
        from clbench.results import panels

        if kind not in panels.KINDS:
            hint = did_you_mean(kind, panels.KINDS)
            raise UsageError(f"plot({kind!r}): one of {', '.join(panels.KINDS)}{hint}")
        return panels.draw(self, kind)

    def best(self, metric: str = "world_accuracy") -> Records:
        """The runs of the arm whose mean over completed seeds is the best.

        Args:
            metric: a metric or cost, such as ``forgetting``, of which the lowest is the best.

        Raises:
            UsageError: there is no such metric, no run has it, or several scenarios are in it.
        """
        arms = by_arm(self)
        scenarios = sorted({arm.scenario for arm in arms})
        if len(scenarios) > 1:
            raise UsageError(
                f"best({metric!r}) of several scenarios ({', '.join(scenarios)}): choose one: "
                'records.by("scenario")[...]'
            )
        column = tables.named(metric, "best:")
        means = [(row.values[column.key].mean, at) for at, row in enumerate(rows_of(arms))]
        known = [(mean, -at) for mean, at in means if mean is not None]
        if not known:
            raise UsageError(f"best({metric!r}): no completed run has a value of it")
        sign = 1.0 if column.better == "higher" else -1.0
        _, at = max((sign * mean, at) for mean, at in known)
        return Records(arms[-at].records)

    def by(self, setting: str) -> dict[Any, Records]:
        """The runs by the value of a setting, in order of appearance.

        Args:
            setting: as on the command line: ``strategy``, ``strategy.lr``, ``data``, ``seed``.

        Raises:
            UsageError: no run has it.
        """
        found: dict[Any, Records] = {}
        known: dict[str, None] = {}
        for record in self:
            mine = {**settings_of(record.config), "seed": record.seed, "status": record.status}
            mine |= {k.removesuffix(".name"): v for k, v in mine.items() if k.endswith(".name")}
            known |= dict.fromkeys(mine)
            if setting in mine:
                found.setdefault(_hashable(mine[setting]), Records()).append(record)
        if not found:
            raise UsageError(f"by({setting!r}): no run has it{did_you_mean(setting, known)}")
        return found

    @staticmethod
    def _varies(every: Sequence[dict[str, Any]], key: str) -> bool:
        return len({repr(mine.get(key)) for mine in every}) > 1


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) else value
