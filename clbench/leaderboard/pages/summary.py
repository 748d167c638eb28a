"""One row per entry: all that tables and pages show, without the records behind it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clbench.configure.board import Board
from clbench.leaderboard.entry import (
    TIERS,
    Entry,
    SeedRun,
    Verification,
    iter_entries,
    unjudged,
)
from clbench.leaderboard.ranking import pareto_front, rank_ranges
from clbench.leaderboard.rules.findings import Finding
from clbench.leaderboard.scores import score_run
from clbench.leaderboard.verification import (
    is_ranked,
    trials_again,
    verified_records,
    verified_runs,
)
from clbench.leaderboard.verification import tier as tier_of
from clbench.results.record import Record
from clbench.results.tables import Interval, columns, t_interval
from clbench.util.text import clean

CURVE_POINTS = 60
MISSING = "missing"
STALE = "stale"
REVIEW = "needs review"
UNSTABLE = "unstable"
"""A perturbation far below any meaning moves it by more than half the sd over seeds."""
NOT_REBUILT = "cannot be rebuilt"
"""From its state: it was run again in one process, and is not ranked."""
CONTESTED = "contested"
"""Somebody says what is wrong with it; its rank is the verifier's all the same."""
NOTHING = Interval(None, None, 0)


Validate = Callable[[Board, Entry], Sequence[Finding]]
"""What the rules say of an entry (``checks.validate``)."""


@dataclass(frozen=True)
class SeedScore:
    """The primary on one of the board's seeds."""

    seed: int
    score: float
    """0 where the run is missing or failed."""
    status: str
    """How the run ended, or ``missing``."""


@dataclass(frozen=True)
class EntryRow:
    """An entry as shown. Texts are as the entrant wrote them: escape them."""

    slug: str
    name: str
    strategy: str
    division: str
    tier: str
    authors: tuple[str, ...] = ()
    affiliation: str = ""
    description: str = ""
    url: str = ""
    code: str = ""
    errors: tuple[str, ...] = ()
    """Why it is not ranked."""
    flags: tuple[str, ...] = ()
    """``stale``, ``needs review``, ``unstable``, ``cannot be rebuilt``"""
    notes: tuple[str, ...] = ()
    """What else the validator says."""
    contested: tuple[str, ...] = ()
    """What others say against it."""
    seeds: tuple[SeedScore, ...] = ()
    primary: Interval = NOTHING
    """Over all of the board's seeds, failed ones as 0: the verifier's, or what is claimed."""
    values: Mapping[str, Interval] = field(default_factory=dict)
    """Metrics and costs over the seeds that were completed."""
    comparable_cost: bool = False
    """Whether FLOPs and bytes were counted in full."""
    curve: tuple[tuple[int, float], ...] = ()
    """Experiences and world accuracy: means over seeds and over the evaluations since the last
    point."""
    test_images: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """``{strategy: {...}, model: {...}}`` as resolved."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    source_sha256: str = ""
    version: Mapping[str, Any] = field(default_factory=dict)
    """Of clbench: ``{clbench, commit, dirty}``."""
    warnings: tuple[str, ...] = ()
    """What its runs warned of, each once."""
    tuning: Mapping[str, Any] = field(default_factory=dict)
    tuned_on: tuple[int, ...] = ()
    declares: Mapping[str, Any] = field(default_factory=dict)
    paper_reference: Mapping[str, Any] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)
    """Of a tier that holds: what the verifier found."""
    n_verified: int = 0
    """Seeds of the board that the verifier ran, and for which the tier holds."""
    n_trials: int = 0
    """Trials of its table that the verifier ran again and found equal."""
    is_evidence: bool = False
    """Whether its numbers are the verifier's, on every seed; if not, they are claims, not ranked."""
    claimed: Interval = NOTHING
    """The primary that the entry's own records claim."""
    rank_range: tuple[int, int] | None = None
    """Within its division; None where not ranked."""
    on_front: bool = False
    """Whether no entry of its division is better on primary, FLOPs or bytes at no loss."""

    @property
    def ranked(self) -> bool:
        """Whether it takes part in the ranking."""
        return not self.errors

    @property
    def tier_text(self) -> str:
        """``reproduced 2/10``: the tier, and the seeds that it holds for."""
        if not self.n_verified:
            return self.tier
        trials = f", {self.n_trials} trials" if self.n_trials else ""
        return f"{self.tier} {self.n_verified}/{len(self.seeds)}{trials}"

    @property
    def failed(self) -> tuple[str, ...]:
        """``seed 3: diverged``, and so on."""
        return tuple(f"seed {s.seed}: {s.status}" for s in self.seeds if s.status != "completed")


def summarise(board: Board, validate: Validate | None = None) -> list[EntryRow]:
    """All entries of a board, ranked and in the order of the tables."""
    return rank(board, iterate(board, validate))


