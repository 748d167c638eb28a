"""Runs one seed of an entry isolated and rebuilt, and compares what came out with what it claims."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from clbench.configure.board import Board
from clbench.configure.common import free_on_boards
from clbench.configure.config import resolve_point
from clbench.data.pool import Pool
from clbench.engine.assemble import assemble
from clbench.engine.build import Run, prepare
from clbench.engine.builds import untrained
from clbench.engine.harness import run_stream, start_ledger
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.reproduce.files import files_of, path_settings
from clbench.leaderboard.reproduce.hygiene import INSTRUCTIONS, Limits
from clbench.leaderboard.reproduce.isolate import DEFAULT_LIMITS, isolated
from clbench.leaderboard.reproduce.job import Job, job_of, source_of
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.remote import RemoteStrategy
from clbench.leaderboard.reproduce.spent import Account
from clbench.leaderboard.shared import check_sources
from clbench.plugins.defaults import UNREADABLE, is_same, written_defaults
from clbench.plugins.registry import Plugin, find
from clbench.plugins.registry import stand_in as plain
from clbench.results.record import Record

CLASS = ("torch", "system", "machine", "cpu_capability", "threads", "device", "accelerator")
"""If these agree, costs must be equal."""
PLATFORM = (*CLASS, "processor")
"""If these agree, answers must be equal. Two machines that agreed in all but the last gave others."""
COUNTS = ("status", "stream_sha256", "counts", "tasks", "stream", "online", "exposure", "factors")
"""What follows from the answers and the stream, of which no hash of answers speaks."""
LATER = ("answers",)
"""Likewise, but records from before it have none: compared where it is claimed."""
COSTS = (
    *("train_flops", "predict_flops", "samples_delivered", "updates"),
    *("state_bytes", "memory_bytes", "encode_flops", "encode_samples"),
)
"""Costs that do not depend on the machine: those of the record must be those of the run again."""
OTHER_DATA = (
    "the data differ here: download them again or, for generated data, install the libraries that "
    "the board's description names"
)
CUTS = 2
LEFT_OVER = 0.01
"""By what share claimed bytes of state may exceed those found: what a learner holds between two calls
beside its state, such as the slots of the batch before, is gone from one that was built anew."""


@dataclass(frozen=True)
class Rerun:
    """What came of one seed in isolation."""

    record: Record
    """With costs as an ordinary run estimates them."""
    cost: dict[str, Any]
    """With every call counted."""
    spent: Account
    """By training, predicting and all else, with every operation counted."""
    rebuilt: bool
    """Whether predictors and learners were built from the state."""
    cuts: tuple[int, ...] = ()
    """Experiences after which the learner was built anew."""

    @property
    def cpu_per_operation(self) -> float | None:
        """CPU seconds per counted operation of training; infinite where none was counted."""
        seconds, operations = self.spent.train.seconds, self.cost["train_flops"]
        if seconds is None:
            return None
        return seconds / operations if operations else math.inf


@dataclass(frozen=True)
class Comparison:
    """A record against the same seed run again."""

    refusal: str
    """Why the record is not believed; empty where it may be."""
    equal: bool
    """Whether every answer was the same."""
    message: str


def point_of(board: Board, entry: Entry, record: Record) -> dict[str, Any]:
    """The configuration of a record, with the entry's own source."""
    if entry.meta is None:
        raise UsageError(f"{entry.folder}: entry.yaml cannot be read (clbench validate)")
    check_sources(entry)
    had = {k: v for k, v in record.config["strategy"].items() if k != "name"}
    if board.tuning is not None and record.tuning["ruleset"] == "fixed":
        # Without a trial table settings are the strategy's defaults, whatever the record shows.
        limits = {"epochs": board.budget.epochs, "batch_size": board.budget.batch_size}
        given = {**board.training, **{k: v for k, v in limits.items() if v is not None}}
        had = {k: v for k, v in given.items() if k in had}
    settings = {f"strategy.{k}": v for k, v in had.items()}
    point = {
        "board": str(board.folder),
        "division": entry.meta.division,
        "strategy": str(entry.source),
        "seed": record.seed,
        "device": record.environment["device"],
        **settings,
    }
    if entry.meta.division == "open":
        point["model"] = str(entry.source_of("model"))
        model = record.config["model"]
        point |= {f"model.{k}": v for k, v in model.items() if k != "name"}
    return point


def anchor_point(board: Board, seed: int, device: str) -> dict[str, Any]:
    """The configuration of a board's lower anchor, with the settings it was frozen with."""
    name = board.naive.strategy
    settings = OmegaConf.from_dotlist([*board.naive.words]).get(name, {})
    return {
        "board": str(board.folder),
        "strategy": str(find("strategy", name).path),
        "seed": seed,
        "device": device,
        **{f"strategy.{key}": value for key, value in settings.items()},
    }


