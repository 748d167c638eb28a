"""Verifies an entry: the rules first, then every seed, the costs, fresh data, and perturbed arms.

What is found goes into the ledger, ``verified/<entry>.json``, and that alone is ranked.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from clbench.configure.board import Board, pin_file, pinned_sha256
from clbench.data.pool import Pool
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard import stability
from clbench.leaderboard.entry import Entry, SeedRun, Verification, record_sha256
from clbench.leaderboard.reproduce.held_out import Fresh, held_out
from clbench.leaderboard.reproduce.hygiene import hygiene
from clbench.leaderboard.reproduce.processes import Zygote, can_fork
from clbench.leaderboard.reproduce.rerun import (
    OTHER_DATA,
    Rerun,
    anchor_point,
    compare,
    compare_rows,
    point_of,
    rerun,
    same_platform,
    without_diagnostics,
)
from clbench.leaderboard.reproduce.trials import check_trials
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.scores import score_run
from clbench.leaderboard.verification import source_hashes
from clbench.results.record import Record

FLOPS_LIMIT = 5.0
"""CPU seconds per counted operation, over those of the lower anchor, beyond which no FLOPs rank."""
MEMORY_OUTSIDE = (
    "other answers where it is rebuilt after other experiences: it is not deterministic, or remembers "
    "something outside its state; keep all memory in state_dict()"
)

Tell = Callable[[str], None]


@dataclass
class Report:
    """What verifying an entry said."""

    entry: str
    lines: list[str] = field(default_factory=list)
    """What passed, and what is to be known of it."""
    refusals: list[str] = field(default_factory=list)
    found: Verification | None = None
    """What goes into the ledger; None where something was refused."""
    disproved: bool = False
    """Whether a run showed something else than is claimed, so that an earlier ledger cannot stand."""

    @property
    def passed(self) -> bool:
        """Whether nothing was refused."""
        return not self.refusals


class Verifier:
    """Verifies entries of one board, as a context.

    Data, fresh data, the lower anchor's runs and the process that others are forked from serve all.
    """

    def __init__(
        self,
        board: Board,
        *,
        secret: bytes | None = None,
        every: bool = False,
        perturbed: int = stability.SEEDS,
        perturbed_of: Collection[str] | None = None,
        tuning: bool = False,
        folders: Sequence[Path] = (),
        zygote: Zygote | None = None,
        tell: Tell = lambda line: None,
    ) -> None:
        """Prepare.

        Args:
            board: the board, whose protocol the ledger must name.
            secret: of the fresh data; None: one is drawn.
            every: go on after a refusal, and tell of all.
            perturbed: seeds to run perturbed; 0: stability is not measured.
            perturbed_of: slugs of the entries whose stability is measured; None: that of all.
            tuning: whether trials of the entries' tables are run again.
            folders: where files are looked for that settings of entries name.
            zygote: what processes on the CPU are forked from, where it is there already.
            tell: called with lines of progress.

        Raises:
            UsageError: the ledger does not name this protocol.
        """
        refuse_unpinned(board)
        self.board, self.every, self.tell = board, every, tell
        self.perturbed, self.perturbed_of = perturbed, perturbed_of
        self.tuning, self.folders = tuning, tuple(folders)
        self.fresh = Fresh(board, secret, self.folders)
        self.pools: dict[Any, Pool] = {}
        self.anchors: dict[tuple[int, str], Rerun] = {}
        self.zygotes = {} if zygote is None else {"cpu": zygote}
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes that all others were forked from."""
        self.stack.close()
        self.zygotes.clear()

    def _rerun(
        self,
        point: dict[str, Any],
        *,
        count: bool = True,
        threads: int | None = None,
        apart_from: tuple[int, ...] = (),
    ) -> Rerun:
        return rerun(
            point,
            self.pools,
            count=count,
            threads=threads,
            folders=self.folders,
            apart_from=apart_from,
            zygote=self._zygote(point["device"]),
        )

    def _zygote(self, device: str) -> Zygote | None:
        """What processes on a device are forked from; it is started once."""
        if can_fork() and device not in self.zygotes:
            threads = int(self.board.settings.get("threads", 0))
            self.zygotes[device] = self.stack.enter_context(Zygote(threads, device))
        return self.zygotes.get(device)

    def verify(self, entry: Entry, seeds: Sequence[int]) -> Report:
        """Verify seeds of an entry; nothing is written.

        Raises:
            UsageError: the board does not have one of the seeds.
        """
        unknown = set(seeds) - set(self.board.seeds)
        if unknown:
            raise UsageError(f"--seeds: the board has no seed {min(unknown)}")
        report = Report(entry.slug)
        for refusal in self._steps(entry, seeds, report):
            report.refusals.append(refusal)
            if not self.every:
                break
        if report.refusals:
            report.found = None
        return report

    def _steps(self, entry: Entry, seeds: Sequence[int], report: Report) -> Iterator[str]:
        """Go through all that is asked; yields what is refused."""
        for finding in validate(self.board, entry):
            if finding.level == "error":
                yield f"{finding.rule} {finding.file}: {finding.message}"
        try:
            yield from self._runs(entry, seeds, report)
        except ClbenchError as error:
            yield str(error)

    def _runs(self, entry: Entry, seeds: Sequence[int], report: Report) -> Iterator[str]:
        board, runs, again = self.board, dict[str, SeedRun](), dict[int, Rerun]()
        for seed in seeds:
            if seed not in entry.records:
                yield f"{entry.slug}: has no record of seed {seed}"
                continue
            record = entry.records[seed]
            self.tell(f"{entry.slug} seed {seed}: running again")
            found = self._rerun(point_of(board, entry, record))
            said = compare(board, record, found.record)
            other = self._other_time(entry, seed, found.record) or found.spent.hidden()
            other = other or _beyond(board, found)
            if said.refusal or other:
                report.disproved |= bool(other) or said.refusal != OTHER_DATA
                yield f"seed {seed}: {said.refusal or other}"
                continue
            report.lines.append(f"seed {seed}: {said.message}")
            runs[str(seed)] = _seed_run(board, record, found, said.equal)
            again[seed] = found
        if not again:
            return
        elsewhere = [seed for seed in again if not runs[str(seed)].equal]
        if elsewhere and not self._same_when_cut_elsewhere(entry, again[elsewhere[0]]):
            report.disproved = True
            yield f"seed {elsewhere[0]}: {MEMORY_OUTSIDE}"
            return
        if elsewhere:
            report.lines.append(f"seed {elsewhere[0]}: the same answers, rebuilt at other places")
        trials = None
        if self.tuning:
            self.tell(f"{entry.slug}: trials of its table")
            trials, lines, wrong = check_trials(
                board, entry, lambda p: self._rerun(p, count=False).record
            )
            report.lines += lines
            if wrong:
                report.disproved = True
                yield wrong
                return
        first = min(again)
        point = point_of(board, entry, entry.records[first])
        values = {s: score_run(board, r.record) for s, r in again.items()}
        # By all seeds it is ranked; one seed alone may have been lucky, and fresh data are not.
        claimed = {s: score_run(board, record) for s, record in entry.records.items()}
        shown = statistics.fmean((claimed | values).values())
        self.tell(f"{entry.slug}: on fresh data")
        fresh = held_out(self.fresh, point, shown, self._zygote(point["device"]))
        place = f"place {fresh.found:.2f} on fresh data, {fresh.claimed:.2f} on the board"
        if not fresh.passed:
            report.disproved = True
            yield f"held-out: {place}: what it knows is of the board's own data"
            return
        report.lines.append(f"held-out: {place}")
        judged = [self._flops(first, r, point["device"]) for r in again.values()]
        flops = max(judged, key=_dearness)
        report.lines.append(f"cost: {flops['why']}")
        stable = self._stability(entry, values, again)
        if stable is not None:
            report.lines.append(stability.line(stable))
        rebuilt = all(r.rebuilt for r in again.values())
        if not rebuilt:
            report.lines.append("not ranked: it cannot be rebuilt from its state")
        report.found = Verification(
            board_sha256=board.sha256,
            sources=source_hashes(entry),
            rebuilt=rebuilt,
            guards=hygiene(point["device"]),
            seeds=runs,
            held_out=dataclasses.asdict(fresh),
            flops=flops,
            stability=None if stable is None else dataclasses.asdict(stable),
            tuning=trials,
        )

    def _same_when_cut_elsewhere(self, entry: Entry, found: Rerun) -> bool:
        """Whether a seed gives the same answers, bit for bit, where it is rebuilt at other places.

        An entry of another platform has no answers that these could be compared with.
        """
        seed = found.record.seed
        self.tell(f"{entry.slug} seed {seed}: rebuilt at other places")
        point = point_of(self.board, entry, entry.records[seed])
        other = self._rerun(point, count=False, apart_from=found.cuts)
        return other.record.predictions_sha256 == found.record.predictions_sha256

    def _other_time(self, entry: Entry, seed: int, now: Record) -> str:
        """What differs from an earlier verification on this platform; empty if nothing does."""
        before = entry.verification.seeds.get(str(seed)) if entry.verification else None
        if before is None or before.claim_sha256 != entry.record_hashes[seed]:
            return ""
        same = same_platform(before.environment, now.environment)
        if not same or before.predictions_sha256 == now.predictions_sha256:
            return ""
        return "other answers than when it was verified on this platform before"

    def _flops(self, seed: int, found: Rerun, device: str) -> dict[str, Any]:
        """Whether operations rank: CPU seconds per operation against the lower anchor's."""
        key = (seed, device)
        if key not in self.anchors:
            self.tell(f"{self.board.naive.strategy} seed {seed}: side by side")
            self.anchors[key] = self._rerun(anchor_point(self.board, seed, device))
        mine, anchors = found.cpu_per_operation, self.anchors[key].cpu_per_operation
        base = {"limit": FLOPS_LIMIT, "ratio": None, "ranked": False}
        if mine is None or not anchors:
            return {**base, "why": "no FLOPs rank: CPU time is not measured on this system"}
        if mine == float("inf"):
            return {**base, "why": "no FLOPs rank: it trains without an operation that is counted"}
        # Time that is spent outside of training beyond what is usual counts as time of training.
        more = found.spent.seconds_hidden(self.anchors[key].spent)
        ratio = (mine + more / found.cost["train_flops"]) / anchors
        shown = f"{ratio:.1f} x the CPU seconds per operation of {self.board.naive.strategy}"
        if ratio > FLOPS_LIMIT:
            why = f"no FLOPs rank: {shown}; at most {FLOPS_LIMIT:g} x"
            return {**base, "ratio": ratio, "why": why}
        return {**base, "ratio": ratio, "ranked": True, "why": shown}

    def _stability(
        self, entry: Entry, values: dict[int, float], again: dict[int, Rerun]
    ) -> stability.Stability | None:
        seeds = sorted(values)[: self.perturbed]
        if self.perturbed_of is not None and entry.slug not in self.perturbed_of:
            return None
        if not seeds or len(values) < 2:
            return None

        def run(seed: int, rate: float | None, threads: int | None) -> float:
            self.tell(f"{entry.slug} seed {seed}: perturbed")
            point = point_of(self.board, entry, entry.records[seed])
            if rate is not None:
                point["strategy.lr"] = rate
            return score_run(self.board, self._rerun(point, count=False, threads=threads).record)

        settings = entry.records[seeds[0]].config["strategy"]
        threads = again[seeds[0]].record.environment["threads"]
        return stability.measure(run, values, seeds, stability.rate_of(settings), threads)


