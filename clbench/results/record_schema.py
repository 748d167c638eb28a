"""What a record that comes from others must look like before anything is computed from it.

Its form is ``record_model``; here is what its fields must have to do with one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from clbench.results import confusion, factors, metrics, online, presence
from clbench.results.record import ENCODING_COSTS, SCHEMA
from clbench.results.record_model import RecordForm
from clbench.util import schema, seal
from clbench.util.hashing import sha256_of
from clbench.util.schema import NAME

MAX_WORK = 10**9
"""Of evaluations x cells x views: what recomputing the metrics of one record multiplies."""
MAX_TABLE = 10**7
"""Of any two of tasks, cells, views and classes: what recomputing them holds."""
LARGEST_SHARE = 1.001
"""With room for rounding; rule M1 recomputes them all."""
NOT_RECIPE = ("latents", "samples", "scale", "flops_per_sample", "seconds")
"""Of ``encoder``: measured; the pool's hash is of the rest."""


def faults(data: Any) -> list[str]:
    """All that is wrong with the form of a record.

    An empty list means that every field can be trusted to have its type and range, and recomputing
    the metrics to be cheap.
    """
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, Mapping) else None
        return [f"schema {str(found)[:40]!r} is unknown; this clbench reads {SCHEMA}: run it anew"]
    found = schema.faults(RecordForm, data)
    found = found or [*_metrics(data), *_config(data), *_sizes(data), *_places(data)]
    damage = seal.fault(data) if not found else None
    return [damage] if damage else found


def _metrics(data: Mapping[str, Any]) -> Iterator[str]:
    """All metrics that were there from the first record on; shares are shares.

    A later metric may be absent, and one that this clbench does not know may be there.
    """
    shares = {metric.name for metric in metrics.BUILTIN if metric.unit == "%"}
    for name in sorted(metrics.required() - data["metrics"].keys()):
        yield f"metrics.{name} is missing"
    for name, said in data["metrics"].items():
        if name in shares and abs(said["value"] or 0) > LARGEST_SHARE:
            yield f"metrics.{name}.value must be in -1..1, and is {said['value']}"


def _config(data: Mapping[str, Any]) -> Iterator[str]:
    """Each group of settings has a name, and the settings repeat the record's seed."""
    for group in ("scenario", "strategy", "data", "model"):
        settings = data["config"].get(group)
        if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
            yield f"config.{group} must be a mapping with a name"
        elif len(settings["name"]) > 100 or not re.fullmatch(NAME, settings["name"]):
            yield f"config.{group}.name is malformed: {settings['name'][:40]!r}"
    yield from _encoder(data)
    yield from _resolved(data)
    if data["config"].get("seed") != data["seed"]:
        yield f"config.seed is {str(data['config'].get('seed'))[:20]} but seed is {data['seed']}"
    if not re.fullmatch(r"log|[1-9]\d{0,8}", str(data["config"].get("eval_every"))):
        yield "config.eval_every must be a number or log"
    most = data["config"].get("max_tasks")
    if most is not None and (type(most) is not int or not 1 <= most <= schema.LARGEST):
        yield "config.max_tasks must be a whole number of at least 1, or null"


def _resolved(data: Mapping[str, Any]) -> Iterator[str]:
    """Only settings that are open have come to something; and the model's name, where none is said."""
    for group, values in (data.get("resolved") or {}).items():
        settings = data["config"].get(group)
        if not isinstance(settings, Mapping):
            yield f"resolved.{group} is of no group of config"
            continue
        for name, value in values.items():
            is_name = (group, name) in (("model", "name"), ("model", "named_by"))
            if is_name and name == "name" and value != settings.get("name"):
                yield "resolved.model.name is not config.model.name"
            elif not is_name and (name not in settings or settings[name] not in (None, "auto")):
                yield f"resolved.{group}.{name} is of a setting that config does not leave open"


def _encoder(data: Mapping[str, Any]) -> Iterator[str]:
    """A record has all that an encoder leaves in it, or nothing; and the pool's hash is of it."""
    parts = [data.get("encoder"), data["config"].get("encoder"), data["sources"].get("encoder")]
    there = [part is not None for part in parts] + [name in data["cost"] for name in ENCODING_COSTS]
    if any(there) and not all(there):
        yield "encoder must be in encoder, config, sources and cost, or in none of them"
    elif data.get("encoder") is not None:
        recipe_of, config = data["encoder"], data["config"]["encoder"]
        name = config.get("name") if isinstance(config, Mapping) else None
        if name != recipe_of["encoder"]:
            yield f"config.encoder.name is {str(name)[:40]!r}, but encoder.encoder is not"
        recipe = {k: v for k, v in recipe_of.items() if k not in NOT_RECIPE}
        if sha256_of(recipe) != data["pool_sha256"]:
            yield "pool_sha256 is not that of encoder: the record was edited; run it anew"