def rerun(
    point: dict[str, Any],
    pools: dict[Any, Pool] | None = None,
    *,
    count: bool = True,
    threads: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    folders: Sequence[Path] = (),
    apart_from: Collection[int] = (),
    zygote: Zygote | None = None,
) -> Rerun:
    """Run an entry's strategy in processes of its own; labels stay here.

    Nothing of the entry is imported here: a built-in strategy and model replace its own while the
    stream is made.

    Args:
        point: the configuration, as ``point_of`` gives it.
        pools: pools loaded before.
        count: whether all operations are counted, and CPU time measured.
        threads: threads of the processes, where they are not to be the board's.
        limits: what each process may use.
        folders: where files are looked for that settings name.
        apart_from: experiences after which the learner is not to be built anew.
        zygote: what the processes are forked from, where it is there already.

    Raises:
        UsageError: a file that a setting names is not here, or the source does not parse, or the
            strategy cannot be built.
        ClbenchError: a process failed.
        KeyboardInterrupt: a signal came.
    """
    own = {k.partition(".")[2]: v for k, v in point.items() if k.startswith("strategy.")}
    division = str(point.get("division", ""))
    files = files_of(Path(point["strategy"]), own, folders, division)
    stand_in = {k: v for k, v in point.items() if not k.startswith("strategy.")}
    stand_in["strategy"] = plain("strategy").word
    models = {k.partition(".")[2]: v for k, v in point.items() if k.startswith("model.")}
    if "model" in point:  # the open division
        stand_in = {k: v for k, v in stand_in.items() if not k.startswith("model.")}
        stand_in["model"] = "linear"
    run = prepare(resolve_point(stand_in), pools)
    job = job_of(run)
    strategy = Plugin("strategy", "strategy", Path(point["strategy"]))
    own = {name: value for name, value in own.items() if name not in files}
    job = replace(job, strategy=source_of(strategy, own), files=files)
    job = replace(job, threads=threads or job.threads)
    if "model" in point:
        job = replace(job, model=source_of(Plugin("model", "model", Path(point["model"])), models))
    done = _run(run, job, _cuts(run, apart_from), count, limits, zygote)
    return replace(done, record=_with_settings(done.record, point))


def _with_settings(record: Record, point: dict[str, Any]) -> Record:
    """The record with the settings of what ran in place of the stand-ins'.

    Those are what was given, and else the defaults, as far as the source shows them.
    """
    config = dict(record.config)
    for group in {"strategy", "model"} & {*point}:
        path = Path(point[group])
        given = {k.partition(".")[2]: v for k, v in point.items() if k.startswith(f"{group}.")}
        for name in {*path_settings(path)} & {*given}:
            given[name] = None if given[name] is None else Path(given[name]).name
        config[group] = {"name": record.config[group]["name"], **written_defaults(path), **given}
        for name in [n for n, value in config[group].items() if value is UNREADABLE]:
            del config[group][name]
    return replace(record, config=config)


def _run(
    run: Run, job: Job, cuts: tuple[int, ...], count: bool, limits: Limits, zygote: Zygote | None
) -> Rerun:
    started = datetime.now(UTC)
    with isolated(run, limits, job, cuts=cuts, count=count, zygote=zygote) as remote:
        outcome = run_stream(run, remote, start_ledger(run))
        if outcome.status == "interrupted":  # which says nothing of the entry
            raise outcome.error or KeyboardInterrupt
        if outcome.status == "error" and isinstance(outcome.error, ClbenchError):
            raise outcome.error
        if remote.state_bytes_method == "state_dict":
            outcome.ledger.state_bytes = max(outcome.ledger.state_bytes, remote.held)
        record = assemble(run, remote, outcome, started)
    return Rerun(record, _full(record, remote), remote.spent, remote.rebuild, cuts)


def _cuts(run: Run, apart_from: Collection[int]) -> tuple[int, ...]:
    """Two experiences, chosen at random, after which the learner is built anew."""
    n = None if run.n_tasks is None else run.stream.n_experiences(run.n_tasks)
    places = [place for place in range(1, n or 1) if place not in apart_from]
    return tuple(random.SystemRandom().sample(places, min(CUTS, len(places))))


def _full(record: Record, remote: RemoteStrategy) -> dict[str, Any]:
    """The costs with every call counted."""
    counted = {
        "train_flops": remote.spent.train.operations,
        "predict_flops": remote.spent.predict.operations,
        "flops_method": "every call counted",
        "flops_ranked": True,
        "flops_uncounted": sorted({*record.cost["flops_uncounted"], *remote.spent.uncounted}),
    }
    return {**record.cost, **counted}


