"""Makes a board: a draft of settings, then a freeze that measures its scale and fixes its streams."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clbench.configure.board import (
    DIVISIONS,
    MIN_SEEDS,
    Anchor,
    Board,
    Budget,
    Reference,
    Tuning,
    builtin_boards,
    pin,
)
from clbench.configure.board_model import Draft
from clbench.configure.common import Common, free_on_boards
from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.configure.tuning import mean
from clbench.configure.typed import names
from clbench.engine.execute import Done, Options, record_of
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard import stability
from clbench.leaderboard.entry import SLUG
from clbench.leaderboard.scores import score_run
from clbench.leaderboard.tune import value_of
from clbench.metric import RANKING
from clbench.plugins.registry import did_you_mean, find, plugins
from clbench.results import metrics
from clbench.results.record import Record, write_atomically
from clbench.sweeps.local import run_all
from clbench.util import schema, yaml_files
from clbench.util.files import FileError, read_yaml
from clbench.util.hashing import sha256_of

MIN_GAP = 0.15
"""Smallest distance of the two anchors on the primary; below it methods have no room."""
MIN_SPREAD = 5.0
"""Smallest distance of the two anchors, in standard deviations over seeds, for ranking."""
MIN_LEARNT = 0.02
"""What is to be learnt before trials tell anything, as a share of the way from floor to ceiling."""


def new(name: str, words: list[str], root: Path) -> Path:
    """Write a draft into a new folder and return its path.

    Raises:
        UsageError: the name or the words are wrong, or the board exists.
    """
    if not SLUG.fullmatch(name):
        raise UsageError(f"board name {name!r}: use a-z, 0-9, - and _, at most 60 characters")
    for word in words:
        if word.split("=")[0].split(".")[0] in ("strategy", "seed", "device", "board"):
            raise UsageError(f"{word}: a board does not fix this setting")
    template = _template()
    sweep([*words, f"strategy={template['anchors']['naive']}"])
    folder = root / name
    if (folder / "board.yaml").exists() or (folder / "draft.yaml").exists():
        raise UsageError(f"{folder}: exists")
    folder.mkdir(parents=True, exist_ok=True)
    draft = Draft(words=words, title=name, **template).model_dump()
    text = "# A draft: edit it, then clbench board freeze " + name + "\n"
    path = folder / "draft.yaml"
    write_atomically(path, (text + yaml_files.dump(draft)).encode())
    return path


def freeze(name: str, root: Path, options: Options, tell: Callable[[str], None]) -> Board:
    """Run the draft's anchors and references on all seeds, and write ``board.yaml``.

    Raises:
        UsageError: the draft is malformed, or the board could not tell strategies apart.
        ClbenchError: one of the runs failed.
    """
    folder = root / name
    if (folder / "board.yaml").exists():
        raise UsageError(f"{folder}: is frozen; make a changed protocol a new board or version")
    draft = read_draft(folder / "draft.yaml")
    seeds = "seed=" + ",".join(map(str, draft.seeds))
    naive, ceiling = draft.anchors.naive, draft.anchors.ceiling
    every = (naive, ceiling, *draft.anchors.references)
    points = sweep([*words_of(draft, *every), seeds])
    _refuse_clock(resolve_point(points[0]).common)
    found: dict[str, dict[int, Record]] = {name: {} for name in every}
    for done in run_all(points, dataclasses.replace(options, resume=True)):
        record = _completed(done)
        tell(f"{done.folder}: {record.status}")
        found[record.config["strategy"]["name"]][record.seed] = record
    some = found[naive][draft.seeds[0]]
    board = _board(folder, draft, some, found)
    _refuse_flat(board)
    _refuse_beaten(board)
    if draft.tuning_tasks is not None:  # else a trial is the whole stream
        learnt = _in_trials(words_of(draft, naive), board, draft.tuning_tasks, options)
        _refuse_blind(board, learnt, draft.tuning_tasks)
    for strategy, records in found.items():
        arm = words_of(draft, strategy)
        stable = _perturbed(arm, board, records, options)
        tell(f"{strategy}: {stability.line(stable)}")
        _refuse_unstable(board, strategy, stable)
    data = {**board.content(), "sha256": board.sha256}
    header = "# A frozen protocol, written by clbench board freeze. It is final: do not edit.\n"
    text = header + yaml_files.dump(data, allow_unicode=True)
    write_atomically(folder / "board.yaml", text.encode())
    (folder / "draft.yaml").unlink()
    pin(board)
    return board


def _completed(done: Done) -> Record:
    """The record of a run that came to its end: another would count as 0."""
    record = record_of(done)
    if record.status != "completed":
        raise ClbenchError(f"{done.folder}: {record.status}; the board was not frozen")
    return record


def words_of(draft: Draft, *strategies: str) -> list[str]:
    """The words of a draft's runs, less their seed: of the stream, and what each strategy is given.

    A strategy has the budget and the training where it has such a setting, and what ``anchors`` says
    of it.
    """
    words = [*draft.words, "strategy=" + ",".join(strategies)]
    said = {word.partition("=")[0]: word for word in draft.anchors.words}
    given = {"epochs": draft.epochs, "batch_size": draft.batch_size, **draft.training}
    for name in strategies:
        settings = names(find("strategy", name).load().Config)
        own = {f"{name}.{k}": v for k, v in given.items() if k in settings and v is not None}
        words += [f"{k}={v}" for k, v in own.items() if k not in said]
    heads = tuple(f"{name}." for name in strategies)
    return [*words, *(word for key, word in said.items() if key.startswith(heads))]


def _board(folder: Path, draft: Draft, some: Record, found: dict[str, dict[int, Record]]) -> Board:
    free = {"strategy", "model"} | free_on_boards()
    settings = {k: v for k, v in some.config.items() if k not in free}
    chance = 0.0
    if draft.primary.endswith("accuracy"):
        per_task = (
            len(some.counts["views"][0]) if some.stream["task_ids"] else some.stream["n_classes"]
        )
        chance = 1 / per_task
    naive = _anchor(draft.anchors.naive, draft, found)
    flops = draft.train_flops
    if flops is None and draft.train_flops_times is not None:
        flops = draft.train_flops_times * naive.train_flops
    board = Board(
        name=folder.name,
        folder=folder,
        protocol=draft.protocol,
        title=draft.title,
        description=draft.description,
        settings=settings,
        model=some.config["model"],
        seeds=tuple(draft.seeds),
        tuning_seeds=tuple(draft.tuning_seeds),
        pool_sha256=some.pool_sha256,
        stream_sha256={
            seed: r.stream_sha256 for seed, r in sorted(found[draft.anchors.naive].items())
        },
        budget=Budget(draft.epochs, draft.batch_size, draft.samples, flops),
        primary=draft.primary,
        floor=Anchor(draft.anchors.floor, chance, 0.0),
        naive=naive,
        ceiling=_anchor(draft.anchors.ceiling, draft, found),
        references=tuple(_reference(r, draft, found) for r in draft.anchors.references),
        divisions=tuple(draft.divisions),
        training=draft.training,
        tuning=Tuning(draft.trials, draft.tuning_tasks),
        sha256="",
    )
    return dataclasses.replace(board, sha256=sha256_of(board.content()))


def _anchor(strategy: str, draft: Draft, found: dict[str, dict[int, Record]]) -> Anchor:
    values = [r.metric(draft.primary) for r in found[strategy].values()]
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        raise UsageError(f"primary {draft.primary}: is undefined for {strategy} on this stream")
    mean = math.fsum(known) / len(known)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in known) / (len(known) - 1))
    flops = [r.cost["train_flops"] for r in found[strategy].values()]
    words = tuple(word for word in draft.anchors.words if word.startswith(f"{strategy}."))
    return Anchor(strategy, round(mean, 6), round(sd, 6), round(sum(flops) / len(flops)), words)


def _reference(strategy: str, draft: Draft, found: dict[str, dict[int, Record]]) -> Reference:
    """A reference, in the division of what it was seen to do."""
    trained = all(r.declares.get("trains_network") for r in found[strategy].values())
    anchor = vars(_anchor(strategy, draft, found))
    return Reference(**anchor, division="network" if trained else "any")


def _refuse_clock(common: Common) -> None:
    if common.realtime is not None:
        raise UsageError(
            f"realtime={common.realtime}: a verifier runs a strategy in another process, whose "
            "operations no clock here sees; drop it from the draft"
        )


def _refuse_flat(board: Board) -> None:
    """Refuse a board whose lower anchor is within the noise of its ceiling."""
    sd = max(board.naive.sd, board.ceiling.sd)
    apart = board.ceiling.mean - board.naive.mean
    if apart < MIN_GAP:
        raise UsageError(
            f"{board.folder}: cannot rank: {board.ceiling.strategy} {board.ceiling.mean:.4f} and "
            f"{board.naive.strategy} {board.naive.mean:.4f} are closer than {100 * MIN_GAP:.0f} "
            "points; choose another primary, more tasks, or more classes"
        )
    if apart < MIN_SPREAD * sd:
        raise UsageError(
            f"{board.folder}: cannot rank: {board.ceiling.strategy} {board.ceiling.mean:.4f} and "
            f"{board.naive.strategy} {board.naive.mean:.4f} are {apart:.4f} apart, less than "
            f"{MIN_SPREAD:g} standard deviations over seeds ({sd:.4f}); choose another "
            "primary, fewer tasks, or more classes"
        )


def _refuse_beaten(board: Board) -> None:
    """Refuse a board where a reference beats the ceiling of its division beyond the spread."""
    for found in board.references:
        ceiling = board.ceiling_of(found.division)
        beyond = found.mean - ceiling.mean
        if beyond > max(found.sd, ceiling.sd):
            raise UsageError(
                f"{board.folder}: cannot rank: {found.strategy} {found.mean:.4f} beats the ceiling of "
                f"division {found.division}, {ceiling.strategy} {ceiling.mean:.4f}, by more than the "
                "spread over seeds; give the ceiling more epochs or another rate (anchors.words)"
            )


def _in_trials(words: list[str], board: Board, tasks: int, options: Options) -> float:
    """The mean of the primary in a trial of tuning: on ``val``, over the first tasks of its seeds."""
    seeds = ",".join(map(str, board.tuning_seeds))
    points = sweep([*words, f"seed={seeds}", "evaluate_on=val", f"max_tasks={tasks}"])
    runs = run_all(points, dataclasses.replace(options, resume=True))
    return mean([value_of(board, board.primary, _completed(done)) for done in runs])


def _refuse_blind(board: Board, in_trials: float, tasks: int) -> None:
    """Refuse a board whose lower anchor learns, but nothing yet in the tasks of a trial."""
    floor, ceiling = board.floor.mean, board.ceiling.mean
    learnt, whole = ((v - floor) / (ceiling - floor) for v in (in_trials, board.naive.mean))
    if learnt < MIN_LEARNT <= whole:
        raise UsageError(
            f"{board.folder}: cannot tune: over the first {tasks} tasks {board.naive.strategy} is at "
            f"{in_trials:.4f}, where a constant answer is at {floor:.4f}: trials would be chosen by "
            "chance; raise tuning_tasks, or take more steps a task"
        )


def _perturbed(
    words: list[str], board: Board, records: dict[int, Record], options: Options
) -> stability.Stability:
    """Run an anchor's first seeds with another learning rate, and with other threads."""
    some = records[board.seeds[0]]
    values = {seed: score_run(board, record) for seed, record in records.items()}

    def run(seed: int, rate: float | None, threads: int | None) -> float:
        kept = words if threads is None else [w for w in words if not w.startswith("threads=")]
        more = [f"threads={threads}"] if threads is not None else [f"strategy.lr={rate!r}"]
        [done] = run_all(
            sweep([*kept, *more, f"seed={seed}"]), dataclasses.replace(options, resume=True)
        )
        return score_run(board, _completed(done))

    rate, threads = stability.rate_of(some.config["strategy"]), some.config["threads"]
    seeds = board.seeds[: stability.SEEDS]
    return stability.measure(run, values, seeds, rate, threads)