def _sizes(data: Mapping[str, Any]) -> Iterator[str]:
    """The counts have the same shape throughout, and no more than can be worked through."""
    counts, tasks, stream = data["counts"], data["tasks"], data["stream"]
    n, n_tasks = len(counts["cells"]), len(tasks["end"])
    n_evaluations, n_views = len(counts["evaluated_after"]), len(counts["views"])
    if n == 0:
        yield "counts.cells is empty"
    if len(counts["correct"]) != n_evaluations or not set(map(len, counts["correct"])) <= {n}:
        yield "counts.correct must have a row for each evaluation and a column for each cell"
    if len(tasks["view"]) != n_tasks:
        yield "tasks.view and tasks.end differ in length"
    if max(tasks["view"], default=-1) >= n_views or (n_tasks and not n_views):
        yield "tasks.view names a view that counts.views does not have"
    for view in counts["views"]:
        if not view or min(view) < 0 or max(view) >= n or len(set(view)) < len(view):
            yield "counts.views must hold numbers of cells, at least one each and none twice"
            break
    if any(cell["label"] >= stream["n_classes"] for cell in counts["cells"]):
        yield "counts.cells has a label that is not below stream.n_classes"
    if len({(c["label"], c["domain"], c["task_id"]) for c in counts["cells"]}) != n:
        yield "counts.cells has a cell twice"
    if data.get("class_names") is not None and len(data["class_names"]) != stream["n_classes"]:
        yield "class_names must have a name for each of stream.n_classes"
    for name, series in data["diagnostics"].items():
        if len(series) != n_evaluations:
            yield f"diagnostics.{name} must have a value for each evaluation"
    if data.get("factors") is not None:
        yield from factors.faults(data["factors"], [sum(row) for row in counts["correct"]])
    yield from _online(data)
    yield from presence.faults(data.get("exposure"), n_evaluations, n)
    yield from confusion.faults(data.get("answers"), counts, stream["n_classes"])
    n_classes = len({cell["label"] for cell in counts["cells"]})
    work = n_evaluations * n * n_views
    largest = max(max(n_views, n_tasks, n_classes) * n, n_evaluations * max(n_views, n))
    if work > MAX_WORK or largest > MAX_TABLE:
        yield "counts are too many to recompute the metrics: evaluate less often (eval_every=log)"


def _online(data: Mapping[str, Any]) -> Iterator[str]:
    """Predictions before learning fit the settings, and what was learnt fits what was missed."""
    found, config, stream = data.get("online"), data["config"], data["stream"]
    delay = config.get("label_delay", 0)
    if type(delay) is not int or delay < 0:
        yield "config.label_delay must be a whole number of at least 0"
    elif found is None:
        if config.get("prequential"):
            yield "online is missing, though config.prequential is set"
    else:
        wrong = online.faults(found, config, stream)
        yield from wrong
        # Unlabelled samples are delivered too, and have no size here.
        if not wrong and data["cost"]["samples_delivered"] < online.samples_learnt(
            found, config, stream
        ):
            yield "cost.samples_delivered is less than online.size of what was not missed"


_PLACE = re.compile(
    r"(?<![\w.:/\\-])(?:/[\w.~+-]+/|//+[\w.~+-]|[A-Za-z]:[\\/]|\\\\\w|~\w*[\\/]|file:)"
    r"|(?<![\w.])\.\.[\\/]"
    r"|[\w.+-]+@[\w-]+\.[a-z]{2,}\b"
)


def _places(data: Mapping[str, Any]) -> Iterator[str]:
    """Nothing tells where the run was made: no path that leaves a folder, no address of a person."""
    for name in (
        "error",
        "config",
        "overrides",
        "warnings",
        "cost",
        "environment",
        "code",
        "resolved",
    ):
        for found in _texts(data.get(name)):
            place = _PLACE.search(found)
            if place:
                yield f"{name} tells where it was run ({place[0][:40]!r}): it must not leave home"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
