"""``docs/reproductions.md``: every published number with ours beside it, misses included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clbench.reproduce.compare import Compared, compare, current, load, results_path
from clbench.reproduce.shelf import Reproduction
from clbench.util.text import as_markdown

HEAD = """# Reproductions

Published numbers beside ours. `clbench reproduce` lists them with what each needs; `clbench reproduce
NAME` runs one and prints both; `clbench reproduce --write` writes this page from the results. A row is
*inside* if the two means differ by no more than its tolerance, and else a *miss*; misses stay. Numbers
are accuracies in percent, ours with the standard deviation over seeds. *Origin* says where the
published number was read: in the paper, in the authors' README, in a log of somebody who ran the
authors' code again, or off a figure. A row *in small* is a run on other data, for tests: it is
comparable with nothing. How to add one: [CONTRIBUTING.md](../CONTRIBUTING.md).
"""


def page(every: Sequence[Reproduction], results: Path) -> str:
    """The whole page.

    Raises:
        UsageError: a file of results is malformed.
    """
    return "\n".join([HEAD, *(_section(of, results) for of in every)])


def _section(of: Reproduction, results: Path) -> str:
    form = of.form
    lines = [
        f"## {as_markdown(form.title)}\n",
        f"<!-- command: clbench reproduce {of.name} -->",
        f"`clbench reproduce {of.name}`: {as_markdown(form.source.paper)}, "
        f"{as_markdown(form.source.where)} (<{form.source.url}>).\n",
        f"{as_markdown(form.protocol, 2000)}\n",
        f"Needs {as_markdown(form.needs.data)}; about {form.needs.hours:g} hours on one core. "
        f"Compared by `{form.metric}`, over {form.seeds} seeds.\n",
        "| row | published | origin | ours | difference | verdict | network |",
        "|---|---:|---|---:|---:|---|---|",
    ]
    full = _of(of, results, small=False)
    lines += [_line(of, row) for row in full]
    small = [row for row in _of(of, results, small=True) if row.seeds]
    if small and form.small is not None:
        what = " ".join(form.small.words)
        cells = [f"{row.row} {ours(row)}" for row in small]
        lines += [f"\nIn small (`{what}`; not comparable): {as_markdown('; '.join(cells), 2000)}."]
        lines[-1] += f" {as_markdown(form.small.note, 1000)}" if form.small.note else ""
    for title, texts in (("Deviates", form.deviates), ("Left out", form.left_out)):
        if texts:
            lines += [f"\n{title}:\n", *(f"- {as_markdown(text, 1000)}" for text in texts)]
    notes = [row for row in form.rows if row.note]
    if notes:
        lines += ["\nNotes:\n", *(f"- `{r.name}`: {as_markdown(r.note, 1000)}" for r in notes)]
    return "\n".join(lines) + "\n"


def _of(of: Reproduction, results: Path, small: bool) -> list[Compared]:
    path = results_path(results, of.name, small)
    found = current(of, load(path), small) if path.is_file() else []
    return compare(of, found, small)


def _line(of: Reproduction, row: Compared) -> str:
    published = of.row(row.row).published
    cells = (
        f"`--only {row.row}`",
        theirs(row),
        "" if published is None else published.origin,
        ours(row),
        "" if row.difference is None else f"{row.difference:+.2f}",
        as_markdown(row.verdict),
        as_markdown(row.network),
    )
    return "| " + " | ".join(cells) + " |"


def theirs(row: Compared) -> str:
    """``98.64 ± 0.22 (n=10)``; empty where nothing is published."""
    return _number(row.theirs, row.spread, row.their_seeds)


def ours(row: Compared) -> str:
    """``98.60 ± 0.30 (n=10)``; empty where nothing was run."""
    return _number(row.ours, row.sd, row.seeds)


def _number(mean: float | None, spread: float | None, seeds: int | None) -> str:
    if mean is None:
        return ""
    shown = f"{mean:.2f}"
    shown += "" if spread is None else f" ± {spread:.2f}"
    return shown if seeds is None else f"{shown} (n={seeds})"
