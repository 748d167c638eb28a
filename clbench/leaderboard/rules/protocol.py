"""Rules C1 to C4 and T1: the runs belong to this board, one strategy and the given source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from clbench.configure import settings_after_freeze
from clbench.configure.board import Board
from clbench.engine.builds import untrained
from clbench.leaderboard.entry import Entry, run_files
from clbench.leaderboard.rules.findings import (
    Check,
    Finding,
    error,
    ledger_place,
    place,
    run_place,
    warning,
)
from clbench.leaderboard.rules.sources import config_sha256, is_stale, own_sha256, tree_sha256
from clbench.leaderboard.rules.structure import SOURCES, source_place
from clbench.leaderboard.verification import is_current, of_plugins
from clbench.results.record import Record

ALIKE = ("config_sha256", "tuning", "declares")
"""What the records of an entry have in common, beside the sources and versions they stand on."""
SHOWN = 5
"""Largest number of settings named per record; a record of another board differs in all."""


def runs_are_of_the_board(board: Board, entry: Entry) -> Iterator[Finding]:
    """C1: made with ``board=``, in this version and in the division of entry.yaml."""
    for seed, record in entry.records.items():
        division = entry.meta.division if entry.meta else (record.board or {}).get("division")
        wanted = {"name": board.name, "protocol": board.protocol, "division": division}
        if record.board != wanted:
            found = record.board and " ".join(record.board.values())
            wrong = f"is of {found or 'no board'}, not of {' '.join(map(str, wanted.values()))}"
            fix = f"run it with board={board.name} division={division}"
            yield error("C1", run_place(entry, seed), f"{wrong}: {fix}")


def settings_are_the_boards(board: Board, entry: Entry) -> Iterator[Finding]:
    """C1, B1: fixed settings have the board's values; other settings of their groups, the default."""
    defaults_of = cache(settings_after_freeze.defaults_of)  # of the same plug-ins for every seed
    for seed, record in entry.records.items():
        division = (record.board or {}).get("division", board.divisions[0])
        fixed = {**board.fixed(division), **_budget(board, record)}
        missing = object()
        for key, value in [*fixed.items()][:1000]:
            found = _setting(record.config, key, missing)
            if found != value or isinstance(found, bool) != isinstance(value, bool):
                said = "missing" if found is missing else repr(found)[:60]
                rule = "B1" if key.startswith("strategy.") else "C1"
                yield error(
                    rule, run_place(entry, seed), f"{key} is {said}; the board fixes {value!r}"
                )
        for key in settings_after_freeze.changed(fixed, record.config, defaults_of)[:SHOWN]:
            wrong = f"{key} is no setting of this board, and not at its default: run it again"
            yield error("C1", run_place(entry, seed), wrong)


def _budget(board: Board, record: Record) -> dict[str, Any]:
    """The budget's settings that the strategy has."""
    limits = {"epochs": board.budget.epochs, "batch_size": board.budget.batch_size}
    has = record.config["strategy"]
    return {f"strategy.{k}": v for k, v in limits.items() if v is not None and k in has}


def _setting(config: Mapping[str, Any], key: str, missing: object) -> Any:
    group, dot, name = key.partition(".")
    found = config.get(group, missing)
    if isinstance(found, Mapping):
        return found.get(name if dot else "name", missing)
    return missing if dot else found


def streams_are_the_boards(board: Board, entry: Entry) -> Iterator[Finding]:
    """C1: the same data in the same order, by hashes of the delivered samples."""
    for seed, record in entry.records.items():
        file = run_place(entry, seed)
        if record.pool_sha256 != board.pool_sha256:
            wrong = (
                "pool_sha256 is not the board's: the data set differs; download it again, or, if it "
                "is drawn, draw it with the fonts (matplotlib) and the Pillow of the board"
            )
            yield error("C1", file, wrong)
        wanted = board.stream_sha256.get(record.seed)
        if record.status == "completed" and record.stream_sha256 != wanted:
            yield error("C1", file, "stream_sha256 is not the board's for this seed: run it again")