def iterate(board: Board, validate: Validate | None = None) -> Iterator[EntryRow]:
    """One row after the other; no more than one entry's records are in memory.

    Args:
        board: the board.
        validate: checks an entry; None leaves all self-reported.
    """
    for entry in iter_entries(board):
        findings = validate(board, entry) if validate else None
        try:
            yield summarise_entry(board, entry, findings)
        except Exception as error:  # of a record that the rules refuse as well
            yield EntryRow(entry.slug, entry.slug, "", "", TIERS[0], errors=(unjudged(error),))


def summarise_entry(
    board: Board, entry: Entry, findings: Sequence[Finding] | None = None
) -> EntryRow:
    """An entry as one row, not yet ranked; ``findings`` are None where it was not validated."""
    found = findings or ()
    errors = [_told(entry, f) for f in found if f.level == "error"]
    # The validator tells of files that could not be read as well.
    errors = errors or [
        str(p).replace(f"{entry.folder}/", "").replace(f"{board.folder}/", "")
        for p in entry.problems
    ]
    meta = entry.meta
    if meta is None:
        why = tuple(errors) or ("entry.yaml is missing",)
        return EntryRow(entry.slug, entry.slug, "", "", TIERS[0], errors=why)
    if meta.division not in board.divisions:
        errors.append(f"division {clean(meta.division, 40)!r} is not one of the board's")
    records = [entry.records[seed] for seed in board.seeds if seed in entry.records]
    if not records:
        errors.append("has no run on the board's seeds")
    vouched = None
    if findings is not None and not errors:
        vouched = tier_of(board, entry)
    evidence = vouched is not None and is_ranked(board, entry)
    tier = TIERS[0] if findings is None or errors else TIERS[1]
    ledger = entry.verification if vouched else None
    trials = trials_again(entry) if vouched else None
    row = EntryRow(
        slug=entry.slug,
        name=meta.name,
        strategy=meta.strategy,
        division=meta.division,
        tier=vouched[0] if vouched else tier,
        n_verified=vouched[1] if vouched else 0,
        n_trials=len(trials["trials"]) if trials and trials["equal"] else 0,
        is_evidence=evidence,
        authors=meta.authors,
        affiliation=meta.affiliation,
        description=meta.description,
        url=meta.url,
        code=meta.code,
        errors=tuple(dict.fromkeys(errors)),
        flags=(*_flags(found), *_ledger_flags(ledger), *([CONTESTED] if entry.contested else [])),
        contested=entry.contested,
        notes=tuple(_told(entry, f) for f in found if f.level != "error"),
        tuned_on=meta.tuned_on,
        paper_reference=meta.paper_reference,
        verification={
            **(_ledger_facts(ledger, verified_runs(board, entry)) if ledger else {}),
            **({"trials run again": _trials_said(trials)} if trials else {}),
        },
    )
    if not records:
        return row
    claimed = t_interval([score_run(board, entry.records.get(seed)) for seed in board.seeds])
    by_seed = entry.records
    if evidence:
        by_seed = verified_records(board, entry)
        records = [by_seed[seed] for seed in board.seeds]
    row = dataclasses.replace(row, claimed=claimed)
    row = _with_results(row, board, by_seed, records)
    ranks = evidence and ledger is not None and ledger.flops["ranked"] is True
    return dataclasses.replace(row, comparable_cost=row.comparable_cost and ranks)


def rank(board: Board, rows: Iterator[EntryRow] | Sequence[EntryRow]) -> list[EntryRow]:
    """Rank what was verified, each division on its own.

    The order is division, whether it was verified, mean, slug, and last what cannot be ranked.
    """
    rows = sorted(rows, key=lambda row: (-(row.primary.mean or 0.0), row.slug))
    ordered: list[EntryRow] = []
    for division in board.divisions:
        shown = [row for row in rows if row.ranked and row.division == division]
        members = [row for row in shown if row.is_evidence]
        scores = np.array([[s.score for s in row.seeds] for row in members], dtype=np.float64)
        costs = [[_cost(row, "train_flops"), _cost(row, "state_bytes")] for row in members]
        gains = np.array([row.primary.mean for row in members], dtype=np.float64)
        front = pareto_front(gains, np.array(costs).reshape(-1, 2))
        ranges = rank_ranges(scores.reshape(len(members), len(board.seeds)))
        ordered += [
            dataclasses.replace(row, rank_range=places, on_front=bool(star))
            for row, places, star in zip(members, ranges, front, strict=True)
        ]
        ordered += [row for row in shown if not row.is_evidence]
    return ordered + sorted((row for row in rows if not row.ranked), key=lambda row: row.slug)


def _cost(row: EntryRow, key: str) -> float:
    mean = row.values[key].mean if row.comparable_cost else None
    return math.nan if mean is None else mean


