"""A strategy to build in another process, as plain data: sources, settings, shapes, a seed."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clbench import seeding
from clbench.configure.common import plain
from clbench.data.released import KNOWN, Released
from clbench.engine.build import Run
from clbench.errors import NotHere, UsageError
from clbench.leaderboard.reproduce.hygiene import Limits, hygiene
from clbench.plugins.registry import Plugin
from clbench.seeding import Axis
from clbench.strategy import StreamInfo

MODULE = "clbench.data.released"
CACHE = "clbench"
"""Where a process has its cache, in its folder: that is its ``XDG_CACHE_HOME``."""


@dataclass(frozen=True)
class Source:
    """A plug-in as data."""

    name: str
    text: str
    settings: Mapping[str, Any]
    """Plain data."""


@dataclass(frozen=True)
class Job:
    """Everything that an isolated strategy's process receives before the first experience."""

    strategy: Source
    model: Source
    info: StreamInfo
    seed: int
    """Seed of the model axis; the root seed, which determines the stream, is not passed on."""
    threads: int
    device: str
    division: str = ""
    """Of a run on a board; empty elsewhere."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Settings of the strategy that are files, by name: where each is here. Processes get copies."""


def job_of(run: Run) -> Job:
    """The strategy and the model of a run, as data.

    Raises:
        UsageError: a setting is a path, which another process cannot read, or not plain data.
    """
    config = run.config
    return Job(
        strategy=source_of(config.plugins["strategy"], config.strategy),
        model=source_of(config.plugins["model"], config.model),
        info=run.info(),
        seed=seeding.integer(config.common.seed, Axis.MODEL),
        threads=config.common.threads,
        device=str(run.device),
        division=config.protocol.division if config.protocol else "",
    )


def released_in(job: Job) -> list[Released]:
    """The released weights that the sources name: data declared by hash, which loading checks.

    A process has no cache, so it gets a copy.

    Raises:
        NotHere: some are not in the cache.
        UsageError: a source does not parse, or the job is of a division that starts from scratch.
    """
    texts = job.model.text, job.strategy.text
    names = {
        alias.name
        for text in texts
        if MODULE in text
        for node in ast.walk(_parsed(text))
        if isinstance(node, ast.ImportFrom) and node.module == MODULE
        for alias in node.names
    }
    found = [one for one in KNOWN.values() if one.constant in names]
    if found and job.division not in ("", "open"):
        raise UsageError(
            f"the source names the released weights {found[0].name}; the {job.division} division "
            "starts from scratch: enter division=open"
        )
    for one in found:
        if not one.path.is_file():
            raise NotHere(
                f"{one.name} needs weights that are not here: clbench data weights {one.name}"
            )
    return found


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"a source does not parse: {error}; correct it") from error


def first_message(job: Job, folder: Path, limits: Limits) -> dict[str, Any]:
    """What a worker is told before all else; the files that it needs are put into its folder.

    Raises:
        NotHere: released weights that it needs are not in the cache.
    """
    content = plain_job(job)
    settings = content["strategy"]["settings"]
    for name, path in content.pop("files").items():
        copy = folder / f"{name}-{Path(path).name}"
        shutil.copyfile(path, copy)
        settings[name] = str(copy)
    for released in released_in(job):
        copy = folder / CACHE / released.folder / released.path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(released.path, copy)
    in_force = [name for name, works in hygiene(job.device).items() if works is True]
    return {
        **content,
        "folder": str(folder),
        "limits": vars(limits),
        "measures": in_force,
    }


def plain_job(job: Job) -> dict[str, Any]:
    """A job as JSON can hold it."""
    # ``dataclasses.asdict`` would copy every setting of the two sources, for each process of a run.
    info = {**dataclasses.asdict(job.info), "dtype": str(job.info.dtype).removeprefix("torch.")}
    strategy, model = (
        {**vars(source), "settings": dict(source.settings)} for source in (job.strategy, job.model)
    )
    return {**vars(job), "strategy": strategy, "model": model, "info": info}


def source_of(plugin: Plugin, settings: Any) -> Source:
    """A plug-in as data: its file is read, not imported.

    Args:
        plugin: the plug-in.
        settings: a dataclass, or its values by name as in a record.

    Raises:
        UsageError: the file cannot be read as UTF-8, or a setting is a path or not plain data.
    """
    if not isinstance(settings, Mapping):
        names = [f.name for f in dataclasses.fields(settings) if f.init]
        settings = {name: getattr(settings, name) for name in names}
    try:
        text = plugin.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{plugin.path.name}: cannot be read as UTF-8 text") from error
    plain = {name: _plain(value) for name, value in settings.items()}
    try:
        json.dumps(plain)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{plugin.group} {plugin.name!r}: a setting is not plain data (a path, say), which a "
            f"strategy in another process cannot be given"
        ) from error
    return Source(plugin.name, text, plain)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON cannot express it; the typed setting reads the text
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
