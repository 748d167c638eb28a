"""Tunes by the rules: a random search on the board's tuning seeds, scored on ``val``.

Methods that are tuned and scored on one stream look better than they are (Cha & Cho 2024, arXiv
2403.09066). On a board every entry has the same number of trials, over the first tasks of the streams
of the tuning seeds; the test split is never read. The whole trial table is part of the entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench import space
from clbench.configure import tuning
from clbench.configure.board import Board, find_board
from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.configure.words import without_folder
from clbench.engine.execute import Done, Options, record_of
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.samplers import SAMPLERS, make_sampler
from clbench.metric import RANKING
from clbench.plugins.registry import did_you_mean
from clbench.results import metrics
from clbench.results.record import Record, write_atomically
from clbench.sweeps.local import run_all
from clbench.util.hashing import sha256_of

TRIALS = 12
"""Trials where neither a board nor the user says otherwise."""
SEEDS = (100, 101)
"""Seeds of a search without a board."""
PRIMARY = "anytime_world_accuracy"
"""What a search without a board maximises unless told otherwise."""
ROLES = {"board", "division", "strategy", "seed", "device", "evaluate_on", "max_tasks", "overrides"}
"""Keys of a point that are no settings to be fixed or drawn."""

Tell = Callable[[str], None]


Runner = Callable[[list[dict[str, Any]], Options], Iterator[Done]]
"""Runs a sweep: here (``run_all``), or on an engine."""


@dataclass(frozen=True)
class Search:
    """What is searched, and by what rules."""

    base: Mapping[str, Any]
    """``{key: value}`` that all trials have."""
    board: Board | None
    spaces: Mapping[str, space.Space]
    """By ``strategy.<setting>``."""
    fixed: Mapping[str, str]
    """What the user set for all trials."""
    seeds: tuple[int, ...]
    tasks: int | None
    primary: str
    n_trials: int
    sampler: str

    @property
    def key(self) -> str:
        """Names the search, for its draws."""
        return self.board.sha256 if self.board else ""

    def points(self, settings: Mapping[str, str]) -> list[dict[str, Any]]:
        """The runs of one trial, one for each seed."""
        words = [*self.base["overrides"], *(f"{k}={v}" for k, v in settings.items())]
        return [
            {**self.base, **settings, "seed": str(seed), "overrides": words} for seed in self.seeds
        ]

    def table(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """The trial table."""
        board = self.board
        table: dict[str, Any] = {
            "board": {"name": board.name, "sha256": board.sha256} if board else None,
            "strategy": Path(str(self.base["strategy"])).stem,
            "primary": self.primary,
            "seeds": [*self.seeds],
            "tasks": self.tasks,
            "sampler": self.sampler,
            "fixed": dict(self.fixed),
            "space": {name: found.as_dict() for name, found in self.spaces.items()},
            "results": results,
        }
        return {**table, "best": tuning.chosen(table)}


def tune(
    words: list[str],
    options: Options,
    tell: Tell,
    *,
    trials: int | None = None,
    primary: str | None = None,
    sampler: str = SAMPLERS[0],
    runner: Runner = run_all,
) -> tuple[dict[str, Any], Path]:
    """Run a search, write its trial table, and return the table and the file's path.

    Args:
        words: ``board=`` or ``scenario=``, ``strategy=``, and settings; a setting with several values
            is drawn from these.
        options: how to run.
        tell: receives a line for every run.
        trials: the number of trials, without a board.
        primary: the metric to maximise, without a board.
        sampler: ``random``, or without a board ``tpe``.
        runner: what runs the trials.

    Raises:
        UsageError: the words ask for what the rules do not allow.
    """
    search = asked(words, trials=trials, primary=primary, sampler=sampler)
    table = search.table(_results(search, options, tell, runner))
    scope = search.board.name if search.board else str(search.base["scenario"])
    sha = tuning.table_sha256(table)[:8]
    path = options.out / "tuning" / f"{Path(scope).stem}-{table['strategy']}-{sha}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(table, indent=2) + "\n").encode())
    return table, path


def asked(
    words: list[str],
    *,
    trials: int | None = None,
    primary: str | None = None,
    sampler: str = SAMPLERS[0],
) -> Search:
    """The search that words ask for; nothing is run.

    Raises:
        UsageError: they ask for what the rules do not allow.
    """
    given = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    if "strategy" not in given:
        raise UsageError("strategy= is required")
    if not {"board", "scenario"} & given.keys():
        raise UsageError("board= is required, or scenario= to tune without a board")
    board = find_board(given["board"]) if "board" in given else None
    _refuse(given, board, trials, primary, sampler)
    seeds = board.tuning_seeds if board else SEEDS
    if board is None and "seed" in given:
        seeds = _seeds(given)
    rest = [word for word in words if not word.startswith("seed=")]
    points = sweep([*rest, f"seed={seeds[0]}", "evaluate_on=val"])
    if len({str(point["strategy"]) for point in points}) > 1:
        raise UsageError("tune one strategy at a time")
    values = {k: [*dict.fromkeys(str(p[k]) for p in points)] for k in points[0] if k not in ROLES}
    swept = {k: space.Choices(*found) for k, found in values.items() if len(found) > 1}
    for name in swept:
        if not name.startswith("strategy."):
            raise UsageError(f"{name} has several values: only settings of the strategy are tuned")
    base = {k: v for k, v in points[0].items() if k not in swept}
    tasks = board.tuning.tasks if board and board.tuning else None
    if tasks is not None:
        base["max_tasks"] = str(tasks)
    elif "max_tasks" in base:
        tasks = int(base["max_tasks"])
    fixed = {k: found[0] for k, found in values.items() if k not in swept}
    names = {k: without_folder(f"{k}={v}").partition("=")[2] for k, v in fixed.items()}
    spaces = _spaces(base, board, fixed)
    n = trials if trials is not None else TRIALS
    return Search(
        base=base,
        board=board,
        spaces={**spaces, **swept},
        fixed=names,
        seeds=tuple(seeds),
        tasks=tasks,
        primary=board.primary if board else primary or PRIMARY,
        n_trials=board.tuning.trials if board and board.tuning else n,
        sampler=sampler,
    )


def _refuse(
    given: Mapping[str, str],
    board: Board | None,
    trials: int | None,
    primary: str | None,
    sampler: str,
) -> None:
    """Refuse what is not the user's to choose.

    Raises:
        UsageError: naming it.
    """
    fixed = ("evaluate_on", "tuned", *(("seed", "max_tasks") if board else ()))
    for key in fixed:
        if key in given:
            raise UsageError(
                f"{key}= cannot be set: tuning is scored on val, on a board by the board's tuning "
                "seeds and first tasks"
            )
    if sampler not in SAMPLERS:
        raise UsageError(f"--sampler {sampler}: choose from {', '.join(SAMPLERS)}")
    if board is not None:
        for option, value in (("--trials", trials), ("--metric", primary)):
            if value is not None:
                raise UsageError(f"{option}: board {board.name!r} fixes it; drop it")
        if sampler != SAMPLERS[0]:
            raise UsageError(f"--sampler {sampler}: a board's search is {SAMPLERS[0]}; drop it")
    if trials is not None and trials < 1:
        raise UsageError(f"--trials {trials} must be at least 1")
    table = metrics.table()
    if primary is not None and (primary not in table or not table[primary].ranks):
        hint = did_you_mean(primary, table)
        raise UsageError(f"--metric {primary}: must be {RANKING}{hint}")


def _seeds(given: Mapping[str, str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in given["seed"].split(","))
    except ValueError as error:
        raise UsageError(f"seed={given['seed']}: must be integers, such as 100,101") from error


def _spaces(
    base: Mapping[str, Any], board: Board | None, fixed: Mapping[str, str]
) -> dict[str, space.Space]:
    """What the strategy declares, less what is fixed."""
    settings = resolve_point(base).strategy
    found = {f"strategy.{name}": what for name, what in space.of(settings).items()}
    limits = {"strategy.epochs", "strategy.batch_size"} if board else set()
    idle = {f"strategy.{name}" for name in settings.without_effect()}
    return {name: what for name, what in found.items() if name not in {*fixed, *limits, *idle}}


def _results(search: Search, options: Options, tell: Tell, runner: Runner) -> list[dict[str, Any]]:
    """The trials in their order: what was set, and the primary on each seed."""
    sampler = make_sampler(search.sampler, search.spaces, search.key)
    results: list[dict[str, Any]] = []
    while len(results) < search.n_trials:
        more = search.n_trials - len(results)
        asked_for = [sampler.ask(len(results) + k) for k in range(more if sampler.at_once else 1)]
        found = _values(search, asked_for, options, tell, runner)
        for settings, values in zip(asked_for, found, strict=True):
            sampler.tell(len(results), tuning.mean(values))
            results.append({"settings": settings, "values": values})
    return results


def _values(
    search: Search, trials: list[dict[str, str]], options: Options, tell: Tell, runner: Runner
) -> list[list[float]]:
    """The primary of each trial on each seed; trials that mean the same run once."""
    names = [_meaning(search, settings) for settings in trials]
    first = {name: trials[names.index(name)] for name in names}
    points = [point for settings in first.values() for point in search.points(settings)]
    found: dict[int, float] = {}
    for done in runner(points, options):
        record = record_of(done)
        tell(f"{done.folder}: {record.status}")
        if record.status == "interrupted":
            raise ClbenchError(
                "tuning was interrupted; continue it by the same command with --resume"
            )
        found[done.number] = value_of(search.board, search.primary, record)
    n = len(search.seeds)
    by_name = {name: [found[number * n + k] for k in range(n)] for number, name in enumerate(first)}
    return [by_name[name] for name in names]


def _meaning(search: Search, settings: Mapping[str, str]) -> str:
    """Equal for two spellings of the same settings."""
    return sha256_of(resolve_point(search.points(settings)[0]).as_dict())


def value_of(board: Board | None, primary: str, record: Record) -> float:
    """The primary of a trial; 0 where it did not end within its share of the budget."""
    value = record.metric(primary) if is_within(board, record) else None
    return 0.0 if value is None else value


def is_within(board: Board | None, record: Record) -> bool:
    """Whether a trial came to its end, and took no more than its share of the budget."""
    budget = board.budget.train_flops if board else None
    n_tasks = record.stream["n_tasks"]
    if budget is not None and n_tasks and record.cost.get("flops_ranked") is not False:
        budget *= min(1.0, len(record.tasks["end"]) / n_tasks)
        if record.cost["train_flops"] > budget:
            return False
    return record.status == "completed"


def trial_words(
    board: Board, strategy: str, division: str, table: Mapping[str, Any], number: int
) -> list[list[str]]:
    """The words of the runs of one trial of a table, one run for each tuning seed.

    Args:
        board: the table's board.
        strategy: the strategy's name or file.
        division: of the entry.
        table: the trial table.
        number: of the trial, from 0.
    """
    settings = {**table["fixed"], **table["results"][number]["settings"]}
    words = [f"board={board.folder}", f"strategy={strategy}", f"division={division}"]
    words += [*(f"{k}={v}" for k, v in settings.items()), "evaluate_on=val"]
    words += [f"max_tasks={table['tasks']}"] if table["tasks"] else []
    return [[*words, f"seed={seed}"] for seed in table["seeds"]]


def ordered(table: Mapping[str, Any]) -> Iterator[tuple[float, dict[str, str]]]:
    """The mean and settings of each trial, the best first."""
    found = [(tuning.mean(trial["values"]), trial["settings"]) for trial in table["results"]]
    yield from sorted(found, key=lambda pair: -pair[0])
