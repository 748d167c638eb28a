"""What a trained strategy is made of: its configuration, its run, and what its answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clbench.configure.config import RunConfig, resolve_point
from clbench.configure.sweep import sweep
from clbench.data.latent import SILENT
from clbench.engine.build import Run, prepare
from clbench.errors import UsageError
from clbench.plugins.registry import GROUPS
from clbench.stream import Stream
from clbench.trained.loaded import Classes
from clbench.world import Cell


def configured(settings: dict[str, Any], words: Sequence[str], device: str) -> RunConfig:
    """The configuration of settings with other words over them.

    Another plug-in of a group, such as the same file in another place, keeps the group's settings.
    """
    split = [word.partition("=") for word in words]
    settings = {**settings, **{key: value for key, _, value in split if key in GROUPS}}
    rest = [word for word, (key, _, _) in zip(words, split, strict=True) if key not in GROUPS]
    points = sweep([*rest, f"device={device}"], settings)
    if len(points) > 1:
        raise UsageError(f"the words ask for {len(points)} runs; ask for one")
    return resolve_point(points[0])


def classes_of(stream: Stream) -> Classes:
    """What the answers of a stream's learner mean."""
    names = stream.pool.class_names
    shown = tuple(names[label] if names else "" for label in stream.labels)
    return Classes(stream.labels, shown, tasks_of(stream.cells) if stream.task_ids else {})


def tasks_of(cells: Sequence[Cell]) -> dict[int, tuple[int, ...]]:
    """The classes of each task that is told."""
    found: dict[int, set[int]] = {}
    for cell in cells:
        if cell.task_id is not None:
            found.setdefault(cell.task_id, set()).add(cell.label)
    return {task: tuple(sorted(labels)) for task, labels in sorted(found.items())}


def run_of(settings: dict[str, Any], words: Sequence[str], device: str) -> Run:
    """The run of settings, with its data."""
    return prepare(configured(settings, words, device), sink=SILENT)