def _refuse_unstable(board: Board, strategy: str, found: stability.Stability) -> None:
    """Refuse a board on which a perturbation far below any meaning moves a reference run."""
    if found.unstable:
        raise UsageError(
            f"{board.folder}: cannot rank: {strategy} is {stability.line(found)}; choose a smaller "
            "learning rate, a schedule, or more epochs"
        )


def _template() -> dict[str, Any]:
    """What every draft starts with: ``anchors``, which no code names."""
    try:
        found: dict[str, Any] = read_yaml(builtin_boards() / "draft.yaml")
    except FileError as error:
        raise UsageError(f"{error}; install clbench again") from error
    return found


def read_draft(path: Path) -> Draft:
    """A draft that can be frozen.

    Raises:
        UsageError: it is malformed.
    """
    try:
        data = read_yaml(path)
    except FileError as error:
        raise UsageError(f"{error} (clbench board new)") from error
    if isinstance(data, dict):
        data = {**_template(), **data}  # a draft from before drafts had anchors
    wrong = schema.faults(Draft, data)
    if wrong:
        raise UsageError(f"{path}: {'; '.join(wrong[:3])}")
    draft = Draft.model_validate(data)
    if not re.fullmatch(r"\d+\.\d+", draft.protocol):
        raise UsageError(f'{path}: protocol must be major.minor, such as "1.0"')
    if len(set(draft.seeds)) < MIN_SEEDS:
        raise UsageError(f"{path}: a board needs at least {MIN_SEEDS} seeds")
    if not draft.tuning_seeds or set(draft.seeds) & set(draft.tuning_seeds):
        raise UsageError(f"{path}: tuning_seeds must hold at least one seed, and none of seeds")
    primary = metrics.table().get(draft.primary)
    if primary is None or not primary.ranks:
        raise UsageError(f"{path}: primary must be {RANKING}")
    known = plugins("strategy")
    every = (draft.anchors.naive, draft.anchors.ceiling, *draft.anchors.references)
    for strategy in every:
        if strategy not in known:
            hint = did_you_mean(strategy, known)
            raise UsageError(f"{path}: anchors: unknown strategy {strategy!r}{hint}")
    if len({*every}) < len(every):
        raise UsageError(f"{path}: anchors: no two strategies may be the same one")
    if not draft.divisions or set(draft.divisions) - set(DIVISIONS):
        raise UsageError(f"{path}: divisions are {', '.join(DIVISIONS)}")
    limits = (draft.epochs, draft.batch_size, draft.samples, draft.train_flops)
    if not any((*limits, draft.train_flops_times)):
        raise UsageError(f"{path}: needs a budget: epochs and batch_size, samples, or train_flops")
    return draft
