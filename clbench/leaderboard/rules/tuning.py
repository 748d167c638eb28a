"""Rule T1 of the trial table: it is that of the board's search, and its choice is what was run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from clbench.configure import tuning
from clbench.configure.board import Board
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.retune import TABLE
from clbench.leaderboard.rules.findings import Check, Finding, error, place, run_place
from clbench.leaderboard.rules.sources import is_source
from clbench.leaderboard.rules.structure import SOURCES
from clbench.plugins.defaults import is_same, written_defaults
from clbench.results.record import Record
from clbench.util.files import FileError


def table_is_the_boards_search(board: Board, entry: Entry) -> Iterator[Finding]:
    """T1: as many trials as the board has, drawn by its search, on its tuning seeds."""
    file = place(entry, TABLE)
    table, wrong = _table(entry)
    if table is None:
        if wrong:
            yield error("T1", file, f"{wrong}: clbench tune writes it")
        elif board.tuning is not None and any(map(_sets, entry.records.values())):
            yield error(
                "T1",
                file,
                "is missing, and settings are not the defaults: clbench tune "
                f"board={board.name} strategy=..., then run with tuned=",
            )
        return
    rules = board.tuning
    tasks, n = (rules.tasks, rules.trials) if rules else (table["tasks"], len(table["results"]))
    wanted = {
        "board": {"name": board.name, "sha256": board.sha256},
        "primary": board.primary,
        "seeds": [*board.tuning_seeds],
        "tasks": tasks,
        "sampler": "random",
    }
    for key, value in wanted.items():
        if table[key] != value:
            yield error("T1", file, f"{key} is {table[key]!r}; the board's search has {value!r}")
    if len(table["results"]) != n:
        yield error("T1", file, f"has {len(table['results'])} trials; the board has {n}")
    try:
        drawn = tuning.draws(table, len(table["results"]))
    except (ValueError, TypeError, KeyError) as why:
        yield error("T1", file, f"space: {why}")
        return
    for number, (trial, settings) in enumerate(zip(table["results"], drawn, strict=True)):
        if trial["settings"] != settings:
            yield error("T1", file, f"trial {number} is not what the search draws: tune again")
            return
        if len(trial["values"]) != len(table["seeds"]):
            yield error("T1", file, f"trial {number} lacks a value for a tuning seed: tune again")
            return


def choice_is_what_ran(board: Board, entry: Entry) -> Iterator[Finding]:
    """T1: the runs have the settings of the best trial, and name this table."""
    table, _ = _table(entry)
    if table is None:
        return
    file = place(entry, TABLE)
    chosen = tuning.chosen(table)
    if table["best"] != chosen:
        yield error("T1", file, "best is not what the trials give: never edit it; tune again")
    sha = tuning.table_sha256(table)
    for seed, record in entry.records.items():
        if record.tuning["grid_sha256"] != sha or record.tuning["trials"] != len(table["results"]):
            wrong = "tuning names another trial table than the entry has: run with tuned= of it"
            yield error("T1", run_place(entry, seed), wrong)
        for name, text in chosen.items():
            if not _is(record.config, name, text):
                wrong = f"{name} is not {text}, which the trials give: run with tuned= alone"
                yield error("T1", run_place(entry, seed), wrong)


def nothing_else_is_set(board: Board, entry: Entry) -> Iterator[Finding]:
    """T1: what the trials did not choose has the board's value, or the default in the source.

    Otherwise settings could be chosen on the seeds that are scored.
    """
    table, wrong = _table(entry)
    if wrong or (table is None and board.tuning is None):
        return
    chosen = tuning.chosen(table) if table else {}
    budget = {
        "strategy.epochs": board.budget.epochs,
        "strategy.batch_size": board.budget.batch_size,
    }
    fixed = {key for key, value in budget.items() if value is not None}  # B1 looks at them
    training = {f"strategy.{name}": value for name, value in board.training.items()}
    for group in SOURCES:
        path = entry.source_of(group)
        if not is_source(path):
            continue
        defaults = {f"{group}.{k}": v for k, v in written_defaults(path).items()}
        for seed, record in entry.records.items():
            settings = {f"{group}.{k}": v for k, v in record.config[group].items() if k != "name"}
            for name, value in settings.items():
                if name in chosen or name in fixed or name not in defaults:
                    continue
                # What has no effect keeps its default where the board gives something else.
                usual = [defaults[name], *([training[name]] if name in training else [])]
                if not any(is_same(value, one) for one in usual):
                    given = " or ".join(str(one)[:40] for one in usual)
                    wrong = f"{name} is {str(value)[:40]}, which no trial chose; else it is {given}"
                    fix = "leave it out, or set it in clbench tune too"
                    yield error("T1", run_place(entry, seed), f"{wrong}: {fix}")


def _sets(record: Record) -> bool:
    """Whether a run names a trial table, or sets something of its strategy.

    The record may hide it; ``verify`` runs an entry without a table with the defaults.
    """
    heads = (word.partition("=")[0].partition(".") for word in record.overrides)
    groups = ("scenario", "data", "model", "encoder")
    return record.tuning["ruleset"] != "fixed" or any(d and g not in groups for g, d, _ in heads)


def _table(entry: Entry) -> tuple[dict[str, Any] | None, str]:
    """An entry's trial table, or what is wrong with it; neither where there is none."""
    path = entry.folder / TABLE
    if not os.path.lexists(path):
        return None, ""
    try:
        return tuning.read(path), ""
    except (FileError, ValueError) as why:
        return None, " ".join(str(why).removeprefix(f"{path}: ").split())


def _is(config: Mapping[str, Any], name: str, text: str) -> bool:
    """Whether a setting of a record equals a word's text."""
    group, _, setting = name.partition(".")
    settings = config.get(group)
    if not isinstance(settings, Mapping) or (setting or "name") not in settings:
        return False
    value = settings[setting or "name"]
    if value is None or isinstance(value, bool):
        return {"null": None, "true": True, "false": False}.get(text.lower(), text) is value
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    if isinstance(value, list):
        return text.replace(" ", "") == str(value).replace(" ", "").replace("'", "")
    return str(value) == text


RULES: tuple[Check, ...] = (
    table_is_the_boards_search,
    choice_is_what_ran,
    nothing_else_is_set,
)
