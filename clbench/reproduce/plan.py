"""From a reproduction to runs, and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.errors import UsageError
from clbench.reproduce.form import RowForm
from clbench.reproduce.shelf import Reproduction


@dataclass(frozen=True)
class Planned:
    """A row and its runs, one a seed."""

    row: RowForm
    words: tuple[str, ...]
    """Without the seed."""
    seeds: int

    def points(self) -> list[dict[str, Any]]:
        """One ``{key: value}`` for each seed.

        Raises:
            UsageError: a word is wrong, or sweeps.
        """
        found = [p for n in range(self.seeds) for p in sweep([*self.words, f"seed={n}"])]
        if len(found) != self.seeds:
            raise UsageError(f"row {self.row.name}: its words ask for several runs a seed")
        return found


def plan(of: Reproduction, only: Sequence[str] = (), small: bool = False) -> list[Planned]:
    """The rows to run: all that can be, or those named, with the rows that they are divided by.

    Raises:
        UsageError: a named row does not exist or cannot be run, or there is no small form.
    """
    form = of.form
    if small and form.small is None:
        raise UsageError(f"{of.name} --small: it has no small form; run it as it is")
    named = [of.row(name) for name in only]
    for row in named:
        if row.missing:
            raise UsageError(f"{of.name} --only {row.name}: cannot be run, {row.missing}")
    wanted = named or [row for row in form.rows if not row.missing]
    beside = {row.over for row in wanted}
    rows = [row for row in form.rows if row in wanted or row.name in beside]
    seeds = form.small.seeds if small and form.small is not None else form.seeds
    return [Planned(row, tuple(words(of, row, small)), seeds) for row in rows]


def words(of: Reproduction, row: RowForm, small: bool) -> list[str]:
    """The words of a row: those of the file, of the row and, in small, of that; the last one counts."""
    extra = of.form.small.words if small and of.form.small is not None else []
    given = {word.partition("=")[0]: word for word in (*of.form.words, *row.words, *extra)}
    return list(given.values())


def lacking(of: Reproduction, small: bool = False) -> list[str]:
    """Why the runs cannot start here, a line each; none where all data are found.

    Data that are there are read; what is drawn lacks nothing, and may be too large to draw for this.
    """
    found: dict[str, None] = {}
    seen: dict[str, object] = {}
    for planned in plan(of, small=small):
        try:
            data = resolve_point(planned.points()[0]).data
            if repr(data) not in seen and data.fresh(0) is None:
                seen[repr(data)] = data.arrays()
        except UsageError as error:
            found[str(error)] = None
    return list(found)