def compare(board: Board, record: Record, again: Record) -> Comparison:
    """Compare a whole record with a whole re-run; no tolerance makes them equal."""
    if again.status not in ("completed", "diverged", "budget_exceeded"):
        reason = again.error["message"] if again.error else again.status
        return _refused(f"the run ended in an error: {reason}")
    if again.pool_sha256 != record.pool_sha256:
        return _refused(OTHER_DATA)
    division = str((record.board or {}).get("division", ""))
    if again.declares["pretrained"] and division != "open":
        return _refused(f"it says that it is pretrained: enter division=open, not {division}")
    other = other_setting(record.config, again.config)
    if other:
        return _refused(other)
    a, b = record.metric(board.primary) or 0.0, again.metric(board.primary) or 0.0
    if again.predictions_sha256 != record.predictions_sha256:
        shown = f"{board.primary} claimed {a:.4f}, found {b:.4f}"
        if same_platform(record.environment, again.environment):
            return _refused(f"different predictions on the same platform ({shown})")
        hint = _fewer_instructions(record, again)
        return Comparison("", False, f"another platform, other answers: {shown}{hint}")
    trained, name = again.declares.get("trains_network"), record.config["strategy"]["name"]
    wrong = untrained(division, trained, str(name))
    if wrong is not None:
        return _refused(str(wrong))
    claimed = [name for name in LATER if getattr(record, name) is not None]
    for name in (*COUNTS, *claimed):
        if _plain(getattr(record, name)) != _plain(getattr(again, name)):
            return _refused(f"the same answers, but other counts: {name} is not what was found")
    same_class = all(record.environment[key] == again.environment[key] for key in CLASS)
    for name in COSTS:
        said, found = record.cost.get(name), again.cost.get(name)
        if name == "state_bytes" and _holds_more(record, again):
            continue
        if said != found and (same_class or name == "samples_delivered"):
            return _refused(f"cost.{name} is claimed to be {said}, and was found to be {found}")
    return Comparison("", True, "bit for bit the same answers")


def _fewer_instructions(record: Record, again: Record) -> str:
    """What to type where only the processor's instructions differ, and here there are more."""
    claimed, found = (r.environment["cpu_capability"] for r in (record, again))
    others = [key for key in CLASS if record.environment[key] != again.environment[key]]
    if (claimed, found, others) != ("AVX2", "AVX512", ["cpu_capability"]):
        return ""
    words = " ".join(f"{name}={value}" for name, value in INSTRUCTIONS.items())
    return f"; it was made with {claimed}, and here is {found}: put {words} before the command"


def _holds_more(record: Record, again: Record) -> bool:
    found = again.cost["state_bytes"]
    return bool(0 <= record.cost["state_bytes"] - found <= found * LEFT_OVER)


def other_setting(claimed: Mapping[str, Any], ran: Mapping[str, Any]) -> str:
    """The first setting that a record shows and that is not what ran again; empty if there is none.

    A setting that the record does not have came after it, and had its default.
    """
    for key, value in claimed.items():
        if key in free_on_boards():
            continue
        inside = isinstance(value, Mapping)
        shown = (
            {f"{key}.{k}": v for k, v in value.items() if k != "name"} if inside else {key: value}
        )
        found = ran.get(key)
        had = (
            {f"{key}.{k}": v for k, v in found.items()}
            if isinstance(found, Mapping)
            else {key: found}
        )
        for name, said in shown.items():
            if name not in had:
                return f"{name}={said!r} is in the record, and what ran again does not say it"
            if not is_same(_plain(said), _plain(had[name])):
                return f"{name} is {said!r} in the record, and was {had[name]!r} when it ran again"
    return ""


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _refused(why: str) -> Comparison:
    return Comparison(why, False, why)


def compare_rows(record: Record, again: Record) -> Comparison:
    """Compare the first rows of a record with a re-run of the first experiences."""
    if again.pool_sha256 != record.pool_sha256:
        return _refused(OTHER_DATA)
    before, now = record.to_counts(), again.to_counts()
    common, i, j = np.intersect1d(before.evaluated_after, now.evaluated_after, return_indices=True)
    if len(common) < 2:
        return _refused("no evaluation in common: a longer --prefix")
    if np.array_equal(before.correct[i], now.correct[j]):
        return Comparison("", True, f"the first {len(common)} rows are the same")
    if same_platform(record.environment, again.environment):
        return _refused("different predictions on the same platform")
    difference = float(np.abs(before.world_accuracy[i] - now.world_accuracy[j]).mean())
    message = f"another platform: world accuracy differs by {difference:.4f} on average"
    return Comparison("", False, f"{message} over {len(common)} rows")


def same_platform(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two environments are known to agree, so that bits must.

    A record from before processors were named says too little for that.
    """
    known = a.get("processor") is not None
    return known and all(a.get(key) == b.get(key) for key in PLATFORM)


def without_diagnostics(record: Record) -> dict[str, Any]:
    """A record as plain data, without what is never ranked."""
    return dataclasses.replace(record, diagnostics={}).to_dict()
