"""The record of a run: one JSON file, written by the harness alone.

Every metric can be recomputed from ``counts`` and ``tasks`` without data. The order of the fields is
part of the format; a change of meaning raises ``SCHEMA``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from clbench.errors import ClbenchError
from clbench.metric import Counts
from clbench.plugins.registry import GROUPS, OPTIONAL_GROUPS
from clbench.results import confusion, factors, metrics, online, presence
from clbench.util import seal
from clbench.util.atomic import write_atomically as write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SCHEMA = 1
MAX_BYTES = 1 << 28
"""Largest size of a record that is read; the harness writes a hundredth of it at most."""
COSTS = (
    "train_seconds",
    "predict_seconds",
    "harness_seconds",
    "train_flops",
    "predict_flops",
    "samples_delivered",
    "updates",
    "state_bytes",
    "memory_bytes",
    "frozen_bytes",
    "peak_rss_bytes",
)
ENCODING_COSTS = ("encode_flops", "encode_samples", "encode_seconds")
"""Of runs with a frozen encoder: operations and samples, each sample of the pool counted once, and
the seconds that the pool's latents took when they were made."""
UNRANKED = "operations are not ranked"
"""How the warning begins that the counted calls do not speak for the others."""
Status = Literal["completed", "diverged", "budget_exceeded", "interrupted", "error"]


