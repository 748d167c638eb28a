"""Runs the example of every strategy and scenario, and keeps what came out.

    python -m benchmarks.site.runs            runs what is missing or stale, and writes the file
    python -m benchmarks.site.runs --all      runs all of them again (about five minutes on two cores)

The file is ``docs/plugins/examples.json``. The site's figures are drawn from it. A run is stale where
its words now have another hash: a plug-in, a setting or a results version was changed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import clbench
from benchmarks import strategies_table as table
from clbench.engine.resolved import resolved
from clbench.plugins.registry import Plugin, plugins
from clbench.report.drawing import thinned
from clbench.results.panel_kinds import curve, is_cumulative
from clbench.results.record import Record

FILE = Path(__file__).parents[2] / "docs" / "plugins" / "examples.json"
METRICS = (
    "world_accuracy",
    "average_incremental_accuracy",
    "learning_accuracy",
    "forgetting",
    "worst_group_accuracy",
)
COSTS = ("state_bytes", "memory_bytes", "frozen_bytes", "train_flops", "updates")
MOST_TASKS = 10
"""A stream of more tasks has no matrix."""
MOST_COLUMNS = 50
"""Of the picture of a stream; a longer one is cut off, or its chunks are joined."""
PASSES = "strategy.epochs=10"
"""Passes over a task of strategies whose default is one: a task of digits is small."""
BESIDE = ("naive", "joint")
"""What every strategy is drawn beside."""
LEARNERS = ("naive", "er", "joint")
"""What runs on the stream of a scenario."""
SCENARIOS: dict[str, tuple[str, ...]] = {
    "all_pairs": (
        "scenario.difficulty=[1-2,1-3,1-4]",
        "data.side=24",
        "data.n_train=2000",
        "data.n_test=300",
        "model.channels=16",
        "model.types=16",
        "strategy.optimizer=adam",
        "strategy.lr=0.001",
        "strategy.batch_size=100",
        "strategy.epochs=5",
    ),
    "blurry": ("eval_every=5",),
    "class_incremental": (PASSES,),
    "domain_incremental": (),
    "latent_replay": ("encoder=random", "data=digits", PASSES),
    "repetition": (PASSES,),
    "scole": ("scenario.n_tasks=200",),
    "subgroup_shift": ("data=mnist5k", "model=mlp", "scenario.n_tasks=4", "scenario.shift=rotate"),
    "synbols": (
        "data=synbols",
        "scenario.kind=domains",
        "data.preset=plain",
        "data.n_train=3000",
        "data.n_test=500",
        "strategy.epochs=5",
    ),
    "task_incremental": (PASSES,),
}
"""Words of each scenario's example, besides its name and the strategy."""
WHOLE = ("gdumb",)
"""Strategies that run with all their defaults, although the table of strategies shortens their run."""
NO_EXAMPLE = {
    "avalanche": "Its data are those of a benchmark of Avalanche, which does not come with the install."
}
"""Scenarios without an example, and why."""


def strategy_words(name: str, learner: str | None = None) -> tuple[str, ...]:
    """The words of a strategy's example, or of another learner's run beside it."""
    plugin = plugins("strategy")[name]
    own = plugins("strategy")[learner or name]
    more = table.MORE.get(name, ())
    if learner or name in WHOLE:
        more = tuple(word for word in more if word.startswith("model"))
    passes = () if own.name in WHOLE else _passes(own)
    return (f"scenario={table.stream(plugin)}", f"strategy={own.name}", *more, *passes)


def _passes(plugin: Plugin) -> tuple[str, ...]:
    """More passes over a task, for strategies that make one by default."""
    defaults = {field.name: field.default for field in fields(plugin.load().Config)}
    return (PASSES,) if defaults.get("epochs") == 1 else ()


def scenario_words(name: str, learner: str) -> tuple[str, ...]:
    """The words of a run on a scenario's example."""
    return (f"scenario={name}", f"strategy={learner}", *SCENARIOS[name])


def command(words: Iterable[str]) -> str:
    """What is typed to run an example."""
    return " ".join(("clbench run", *words))


