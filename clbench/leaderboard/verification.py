"""The ledger of an entry, ``verified/<entry>.json``: what the verifier ran, and what it is worth now.

A run in it counts for as long as the board, the entry's sources and the record that was compared are
what they were. Entries are ranked by these runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clbench.configure.board import Board
from clbench.leaderboard.entry import PIN, Entry, SeedRun, Verification, ledger_file
from clbench.results.record import UNRANKED, Record, write_atomically

GROUPS = ("strategy", "model")


def write_verification(entry: Entry, found: Verification) -> None:
    """Write what was found; runs of other seeds stay where they still hold.

    They do where board, sources and claims are the same, and so is whether it was rebuilt.
    """
    before = entry.verification
    seeds = dict(found.seeds)
    if before is not None and _same_subject(before, found):
        kept = {k: run for k, run in before.seeds.items() if _holds(entry, int(k), run)}
        seeds = {**kept, **seeds}
        kept_too = {k: getattr(found, k) or getattr(before, k) for k in ("stability", "tuning")}
        found = dataclasses.replace(found, **kept_too)
    ordered = dict(sorted(seeds.items(), key=lambda pair: int(pair[0])))
    data = dataclasses.asdict(dataclasses.replace(found, seeds=ordered))
    if data["tuning"] is None:
        del data["tuning"]
    for run in data["seeds"].values():
        if run["record"] is None:
            del run["record"]
    path = ledger_file(entry.folder)
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text.encode())


def withdraw(entry: Entry) -> bool:
    """Remove an entry's ledger, as of one that was refused; returns whether there was one."""
    path = ledger_file(entry.folder)
    there = path.exists() and entry.slug != PIN  # whose file is the board's pin
    if not there:
        return False
    path.unlink(missing_ok=True)
    return True


def verified_runs(board: Board, entry: Entry) -> dict[int, SeedRun]:
    """The verifier's runs that hold for what the board and the entry are now, by seed.

    There is none without a run on fresh data that was passed.
    """
    found = entry.verification
    if found is None or found.board_sha256 != board.sha256:
        return {}
    if found.sources != source_hashes(entry):
        return {}
    if found.held_out is None or found.held_out["passed"] is not True:
        return {}
    runs = {int(seed): run for seed, run in found.seeds.items()}
    return {s: runs[s] for s in board.seeds if s in runs and _holds(entry, s, runs[s])}


def verified_records(board: Board, entry: Entry) -> dict[int, Record]:
    """The records by which an entry is ranked: the verifier's counts, costs and platform."""
    found = {}
    for seed, run in verified_runs(board, entry).items():
        if run.record is not None:
            record = Record.parse(run.record, Path(f"verified/{entry.slug}.json"))
        else:  # the claimed counts were found to be the verifier's
            record = entry.records[seed]
        # Whether the counted calls speak for the others is asked of an estimate alone.
        cost = {**record.cost, **run.cost, "flops_ranked": True}
        warnings = [text for text in record.warnings if not text.startswith(UNRANKED)]
        found[seed] = dataclasses.replace(
            record, cost=cost, warnings=warnings, environment=dict(run.environment)
        )
    return found


def tier(board: Board, entry: Entry) -> tuple[str, int] | None:
    """``reproduced`` or ``re-run``, and the number of seeds it holds for; None without any.

    It is ``re-run`` where any of these seeds gave other answers on another platform.
    """
    runs = verified_runs(board, entry)
    if not runs:
        return None
    return ("reproduced" if all(run.equal for run in runs.values()) else "re-run", len(runs))


def trials_again(entry: Entry) -> Mapping[str, Any] | None:
    """What was found of the trials of the entry's table, where that is still its table."""
    found = entry.verification.tuning if entry.verification else None
    tables = {record.tuning["grid_sha256"] for record in entry.records.values()}
    return found if found is not None and tables == {found["table_sha256"]} else None


def is_ranked(board: Board, entry: Entry) -> bool:
    """Whether an entry takes part in the ranking: rebuilt, and verified on every seed."""
    found = entry.verification
    runs = verified_runs(board, entry)
    return found is not None and found.rebuilt and set(runs) == set(board.seeds)


def is_current(board: Board, entry: Entry) -> bool:
    """Whether all that the ledger says holds for what the entry is now."""
    found = entry.verification
    return found is not None and {*map(int, found.seeds)} == {*verified_runs(board, entry)}


def source_hashes(entry: Entry) -> dict[str, str]:
    """Hashes of the bytes of an entry's sources; empty where one is missing."""
    found = {}
    for group in GROUPS:
        path = entry.source_of(group)
        if path.is_file() and not path.is_symlink():
            found[group] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def of_plugins(sources: Mapping[str, str]) -> dict[str, str]:
    """The hashes of source without the engine's, which is information only."""
    return {group: sha for group, sha in sources.items() if group != "engine"}


def sd(values: list[float]) -> float:
    """Standard deviation (n - 1); 0 of fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _same_subject(a: Verification, b: Verification) -> bool:
    return (a.board_sha256, a.sources, a.rebuilt) == (b.board_sha256, b.sources, b.rebuilt)


def _holds(entry: Entry, seed: int, run: SeedRun) -> bool:
    return entry.record_hashes.get(seed) == run.claim_sha256