def _told(entry: Entry, finding: Finding) -> str:
    """``C1 runs/seed3.json: is of another stream``."""
    file = finding.file.removeprefix(f"entries/{entry.slug}").lstrip("/")
    return (
        f"{finding.rule} {file}: {finding.message}" if file else f"{finding.rule} {finding.message}"
    )


def _flags(findings: Sequence[Finding]) -> tuple[str, ...]:
    stale = any(
        f.rule == "C3" and f.level == "warning" and not f.file.startswith("verified/")
        for f in findings
    )
    review = any(f.level == "review" for f in findings)
    return (*((STALE,) if stale else ()), *((REVIEW,) if review else ()))


def _ledger_flags(found: Verification | None) -> tuple[str, ...]:
    if found is None:
        return ()
    stable = found.stability
    return (
        *((UNSTABLE,) if stable is not None and stable["unstable"] else ()),
        *((NOT_REBUILT,) if not found.rebuilt else ()),
    )


def _ledger_facts(found: Verification, runs: Mapping[int, SeedRun]) -> dict[str, Any]:
    """What the ledger says, for a reader."""
    missing = [name for name, works in found.guards.items() if works is not True]
    told: dict[str, Any] = {
        "seeds": " ".join(map(str, runs)),
        "answers": "equal" if all(r.equal for r in runs.values()) else "other on this platform",
        "rebuilt from its state": "yes" if found.rebuilt else "no: not ranked",
        "missing guards": ", ".join(missing) or "none",
        "costs": found.flops["why"],
    }
    if found.held_out is not None:
        places = (found.held_out["found"], found.held_out["claimed"])
        told["place on fresh data, on the board"] = "{:.2f}, {:.2f}".format(*places)
    if found.stability is None:
        return {**told, "stability": "not measured"}
    moves = {k: found.stability[k] for k in ("rate_rms", "threads_rms", "sd")}
    said = ", ".join(f"{k} {100 * v:.3f}" for k, v in moves.items() if v is not None)
    return {**told, "stability, points": said}


def _trials_said(found: Mapping[str, Any]) -> str:
    numbers = ", ".join(map(str, found["trials"]))
    return f"{numbers}: {'equal' if found['equal'] else 'other on this platform'}"


def _with_results(
    row: EntryRow, board: Board, by_seed: Mapping[int, Record], records: Sequence[Record]
) -> EntryRow:
    completed = [record for record in records if record.status == "completed"]
    first = (completed or records)[0]
    seeds = tuple(_seed_score(board, seed, by_seed.get(seed)) for seed in board.seeds)
    values = {c.key: _interval([r.metric(c.key) for r in completed]) for c in columns()}
    return dataclasses.replace(
        row,
        seeds=seeds,
        primary=t_interval([s.score for s in seeds]),
        values=values,
        comparable_cost=bool(completed) and all(_is_comparable(r) for r in completed),
        curve=_mean_curve(completed),
        test_images=sum(cell["size"] for cell in first.counts["cells"]),
        settings={group: first.config[group] for group in ("strategy", "model")},
        environment=first.environment,
        sources=first.sources,
        source_sha256=first.source_sha256,
        version=first.code,
        warnings=tuple(dict.fromkeys(text for record in records for text in record.warnings)),
        tuning=first.tuning,
        declares=first.declares,
    )


def _seed_score(board: Board, seed: int, record: Record | None) -> SeedScore:
    status = MISSING if record is None else record.status
    return SeedScore(seed, score_run(board, record), status)


def _is_comparable(record: Record) -> bool:
    """Whether nothing of its cost was left out, and what was counted speaks for all."""
    cost = record.cost
    counted = not cost["flops_uncounted"] and cost.get("flops_ranked") is not False
    return counted and cost["state_bytes_method"] == "state_dict"


def _interval(values: Sequence[float | None]) -> Interval:
    return t_interval([v for v in values if v is not None])


def _mean_curve(records: Sequence[Record]) -> tuple[tuple[int, float], ...]:
    """At most ``CURVE_POINTS`` bins, narrow at the start of the stream, where curves are steep."""
    counts = [
        c for c in (r.to_counts() for r in records) if len(c.evaluated_after) and c.size.sum()
    ]
    if not counts:
        return ()
    grid = counts[0].evaluated_after
    mean = np.mean([np.interp(grid, c.evaluated_after, c.world_accuracy) for c in counts], axis=0)
    last, n = len(grid) - 1, CURVE_POINTS
    even = np.linspace(0, last, n * 2 // 3)
    early = np.geomspace(1, last + 1, n // 3) - 1
    starts = np.unique(np.r_[even, early].round().astype(int))
    sizes = np.diff(np.r_[starts, last + 1])
    x = np.add.reduceat(grid, starts) / sizes
    y = np.add.reduceat(mean, starts) / sizes
    return tuple((round(float(a)), round(float(b), 4)) for a, b in zip(x, y, strict=True))