@dataclass(frozen=True, repr=False)
class Record:
    """What one run was, did, and cost."""

    schema: int
    """Version of this format."""
    status: Status
    """How the run ended; failures are records too."""
    error: dict[str, str] | None
    """``{type, message}`` where status is diverged or error, or interrupted by a time limit."""
    config: dict[str, Any]
    """Every setting, resolved; of a path only the file's name."""
    config_sha256: str
    """Of the settings that make it this experiment (no seed, device, path)."""
    overrides: list[str]
    """What the user passed, as words; of a path only the file's name."""
    board: dict[str, str] | None
    """``{name, protocol, division}`` where the run was one of a leaderboard."""
    tuning: dict[str, Any]
    """``{ruleset: fixed | tuned, trials, grid_sha256}``; the hash is of the whole trial table."""
    declares: dict[str, bool]
    """``{pretrained, grows, resumable}``, as the strategy says."""
    sources: dict[str, str]
    """``{strategy, model, scenario, engine}``, and ``encoder`` where there is one: hashes of syntax
    trees without docstrings."""
    source_sha256: str
    """All of ``sources`` in one."""
    pool_sha256: str
    stream_sha256: str
    """A chain over the keys, labels and transforms that were delivered, starting from the pool's."""
    seed: int
    stream: dict[str, Any]
    """``{n_classes, n_tasks, experiences, task_ids, disjoint_classes, groups}``; records from
    before there were groups do not say so."""
    counts: dict[str, Any]
    """``{evaluated_after (E), cells (C) of {label, domain, task_id, size}, views (V) of cells,
    correct (E, C)}``."""
    tasks: dict[str, list[int]]
    """``{view (T), end (T)}``: each ended task's view (-1: not measured) and the experiences learnt."""
    metrics: dict[str, dict[str, Any]]
    """Name to ``{value, n_terms}``: those of the table when it ran (see ``clbench.metric``)."""
    retention: list[dict[str, Any]]
    frequency: list[dict[str, Any]]
    diagnostics: dict[str, list[float | None]]
    """Name to one value per evaluation; never ranked."""
    warnings: list[str]
    """What the strategy warned of."""
    cost: dict[str, Any]
    """Operations, bytes, samples, updates and seconds; see ``assemble``."""
    predictions_sha256: str
    """A chain over the answers of every evaluation in canonical order, starting from the stream's."""
    environment: dict[str, Any]
    code: dict[str, Any]
    """``{clbench, commit, dirty}``."""
    started: str
    finished: str
    run_sha256: str | None = None
    """The run's identity without its seed; its start names the folder. Older records have none."""
    plugin_sha256: dict[str, str] | None = None
    """By group, the hash of a plug-in's own source less what changes no result, such as the texts of
    errors. Older records have none."""
    results_versions: dict[str, int] | None = None
    """``{engine, ...}``: versions of what the run stands on; records without them are version 1."""
    encoder: dict[str, Any] | None = None
    """What was encoded by what (see ``clbench.data.latent``); left out where nothing was."""
    factors: dict[str, Any] | None = None
    """``{brackets (B) of {factor, bracket, size}, correct (E, B)}``: the test samples again, by what
    is known of how each was made; left out where nothing is."""
    class_names: list[str] | None = None
    """The name of each class of the stream, in label order; left out where the data have none. No
    part of the run's identity."""
    online: dict[str, Any] | None = None
    """What was answered right before it was learnt: ``{size (E), correct (E), blind (E), window,
    classes, ahead, realtime}`` over experiences (see ``clbench.engine.prequential``); left out
    without ``prequential``."""
    exposure: dict[str, list[int]] | None = None
    """``{samples (E), first (C)}``: training samples delivered before each evaluation, and the
    experiences learnt when each cell's class had come in its domain (-1: never). Older records have
    none."""
    answers: dict[str, Any] | None = None
    """``{after, counts (n_classes, n_classes)}``: test samples of each class by the class answered, at
    the last evaluation, made after so many experiences (see ``clbench.results.confusion``). Older
    records, and those of more than 200 classes, have none."""
    resolved: dict[str, dict[str, Any]] | None = None
    """By group, what settings that ``config`` leaves open (null or auto) came to, such as the learning
    rate; where no model was named, its ``name`` and what it is ``named_by``. Older ones have none."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, as the file has it."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {k: v for k, v in data.items() if k not in optional_fields() or v is not None}

    def to_counts(self) -> Counts:
        """The counts as arrays, made once."""
        return self._counts

    @cached_property
    def _counts(self) -> Counts:
        cells, n = self.counts["cells"], len(self.counts["cells"])
        views = np.zeros((len(self.counts["views"]), n), dtype=bool)
        for row, members in zip(views, self.counts["views"], strict=True):
            row[members] = True
        return Counts(
            evaluated_after=np.array(self.counts["evaluated_after"], dtype=np.int64),
            label=np.array([cell["label"] for cell in cells], dtype=np.int64),
            size=np.array([cell["size"] for cell in cells], dtype=np.int64),
            correct=np.array(self.counts["correct"], dtype=np.int64).reshape(-1, n),
            views=views,
            view_of_task=np.array(self.tasks["view"], dtype=np.int64),
            task_end=np.array(self.tasks["end"], dtype=np.int64),
            task_ids=bool(self.stream["task_ids"]),
            groups=bool(self.stream.get("groups", False)),
            online=None if self.online is None else online.arrays(self.online),
            **{name: np.array(v, dtype=np.int64) for name, v in (self.exposure or {}).items()},
        )

    def __repr__(self) -> str:
        """What ran and what came out, in a line; ``to_dict()`` has all."""
        names = " ".join(str(self.config[group]["name"]) for group in ("scenario", "strategy"))
        said = f"<record of {names} seed {self.seed}: {self.status}"
        if self.error is not None:
            said += f", {self.error['type']}: {self.error['message']}"
        accuracy = self.metric("world_accuracy")
        return f"{said}>" if accuracy is None else f"{said}, world accuracy {accuracy:.1%}>"

    def metric(self, name: str) -> float | None:
        """The value of a metric or a cost; None where undefined.

        A metric that the record lacks, as it came later, is computed from the counts.
        """
        if name in self.metrics:
            value: float | None = self.metrics[name]["value"]
            return value
        metric = metrics.table().get(name)
        if metric is not None:
            return metrics.value_of(metric, self.to_counts()).value
        cost: float | None = self.cost.get(name) if name in ENCODING_COSTS else self.cost[name]
        return cost

    def frame(self) -> pd.DataFrame:
        """One row per evaluation: experiences, world accuracy, diagnostics, accuracy of each cell."""
        import pandas as pd

        counts = self.to_counts()
        columns: dict[str, Any] = {
            "experiences": counts.evaluated_after,
            "world_accuracy": counts.world_accuracy,
            **self.diagnostics,
        }
        for number, cell in enumerate(self.counts["cells"]):
            where = [f"class_{cell['label']}"]
            where += [f"domain_{cell['domain']}"] if cell["domain"] else []
            where += [f"task_{cell['task_id']}"] if cell["task_id"] is not None else []
            columns["/".join(where)] = counts.correct[:, number] / counts.size[number]
        return pd.DataFrame(columns)

    def confusion(self) -> pd.DataFrame:
        """Answers at the last evaluation, in test samples: a row for each class, a column an answer.

        Both go by the classes' names, or by their numbers. Where task ids are told, only classes of a
        sample's own task can be answered. Empty where the record has no answers by class.
        """
        return confusion.frame(self)

    def accuracy_matrix(self) -> pd.DataFrame:
        """Accuracy on each task (a column), in [0, 1], right after each task had ended (a row).

        NaN where no evaluation was made then, or the task is not measured. T tasks are T x T numbers.
        """
        return confusion.by_task(self)

    def online_frame(self) -> pd.DataFrame:
        """One row per experience, of ``prequential``: counts, and accuracy in the sliding window."""
        return online.frame(self)

    def plot(self, axes: Axes | None = None) -> Axes:
        """World accuracy over the stream, on given or new axes."""
        from clbench.results.plots import plot_curves

        return plot_curves([self], axes)

    def save(self, path: Path) -> None:
        """Write atomically, as JSON without NaN, with a digest (see ``clbench.util.seal``)."""
        write_atomically(path, seal.sealed(self.to_dict()))

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read a record from its file, or from the run's folder that holds it.

        Raises:
            ClbenchError: the file is missing, is not a record, or of another schema.
        """
        from clbench.util.files import FileError, json_fault, read_text

        path = Path(path)
        if path.is_dir():
            path = path / "record.json"
        try:
            data = json.loads(
                read_text(path, MAX_BYTES, links=True), parse_constant=_refuse_constant
            )
        except FileError as error:
            raise ClbenchError(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise ClbenchError(
                f"{path}: is not a record: {json_fault(error)}; move it away to run anew"
            ) from error
        return cls.parse(data, path)

    @classmethod
    def parse(cls, data: Any, path: Path) -> Record:
        """A record from plain data that was read from ``path``.

        Raises:
            ClbenchError: it is not a record, or of another schema.
        """
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, Mapping) else None
            raise ClbenchError(f"{path}: schema {found!r}, this clbench reads {SCHEMA}")
        if wrong := seal.fault(data):
            raise ClbenchError(f"{path}: {wrong}; move it away to run anew")
        data = {key: value for key, value in data.items() if key != seal.KEY}
        names = {f.name for f in dataclasses.fields(cls)}
        if set(data) | optional_fields() != names:
            odd = ", ".join(sorted((set(data) | optional_fields()) ^ names))
            raise ClbenchError(f"{path}: is not a record: missing or unknown {odd}")
        record = cls(**data)
        try:
            record.check()
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ClbenchError(
                f"{path}: is not a record: {error}; move it away to run anew"
            ) from error
        return record

    def check(self) -> None:
        """Refuse counts that do not fit together.

        Raises:
            ValueError, TypeError, LookupError: whatever is malformed.
        """
        if self.status not in get_args(Status):
            raise ValueError(f"status {self.status!r}")
        groups = [g for g in GROUPS if g in self.config or g not in OPTIONAL_GROUPS]
        names = [self.config[group]["name"] for group in groups] + [self.environment["device"]]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("config or environment has a name that is not text")
        for name in metrics.required() | set(self.metrics):
            _refuse_text(name, self.metrics[name]["value"])
        for name in COSTS:
            _refuse_text(name, self.cost[name])
        for name in ENCODING_COSTS:
            _refuse_text(name, self.cost.get(name))
        counts = self.to_counts()
        n_evaluations, n_tasks = len(counts.evaluated_after), len(counts.task_end)
        if counts.correct.shape != (n_evaluations, len(counts.size)):
            raise ValueError("counts.correct does not have a row for each evaluation")
        if len(counts.view_of_task) != n_tasks:
            raise ValueError("tasks.view and tasks.end differ in length")
        if (counts.view_of_task < -1).any() or (counts.view_of_task >= len(counts.views)).any():
            raise ValueError("tasks.view names a view that counts.views does not have")
        if (counts.correct < 0).any() or (counts.correct > counts.size).any():
            raise ValueError("counts.correct is outside 0..size")
        if self.factors is not None:
            wrong = factors.faults(self.factors, counts.correct.sum(1).tolist())
            if wrong:
                raise ValueError(wrong[0])
        if self.online is not None:
            wrong = online.faults(self.online, self.config, self.stream)
            if wrong:
                raise ValueError(wrong[0])
        for fault in presence.faults(self.exposure, n_evaluations, len(counts.size)):
            raise ValueError(fault)
        for fault in confusion.faults(self.answers, self.counts, self.stream["n_classes"]):
            raise ValueError(fault)
        if self.class_names is not None:
            if not all(isinstance(name, str) for name in self.class_names):
                raise TypeError("class_names must be texts")
            if len(self.class_names) != self.stream["n_classes"]:
                raise ValueError("class_names must have a name for each class")
        for times in (counts.evaluated_after, counts.task_end):
            if (np.diff(times) <= 0).any():
                raise ValueError("evaluations and tasks must be in ascending order")


@functools.cache
def optional_fields() -> frozenset[str]:
    """The fields of a record that are left out where there is nothing to say.

    So it is in records from before them: a new field with the default None is one of these.
    """
    return frozenset(f.name for f in dataclasses.fields(Record) if f.default is None)


def _refuse_text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"{name} is not a number")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
