"""What a record that comes from others must look like before anything is computed from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from clbench.results import factors, metrics
from clbench.results.record import SCHEMA, Status
from clbench.util.hashing import sha256_of
from clbench.util.schema import (
    Rule,
    fields,
    flag,
    integer,
    integers,
    items,
    maybe,
    number,
    numbers_or_null,
    one_of,
    plain,
    rows_of_integers,
    sha256,
    table,
    text,
    timestamp,
)

MAX_WORK = 10**9
"""Of evaluations x cells x views: what recomputing the metrics of one record multiplies."""
MAX_TABLE = 10**7
"""Of any two of tasks, cells, views and classes: what recomputing them holds."""
MOST = 10**6
NAME = r"[A-Za-z0-9][\w.-]*"
SECONDS = number(0, 1e9)
SHARE = number(-1.001, 1.001)
"""With room for rounding; M1 recomputes them all."""

ENCODER = fields(
    encoder=text(100, NAME),
    settings=table(plain, key=NAME),
    weights_sha256=sha256,
    code_sha256=sha256,
    packages=table(text(100), key=NAME),
    data_sha256=sha256,
    latents=integer(1),
    samples=integer(1),
    scale=number(0, 1),
    flops_per_sample=integer(),
    seconds=SECONDS,
)
NOT_RECIPE = ("latents", "samples", "scale", "flops_per_sample", "seconds")
"""Of ``encoder``: measured; the pool's hash is of the rest."""
ENCODING: dict[str, Rule] = {
    "encode_flops": integer(),
    "encode_samples": integer(),
    "encode_seconds": SECONDS,
}

FACTORS = fields(
    brackets=items(fields(factor=text(60), bracket=text(100), size=integer(1, 10**9)), 10**4),
    correct=rows_of_integers(MOST),
)

RECORD = fields(
    ["encoder", "factors"],
    schema=integer(SCHEMA, SCHEMA),
    status=one_of(*get_args(Status)),
    error=maybe(fields(type=text(100), message=text(700))),
    config=table(plain, key=NAME),
    config_sha256=sha256,
    overrides=items(text(1000), 200),
    board=maybe(fields(name=text(60), protocol=text(20), division=text(20))),
    tuning=fields(ruleset=one_of("fixed", "tuned"), trials=integer(), grid_sha256=maybe(sha256)),
    declares=fields(pretrained=flag, grows=flag, resumable=flag),
    sources=fields(
        ["encoder"], strategy=sha256, model=sha256, scenario=sha256, engine=sha256, encoder=sha256
    ),
    source_sha256=sha256,
    pool_sha256=sha256,
    stream_sha256=sha256,
    seed=integer(),
    stream=fields(
        ["groups"],
        n_classes=integer(1, 10**5),
        n_tasks=maybe(integer(1)),
        experiences=integer(0, 10**6),
        task_ids=flag,
        disjoint_classes=flag,
        groups=flag,
    ),
    counts=fields(
        evaluated_after=integers(MOST),
        cells=items(
            fields(
                label=integer(0, 10**5),
                domain=integer(),
                task_id=maybe(integer()),
                size=integer(1, 10**9),
            ),
            MOST,
        ),
        views=rows_of_integers(MOST),
        correct=rows_of_integers(MOST),
    ),
    tasks=fields(view=integers(MOST, low=-1), end=integers(MOST, low=1)),
    metrics=fields(
        set(metrics.table()) - metrics.required(),
        **dict.fromkeys(metrics.table(), fields(value=maybe(SHARE), n_terms=integer())),
    ),
    retention=items(fields(since=integer(), to=integer(), accuracy=SHARE, n_terms=integer(1)), 64),
    frequency=items(
        fields(label=integer(), frequency=SHARE, accuracy=SHARE, n_terms=integer(1)), MOST
    ),
    diagnostics=table(numbers_or_null(MOST), key=r"[\w.() /%-]+"),
    warnings=items(text(1000), 1000),
    cost=fields(
        ENCODING,
        **ENCODING,
        train_seconds=maybe(SECONDS),
        predict_seconds=SECONDS,
        harness_seconds=SECONDS,
        train_flops=integer(),
        predict_flops=integer(),
        flops_method=text(),
        flops_uncounted=items(text(100), 100),
        samples_delivered=integer(),
        updates=integer(),
        state_bytes=integer(),
        state_bytes_method=text(),
        memory_bytes=integer(),
        frozen_bytes=integer(),
        peak_rss_bytes=maybe(integer()),
    ),
    predictions_sha256=text(64, r"([0-9a-f]{64})?"),
    environment=fields(
        python=text(100),
        torch=text(100),
        numpy=text(100),
        system=text(100),
        machine=text(100),
        cpu_capability=text(100),
        cores=maybe(integer(1)),
        threads=integer(1),
        device=text(20),
        accelerator=maybe(text(100)),
        hardware_class=text(200),
    ),
    code=fields(clbench=text(100), commit=maybe(text(64, "[0-9a-f]{40,64}")), dirty=maybe(flag)),
    started=timestamp,
    finished=timestamp,
    encoder=maybe(ENCODER),
    factors=maybe(FACTORS),
)