def divisions_are_kept_apart(board: Board, entry: Entry) -> Iterator[Finding]:
    """C1: pretrained weights and own models are in *open*; in *network* its network is trained."""
    for seed, record in entry.records.items():
        division, file = (record.board or {}).get("division", ""), run_place(entry, seed)
        if division != "open" and record.declares["pretrained"]:
            yield error("C1", file, "declares.pretrained: enter division=open")
        wrong = untrained(division, record.declares.get("trains_network"), _name(record))
        if wrong is not None:
            yield error("C1", file, str(wrong))
    if entry.meta and entry.meta.division != "open" and entry.source_of("model").exists():
        file = source_place(entry, "model")
        yield error("C1", file, f"the {entry.meta.division} division fixes the model: remove it")


def _name(record: Record) -> str:
    return str(record.config["strategy"]["name"])


def seeds_are_the_boards(board: Board, entry: Entry) -> Iterator[Finding]:
    """C2: exactly the board's seeds, and every run was finished."""
    if not run_files(entry.folder) and not entry.records:
        wrong = "has no runs: clbench verify --fill runs it where the boards are kept"
        yield warning("C2", place(entry), wrong)
        return
    name = next((_name(record) for record in entry.records.values()), "...")
    for seed in board.seeds:
        if seed not in entry.records:
            words = f"clbench run board={board.name} strategy={name} seed={seed}"
            wrong = f"is missing: {words}, then submit again"
            yield error("C2", run_place(entry, seed), wrong)
    for seed, record in entry.records.items():
        if seed not in board.seeds:
            yield error("C2", run_place(entry, seed), "is of a seed that the board does not have")
        if record.status == "interrupted":
            yield error(
                "C2", run_place(entry, seed), "was interrupted: finish it (clbench run --resume)"
            )


def seeds_ran_the_same(board: Board, entry: Entry) -> Iterator[Finding]:
    """C2: settings, source, tuning and claims do not depend on the seed."""
    records = list(entry.records.items())
    for seed, record in records[1:]:
        first = records[0][1]
        pairs = {n: (getattr(record, n), getattr(first, n)) for n in ALIKE}
        # Other source of the engine gives the same runs, as long as the versions are the same.
        pairs["sources"] = (of_plugins(record.sources), of_plugins(first.sources))
        # Records from before the harness saw who trains the network say nothing of it.
        pairs["declares"] = (_declared(record), _declared(first))
        pairs["results_versions"] = (_raised(record), _raised(first))
        for name, (found, wanted) in pairs.items():
            if found != wanted:
                wrong = (
                    f"{name} is not that of seed {records[0][0]}: run all seeds with one strategy"
                )
                yield error("C2", run_place(entry, seed), wrong)


def _declared(record: Record) -> dict[str, bool]:
    """What a strategy says of itself, without what the harness saw."""
    return {name: value for name, value in record.declares.items() if name != "trains_network"}


def _raised(record: Record) -> dict[str, int]:
    """The versions of results that a record stands on, where they are not the first."""
    return {name: n for name, n in (record.results_versions or {}).items() if n != 1}


def settings_have_their_hash(board: Board, entry: Entry) -> Iterator[Finding]:
    """C2: config_sha256 and source_sha256 match the settings and sources shown."""
    for seed, record in entry.records.items():
        for name, wanted in config_sha256(entry, record).items():
            if getattr(record, name) != wanted:
                wrong = f"{name} is not that of what is shown: the record was edited; run it again"
                yield error("C2", run_place(entry, seed), wrong)


def no_run_is_shown_twice(board: Board, entry: Entry) -> Iterator[Finding]:
    """C2: no two seeds gave identical predictions."""
    seen: dict[str, int] = {}
    for seed, record in entry.records.items():
        answers = record.predictions_sha256
        if answers and answers in seen:
            wrong = f"has the predictions of seed {seen[answers]}: one run was copied; run it again"
            yield error("C2", run_place(entry, seed), wrong)
        seen.setdefault(answers, seed)