def wanted() -> dict[str, tuple[str, ...]]:
    """The words of all examples, by their commands."""
    found = [strategy_words(name) for name in plugins("strategy")]
    found += [strategy_words(name, learner) for name in plugins("strategy") for learner in BESIDE]
    found += [scenario_words(name, learner) for name in SCENARIOS for learner in LEARNERS]
    return {command(words): words for words in sorted(found)}


def run(words: tuple[str, ...]) -> dict[str, Any]:
    """What an example comes to: its hash, its network, its numbers, and what is drawn of it."""
    with tempfile.TemporaryDirectory() as folder:
        record = clbench.run(*words, device="cpu", out=folder, quiet=True, tracker=None)
    assert isinstance(record, Record)
    assert record.status == "completed", (words, record.error)
    x, y = curve(record)
    cumulative = is_cumulative(record) and len(x) == len(record.tasks["end"])
    if not cumulative:
        x, y = record.to_counts().evaluated_after, record.to_counts().world_accuracy
    x, y = thinned(x, y)
    return {
        "run": clbench.prepare(*words).hash8,
        "resolved": resolved(words)[0],
        "metrics": {name: _rounded(record.metric(name)) for name in METRICS},
        "cost": {name: record.cost[name] for name in COSTS},
        "cumulative": cumulative,
        "x": [int(value) for value in x],
        "y": _shares(y),
        "matrix": _matrix(record),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _shares(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 3) for value in values]


def _matrix(record: Record) -> list[list[float | None]] | None:
    """Accuracy on each task (columns) after each task (rows); None where tasks are many."""
    if not 2 <= len(record.tasks["end"]) <= MOST_TASKS:
        return None
    return [_shares(row) for row in record.accuracy_matrix().to_numpy()]


def stream(words: tuple[str, ...]) -> dict[str, Any]:
    """Which samples come when: samples by row (a class, a domain or a group) and column."""
    made = clbench.prepare(*words).stream
    total = made.n_experiences(made.n_tasks or 0)
    step = 1 if made.chunk is None else -(-total // MOST_COLUMNS)
    counts: list[dict[tuple[int, ...], int]] = []
    for number in range(min(total, step * MOST_COLUMNS)):
        drawn = made.draw(number)
        if number % step == 0:
            counts.append({})
        domain = drawn.plan.domain if made.n_domains > 1 else None
        for at, label in enumerate(drawn.labels):
            key: tuple[int, ...] = (int(label),)
            if drawn.attribute is not None:
                key = (int(label), int(drawn.attribute[at]))
            elif domain is not None and len(drawn.plan.classes) == made.n_classes:
                key = (domain,)
            counts[-1][key] = counts[-1].get(key, 0) + 1
    first = made.draw(0)
    kind = "group" if first.attribute is not None else "class"
    if kind == "class" and made.n_domains > 1 and len(first.plan.classes) == made.n_classes:
        kind = "domain"
    rows = sorted({key for column in counts for key in column})
    return {
        "stream": made.sha256[:8],
        "rows": [" × ".join(map(str, row)) for row in rows],
        "row": kind,
        "step": step,
        "total": total,
        "counts": [[column.get(row, 0) for column in counts] for row in rows],
    }


def read() -> dict[str, Any]:
    """The file: ``runs`` and ``streams`` by their commands."""
    if not FILE.is_file():
        return {"runs": {}, "streams": {}}
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def write(found: dict[str, dict[str, Any]]) -> None:
    """Write the file, a line for each run."""
    parts = []
    for group, entries in found.items():
        lines = [f"{json.dumps(key)}: {_line(entries[key])}" for key in sorted(entries)]
        parts.append(f'"{group}": {{\n' + ",\n".join(lines) + "\n}")
    FILE.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    """Run what is missing, and write the file and the pictures that are drawn from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="run all of them again")
    old = {} if parser.parse_args().all else read()["runs"]
    runs, streams = {}, {}
    for line, words in wanted().items():
        known = old.get(line)
        if known is None or known["run"] != clbench.prepare(*words).hash8:
            print(line, flush=True)
            known = run(words)
        runs[line] = known
        write({"runs": {**old, **runs}, "streams": {}})
    for name in SCENARIOS:
        words = scenario_words(name, LEARNERS[0])
        streams[command(words)] = stream(words)
    write({"runs": runs, "streams": streams})


if __name__ == "__main__":
    main()