def faults(data: Any) -> list[str]:
    """All that is wrong with the form of a record.

    An empty list means that every field can be trusted to have its type and range, and recomputing
    the metrics to be cheap.
    """
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, Mapping) else None
        return [f"schema {str(found)[:40]!r} is unknown; this clbench reads {SCHEMA}: run it anew"]
    found = list(RECORD(data, ""))
    return found or [*_config(data), *_sizes(data), *_places(data)]


def _config(data: Mapping[str, Any]) -> Iterator[str]:
    """Each group of settings has a name, and the settings repeat the record's seed."""
    for group in ("scenario", "strategy", "data", "model"):
        settings = data["config"].get(group)
        if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
            yield f"config.{group} must be a mapping with a name"
        else:
            yield from text(100, NAME)(settings["name"], f"config.{group}.name")
    yield from _encoder(data)
    if data["config"].get("seed") != data["seed"]:
        yield f"config.seed is {str(data['config'].get('seed'))[:20]} but seed is {data['seed']}"
    if not re.fullmatch(r"log|[1-9]\d{0,8}", str(data["config"].get("eval_every"))):
        yield "config.eval_every must be a number or log"
    yield from maybe(integer(1))(data["config"].get("max_tasks"), "config.max_tasks")


def _encoder(data: Mapping[str, Any]) -> Iterator[str]:
    """A record has all that an encoder leaves in it, or nothing; and the pool's hash is of it."""
    parts = [data.get("encoder"), data["config"].get("encoder"), data["sources"].get("encoder")]
    there = [part is not None for part in parts] + [name in data["cost"] for name in ENCODING]
    if any(there) and not all(there):
        yield "encoder must be in encoder, config, sources and cost, or in none of them"
    elif data.get("encoder") is not None:
        told, config = data["encoder"], data["config"]["encoder"]
        name = config.get("name") if isinstance(config, Mapping) else None
        if name != told["encoder"]:
            yield f"config.encoder.name is {str(name)[:40]!r}, but encoder.encoder is not"
        recipe = {k: v for k, v in told.items() if k not in NOT_RECIPE}
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
    for name, series in data["diagnostics"].items():
        if len(series) != n_evaluations:
            yield f"diagnostics.{name} must have a value for each evaluation"
    if data.get("factors") is not None:
        yield from factors.faults(data["factors"], [sum(row) for row in counts["correct"]])
    n_classes = len({cell["label"] for cell in counts["cells"]})
    work = n_evaluations * n * n_views
    largest = max(max(n_views, n_tasks, n_classes) * n, n_evaluations * max(n_views, n))
    if work > MAX_WORK or largest > MAX_TABLE:
        yield "counts are too many to recompute the metrics: evaluate less often (eval_every=log)"


_PLACE = re.compile(
    r"(?<![\w.:/\\-])(?:/[\w.~+-]+/|[A-Za-z]:[\\/]|\\\\\w|~\w*/|file:)"
    r"|[\w.+-]+@[\w-]+\.[a-z]{2,}\b"
)


def _places(data: Mapping[str, Any]) -> Iterator[str]:
    """Nothing tells where the run was made: no absolute path, no address of a person."""
    for name in ("error", "config", "overrides", "warnings", "cost", "environment", "code"):
        for found in _texts(data[name]):
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


VERIFICATION: Rule = fields(
    tier=one_of("reproduced", "held-out"),
    sources=table(sha256, key=r"\w+", most=5),
    records_sha256=table(sha256, key=r"0|[1-9]\d{0,8}", most=1000),
    detail=table(plain, key=NAME),
)
"""``verified.json``."""