def _dearness(flops: Mapping[str, Any]) -> tuple[bool, float]:
    """The seed by which operations are judged is that with the most CPU time for each."""
    return not flops["ranked"], float(flops["ratio"] or 0)


def _beyond(board: Board, found: Rerun) -> str:
    """Why a run is beyond the budget, by the operations of all its calls; empty if it is not.

    The record's own figure is an estimate from some calls, which the rules compare with the budget.
    """
    spent, limit = found.cost["train_flops"], board.budget.train_flops
    if limit is None or spent <= limit or found.record.status != "completed":
        return ""
    return (
        f"learns by {spent} operations, every call counted, and the budget is {limit}: train less"
    )


def _seed_run(board: Board, record: Record, found: Rerun, equal: bool) -> SeedRun:
    return SeedRun(
        equal=equal,
        claim_sha256=record_sha256(record),
        claimed=score_run(board, record),
        primary=score_run(board, found.record),
        cost=found.cost,
        environment=found.record.environment,
        cpu_seconds=found.spent.train.seconds,
        predictions_sha256=found.record.predictions_sha256,
        verified=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        record=None if equal else without_diagnostics(found.record),
    )


def check_prefix(
    board: Board,
    entry: Entry,
    seed: int,
    tasks: int,
    zygote: Zygote | None = None,
    folders: Sequence[Path] = (),
) -> tuple[bool | None, str]:
    """Run the first tasks again and compare rows; nothing is concluded for the ledger.

    Returns:
        Whether the rows are the same, None where another platform gave other answers; and a line.
    """
    record = entry.records.get(seed)
    if record is None:
        return False, f"has no record of seed {seed}"
    # With hidden boundaries experiences are not tasks; take enough tasks to hold them.
    point = {**point_of(board, entry, record), "max_tasks": tasks}
    # A zygote's measures are those of a device.
    zygote = zygote if point["device"] == "cpu" else None
    found = rerun(point, count=False, folders=folders, zygote=zygote)
    said = compare_rows(record, found.record)
    return (False if said.refusal else True if said.equal else None), said.message


def refuse_unpinned(board: Board) -> None:
    """Refuse a board whose ledger does not name its protocol.

    Raises:
        UsageError: saying which file is missing.
    """
    if pinned_sha256(board.folder) is None:
        path: Path = pin_file(board.folder)
        raise UsageError(
            f"{path}: is missing, so that nothing says which protocol the ledger is of: clbench board "
            f"pin {board.name}"
        )
