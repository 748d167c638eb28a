"""A table in LaTeX, for booktabs: with a caption, and the best in bold."""

from __future__ import annotations

from collections.abc import Sequence

from clbench.results import tables
from clbench.results.columns import Column
from clbench.results.summary import Row
from clbench.util.console import one_line


def to_latex(rows: Sequence[Row], shown: Sequence[Column] | None = None) -> str:
    """A booktabs table of the main columns, or of those given; the best of each scenario is bold."""
    shown = tables.narrow(rows) if shown is None else shown
    head, body = tables.cells(rows, shown)
    body = [[_escaped(text) for text in line] for line in body]
    places = {column.key: at for at, column in enumerate(shown, len(head) - len(shown))}
    best = tables.best(rows, shown)
    for at, key in best:
        text = body[at][places[key]]
        body[at][places[key]] = rf"\textbf{{{text}}}"
    lines = [" & ".join(line) + r" \\" for line in ([_escaped(t) for t in head], *body)]
    spec = "l" * 2 + "r" * (len(head) - 2)
    scenarios = [*dict.fromkeys(row.scenario for row in rows)]
    told = [", ".join(scenarios), tables.caption(rows), *(["best in bold"] if best else [])]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped('; '.join(told))}}}",
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            *(f"% {line}" for line in tables.definitions_to_text(rows, shown).splitlines()),
            "",
        ]
    )


def _escaped(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
    }
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in one_line(text))