def source_is_what_ran(board: Board, entry: Entry) -> Iterator[Finding]:
    """C3: the strategy's (and model's) source made the records; stale if this clbench's differs."""
    for group in SOURCES:
        path, file = entry.source_of(group), source_place(entry, group)
        ran = {r.sources[group]: r for r in entry.records.values()}
        there = path.exists()
        own = own_sha256(path) if there else None
        for sha, record in ran.items():
            name = record.config[group]["name"]
            in_tree = tree_sha256(group, name)
            if there and own != sha:
                wrong = f"the {group} is not the source that ran: submit {name}.py again"
                yield error("C3", file, wrong)
            if is_stale(group, name, record, path):
                wrong = (
                    f"the {group} gives other runs than {name!r} of this clbench (its code changed, "
                    "or a version of results was raised): stale; run it again, or rename yours"
                )
                yield warning("C3", file, wrong)
            if in_tree is None and not there and group == "model":
                yield error("C3", file, f"is missing: add the source of model {name!r}")


def verification_is_of_these_runs(board: Board, entry: Entry) -> Iterator[Finding]:
    """C3: the ledger is of this protocol, these sources and these records."""
    if entry.verification is not None and not is_current(board, entry):
        wrong = "is of other runs than these, which have no tier: clbench verify the entry again"
        yield warning("C3", ledger_place(entry), wrong)


def code_is_committed(board: Board, entry: Entry) -> Iterator[Finding]:
    """C4: run by an unchanged clbench of a known commit."""
    unknown = []
    for seed, record in entry.records.items():
        if record.code["dirty"] is True:
            wrong = "code.dirty: clbench was changed when it ran; commit or undo, and run it again"
            yield error("C4", run_place(entry, seed), wrong)
        if record.code["commit"] is None:
            unknown.append(record.code["clbench"])
    if unknown:
        wrong = f"code.commit is unknown (an installed clbench {unknown[0]}); nothing to do"
        yield warning("C4", place(entry), wrong)


def tuning_follows_the_rules(board: Board, entry: Entry) -> Iterator[Finding]:
    """T1: tuned on the board's tuning seeds only, with the number of trials and the grid stated."""
    tuned_on = set(entry.meta.tuned_on) if entry.meta else set()
    file = place(entry, "entry.yaml")
    if tuned_on & set(board.seeds):
        yield error(
            "T1", file, "tuned_on names seeds that are scored: tune on the tuning seeds alone"
        )
    elif tuned_on - set(board.tuning_seeds):
        allowed = ", ".join(map(str, board.tuning_seeds))
        yield error("T1", file, f"tuned_on must be some of the board's tuning seeds ({allowed})")
    for seed, record in entry.records.items():
        tuning = record.tuning
        is_tuned = tuning["trials"] >= 1 and tuning["grid_sha256"] is not None
        if tuning["ruleset"] == "tuned" and not is_tuned:
            wrong = "tuning: tuned without trials and grid_sha256; run with tuned= of clbench tune"
            yield error("T1", run_place(entry, seed), wrong)
        if tuning["ruleset"] == "fixed" and (tuning["trials"] or tuning["grid_sha256"]):
            yield error("T1", run_place(entry, seed), "tuning: has trials, so the ruleset is tuned")
        if tuning["ruleset"] == "tuned" and entry.meta and not tuned_on:
            yield error(
                "T1", file, "tuned_on is empty, but the runs were tuned: name the tuning seeds"
            )
            return


RULES: tuple[Check, ...] = (
    runs_are_of_the_board,  # C1
    settings_are_the_boards,  # C1, B1
    streams_are_the_boards,
    divisions_are_kept_apart,
    seeds_are_the_boards,  # C2
    seeds_ran_the_same,
    settings_have_their_hash,
    no_run_is_shown_twice,
    source_is_what_ran,  # C3
    verification_is_of_these_runs,
    code_is_committed,  # C4
    tuning_follows_the_rules,  # T1
)
