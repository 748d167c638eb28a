"""The panel of an entry on a board's page: authors, settings, costs, environment, findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clbench.configure.board import Board
from clbench.leaderboard.entry import TIERS
from clbench.leaderboard.pages import columns
from clbench.leaderboard.pages.columns import with_interval
from clbench.leaderboard.pages.summary import EntryRow
from clbench.results.tables import Column, Interval
from clbench.results.tables import columns as all_columns
from clbench.util.text import as_html, safe_link

MAX_SHOWN = 40
"""Settings, findings and so on that are shown of a kind."""


def panel(board: Board, row: EntryRow) -> str:
    """One ``<details>``, with the entry's slug as anchor."""
    score = f"{columns.places(row)} · {with_interval(row.primary, columns.primary(board))}"
    score += "" if row.is_evidence else " claimed"
    parts = [_lead(row)]
    if row.contested:
        parts.append(_list("Contested", row.contested))
    if row.errors:
        parts.append(_list("Not ranked", row.errors))
    if row.notes:
        parts.append(_list("Findings of the checks", row.notes))
    if row.warnings:
        parts.append(_list("Warnings of the runs", row.warnings))
    if row.ranked:
        parts.append(f'<div class="cols">{"".join(_columns(board, row))}</div>')
    return (
        f'<details class="panel" id="entry-{as_html(row.slug)}" data-entry="{as_html(row.slug)}">'
        f"<summary><b>{as_html(row.name, 60)}</b>{tier_tag(row)}"
        f'<span class="quiet">{as_html(score if row.ranked else "not ranked")}</span></summary>'
        f"<div>{''.join(parts)}</div></details>\n"
    )


def tier_tag(row: EntryRow) -> str:
    """The tier and flags, as words in a frame."""
    if not row.ranked:
        return '<span class="tag bad">not ranked</span>'
    flags = "".join(f' <span class="tag flag">{as_html(flag)}</span>' for flag in row.flags)
    return f'<span class="tag t{TIERS.index(row.tier)}">{as_html(row.tier_text)}</span>{flags}'


def _lead(row: EntryRow) -> str:
    who = ", ".join(as_html(author, 60) for author in row.authors[:MAX_SHOWN])
    if row.affiliation:
        who += f" ({as_html(row.affiliation, 100)})"
    links = [
        f'<a href="{as_html(link, 500)}" rel="noopener nofollow">{word}</a>'
        for word, link in (("paper or project", safe_link(row.url)), ("code", safe_link(row.code)))
        if link
    ]
    text = " · ".join(part for part in (who, *links) if part)
    described = f"<p>{as_html(row.description, 400)}</p>" if row.description else ""
    return f'{described}<p class="quiet">{text}</p>' if text else described


def _columns(board: Board, row: EntryRow) -> Iterable[str]:
    shown = [c for c in all_columns() if row.values.get(c.key, (None,))[0] is not None]
    yield _pairs(
        "Metrics",
        ((c.title, with_interval(row.values[c.key], c)) for c in shown if columns.is_metric(c.key)),
    )
    yield _pairs(
        "Cost",
        ((c.title, _cost(row.values[c.key], c)) for c in shown if not columns.is_metric(c.key)),
    )
    yield _pairs("Settings", _flat(row.settings))
    primary = columns.primary(board)
    scores = (
        (
            f"seed {s.seed}",
            columns.number(s.score, primary)
            + ("" if s.status == "completed" else f" ({s.status})"),
        )
        for s in row.seeds
    )
    yield _pairs(f"Seeds, {primary.title}", scores)
    yield _pairs("Paper and measured", _reference(row, with_interval(row.primary, primary)))
    if row.is_evidence:
        claim = [(f"{primary.title}", with_interval(row.claimed, primary))]
        yield _pairs("Claimed by the entry", claim)
    yield _pairs(
        "Tuning",
        [
            *_flat(row.tuning),
            ("tuned on", " ".join(map(str, row.tuned_on[:MAX_SHOWN])) or "no seed"),
        ],
    )
    yield _pairs("Verified", _flat(row.verification))
    version = {**row.version, "commit": str(row.version.get("commit"))[:12]}
    yield _pairs("Environment", [*_flat(row.environment), *_flat(version)])
    declared = [(k, "yes" if v is True else "no") for k, v in row.declares.items()]
    hashes = [("source", row.source_sha256), *((f"of {k}", v) for k, v in row.sources.items())]
    yield _pairs("Declared", declared)
    yield _pairs("Source hashes", hashes, short=True)


def _cost(interval: Interval, column: Column) -> str:
    """Without an interval where all seeds cost the same."""
    same = interval._replace(half_width=interval.half_width or None)
    return with_interval(same, column)


def _reference(row: EntryRow, measured: str) -> list[tuple[str, Any]]:
    reference = row.paper_reference
    if not reference:
        return []
    comparable = "yes" if reference.get("comparable") is True else "no: another protocol"
    return [
        ("paper says", reference.get("value", "–")),
        ("source", reference.get("source", "–")),
        ("comparable", comparable),
        ("measured here %", measured),
    ]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as ``strategy.lam``."""
    pairs: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _pairs(title: str, pairs: Iterable[tuple[str, Any]], *, short: bool = False) -> str:
    """A titled list of words and values; nothing where there are none."""
    items = list(pairs)[:MAX_SHOWN]
    if not items:
        return ""
    cut = 12 if short else 120
    kind = ' class="hash"' if short else ""
    body = "".join(
        f"<dt>{as_html(k, 60)}</dt><dd{kind}>{as_html(str(v)[:cut] if short else v, cut)}</dd>"
        for k, v in items
    )
    return f"<section><h3>{as_html(title)}</h3><dl>{body}</dl></section>"


def _list(title: str, lines: Iterable[str]) -> str:
    body = "".join(f"<li>{as_html(line, 300)}</li>" for line in list(lines)[:MAX_SHOWN])
    return f'<h3>{title}</h3><ul class="notes">{body}</ul>'
