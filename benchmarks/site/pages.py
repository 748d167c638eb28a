"""Writes the pages of plug-ins and of public names.

They are a pure function of the plug-ins, of the table in docs/strategies.md, and of the file of runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import clbench
from benchmarks import strategies_table as table
from benchmarks.site import figures, runs
from benchmarks.site.prose import block, code, inline
from clbench.cli.show import RECOMMENDS, typed
from clbench.plugins import source
from clbench.plugins.registry import FOLDERS, Plugin, plugins
from clbench.plugins.source import Setting

ROOT = Path(__file__).parents[2]
PLACES = {
    "strategy": "strategies",
    "scenario": "scenarios",
    "model": "models",
    "data": "data_sets",
    "encoder": "encoders",
    "tracker": "trackers",
}
"""The folder of each group's pages."""
BASES = {
    "strategy": ("GradientStrategy", "Strategy"),
    "scenario": ("Scenario",),
    "model": ("Model",),
}
"""Bases whose settings every plug-in of a group has, the first that fits."""
TITLES = {
    "model": (
        "Models",
        "The networks that strategies train: `model=NAME`. [Networks and training](../training.md) "
        "explains what they share.",
    ),
    "data": (
        "Data sets",
        "What samples are drawn from: `data=NAME`. [Data](../data.md) says how to bring your own.",
    ),
    "encoder": (
        "Encoders",
        "Frozen networks in front of a stream: `encoder=NAME`. Samples are encoded once.",
    ),
    "tracker": (
        "Trackers",
        "Observers of a run: `tracker=NAME,NAME`. None changes a result.",
    ),
}
TYPED = {
    "model": "clbench run scenario=class_incremental strategy=naive model={name}",
    "data": "clbench run scenario=class_incremental strategy=naive data={name}",
    "encoder": "clbench run scenario=class_incremental strategy=slda encoder={name}",
    "tracker": "clbench run scenario=class_incremental strategy=naive tracker={name}",
}
"""How a plug-in of a group is asked for."""
FACES = {
    "running": ("Run and read", ("run", "prepare", "load", "Record", "Records")),
    "strategies": (
        "Strategies",
        ("Strategy", "GradientStrategy", "ReplayStrategy", "QuadraticStrategy", "Needs", "StreamInfo",
         "Batch", "TaskData"),
    ),
    "streams": ("Scenarios and streams", ("Scenario", "Stream", "Task")),
    "data": ("Data, models and encoders", ("DataSet", "Arrays", "Pool", "Model", "Encoder")),
    "observing": ("Metrics, trackers, errors", ("Metric", "Tracker", "ClbenchError", "UsageError")),
}  # fmt: skip
"""The public names by page: its file, its title, and what is on it."""


def address(group: str, name: str) -> str:
    """The file of a plug-in's page, below ``docs/``."""
    return f"{PLACES[group]}/{name}.md"


def generated() -> dict[str, str]:
    """All pages that have no file in ``docs/``, by their place there."""
    kept = runs.read()
    rows = table_rows()
    found = {
        address(group, name): page(plugin, kept, rows)
        for group in PLACES
        for name, plugin in plugins(group).items()
    }
    found |= {f"{PLACES[group]}/index.md": index(group) for group in TITLES}
    found |= {f"api/{name}.md": face(*given) for name, given in FACES.items()}
    return found | {"metrics.md": metrics()}


def generated_places() -> set[str]:
    """The places of all these pages."""
    found = {address(group, name) for group in PLACES for name in plugins(group)}
    found |= {f"{PLACES[group]}/index.md" for group in TITLES}
    return found | {f"api/{name}.md" for name in FACES} | {"metrics.md"}


def page(plugin: Plugin, kept: Any, rows: dict[str, list[str]]) -> str:
    """The page of a plug-in."""
    doc = ast.get_docstring(ast.parse(plugin.path.read_bytes())) or ""
    summary, _, rest = doc.partition("\n\n")
    parts = [f"# `{plugin.name}`", inline(" ".join(summary.split()))]
    if plugin.group == "strategy":
        parts += [facts(plugin, rows[plugin.name]), block(rest), strategy_example(plugin, kept)]
    elif plugin.group == "scenario":
        parts += [block(rest), scenario_example(plugin, kept)]
    else:
        parts += [block(rest), asked(plugin)]
    parts += [*settings(plugin), where(plugin)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_rows() -> dict[str, list[str]]:
    """The rows of docs/strategies.md by strategy, as cells."""
    lines = table.PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells}


def facts(plugin: Plugin, row: Sequence[str]) -> str:
    """What docs/strategies.md says of a strategy, as a list."""
    family, needs, memory, growth, step, whole, paper = row
    said = {
        "–": "stores no samples",
        "sized": "as many bytes as `strategy.memory_size` or `memory_bytes` say",
        "fixed": "of a fixed size",
        "all samples": "all samples that it has seen",
    }
    cost = f"{whole} × `naive` over a whole run" + (
        f", {step} × for each step" if step != "–" else ""
    )
    lines = [
        ("Family", family),
        ("Paper", "none" if paper == "–" else paper),
        ("Needs of a stream", "nothing" if needs == "–" else needs),
        (
            "Memory",
            said[memory] + (", and its state grows with the stream" if growth == "yes" else ""),
        ),
        ("Operations of training", f"{cost} ([how this is counted](../strategies.md))"),
    ]
    return "\n".join(f"- **{name}**: {text}" for name, text in lines)


def strategy_example(plugin: Plugin, kept: Any) -> str:
    """The run of a strategy beside those of naive and joint training."""
    words = [(plugin.name, runs.strategy_words(plugin.name))]
    words += [
        (name, runs.strategy_words(plugin.name, name))
        for name in runs.BESIDE
        if name != plugin.name
    ]
    return example(words, kept)


def scenario_example(plugin: Plugin, kept: Any) -> str:
    """The stream of a scenario as a picture, and three strategies on it."""
    if plugin.name in runs.NO_EXAMPLE:
        return f"## Example\n\nNot run: {runs.NO_EXAMPLE[plugin.name]}"
    words = [(name, runs.scenario_words(plugin.name, name)) for name in runs.LEARNERS]
    drawn = kept["streams"][runs.command(words[0][1])]
    step, total = drawn["step"], drawn["total"]
    shown = len(drawn["counts"][0]) if drawn["counts"] else 0
    said = (
        f"What comes when, in the example below: each row is a {drawn['row']}; "
        "the stronger the colour, the more samples."
    )
    if step > 1:
        said += f" {total} experiences, {step} to a column."
    elif shown < total:
        said += f" The first {shown} of {total} tasks."
    return figures.caption(figures.stream(drawn), said) + "\n\n" + example(words, kept)


def example(words: Sequence[tuple[str, tuple[str, ...]]], kept: Any) -> str:
    """A command that was run, its network, its numbers and its figures."""
    found = {name: kept["runs"][runs.command(given)] for name, given in words}
    first = next(iter(found.values()))
    names = (
        runs.METRICS if first["metrics"]["worst_group_accuracy"] is not None else runs.METRICS[:-1]
    )
    known = _metrics()
    heads = [f"{known[name].title} %" for name in names]
    lines = [
        f"| strategy | {' | '.join(heads)} | state, kB | MFLOP |",
        "|---|" + "---:|" * (len(names) + 2),
    ]
    for name, run in found.items():
        values = [_percent(run["metrics"][metric]) for metric in names]
        cost = run["cost"]
        values += [f"{cost['state_bytes'] / 1000:,.0f}", f"{cost['train_flops'] / 1e6:,.0f}"]
        lines.append(f"| `{name}` | {' | '.join(values)} |")
    matrix = figures.task_matrix(first)
    text = "The same run by task: each row is an evaluation, each column a task."
    return "\n\n".join(
        part
        for part in (
            "## Example",
            f"```sh\n{runs.command(words[0][1])}\n```",
            f"{inline(first['resolved'])} One seed; it takes seconds, at most a minute. "
            "[What the columns are](../metrics.md).",
            "\n".join(lines),
            figures.caption(figures.lines(found), "Accuracy over the stream."),
            figures.caption(matrix, text, narrow=True),
        )
        if part
    )


def _metrics() -> Any:
    from clbench.results import metrics as known

    return known.table()


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def asked(plugin: Plugin) -> str:
    """How to ask for a plug-in."""
    command = TYPED[plugin.group].format(name=plugin.name)
    text = f"```sh\n{command}\n```"
    if plugin.group in RECOMMENDS:
        model = source.returned(plugin.path, "default_model")
        said = code(model) if model else "what suits the shape of its samples"
        text += f"\n\nA run that names no `model=` gets: {said}."
    return text


def settings(plugin: Plugin) -> Iterator[str]:
    """Tables of settings: the plug-in's own, and below them those of its base."""
    found = source.settings(plugin.path)
    prefix = f"{plugin.group}." if plugin.group != "tracker" else f"{plugin.name}."
    shared: list[Setting] = []
    for base in BASES.get(plugin.group, ()):
        file = source.module_path(clbench.HOMES[base])
        inherited = source.class_settings(file, base) if file else []
        if inherited and {s.name for s in inherited} <= {s.name for s in found}:
            shared = inherited
            break
    own = [setting for setting in found if setting not in shared]
    rest = [setting for setting in found if setting in shared]
    if not found:
        return
    yield "## Settings"
    if own:
        yield f"Each is typed as `{prefix}NAME=VALUE`.\n\n{_table(own)}"
    if rest:
        title = "Settings that it shares with its base" if own else "Settings of its base"
        inner = "\n".join(f"    {line}" for line in _table(rest).splitlines())
        yield f'??? note "{title}"\n\n{inner}'


def _table(found: Sequence[Setting]) -> str:
    lines = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for setting in found:
        named = setting.default.endswith("()") and setting.default != "()"
        default = "none is set" if named else code(typed(setting.default))
        lines.append(
            f"| `{setting.name}` | {default} | {values(setting)} | {inline(setting.help)} |"
        )
    return "\n".join(lines)


def values(setting: Setting) -> str:
    """What a setting may be."""
    choices = re.fullmatch(r"Literal\[(.+)\](?: \| None)?", setting.type)
    if choices:
        return ", ".join(code(str(v)) for v in ast.literal_eval(f"[{choices[1]}]"))
    return ", ".join(part for part in (inline(setting.type), inline(setting.bound)) if part)


def where(plugin: Plugin) -> str:
    """Where its source is, and what else tells about it."""
    folder = (
        FOLDERS[plugin.group]
        if plugin.group not in ("strategy", "scenario")
        else PLACES[plugin.group]
    )
    inside = "" if plugin.group in ("strategy", "scenario") else "clbench/"
    show = f"`clbench show {plugin.group}={plugin.name}` prints this page without the example. "
    return f"---\n\n{show}Source: `{inside}{folder}/{plugin.name}.py`."


def index(group: str) -> str:
    """The list of a group's plug-ins."""
    title, text = TITLES[group]
    lines = [f"# {title}", "", text, "", "| name | what it is |", "|---|---|"]
    lines += [
        f"| [`{name}`]({name}.md) | {inline(p.summary())} |" for name, p in plugins(group).items()
    ]
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """The table of all metrics."""
    lines = [
        "# Metrics",
        "",
        "All are functions of the counts in a record; [the glossary](glossary.md#metrics) has the "
        "formulas. Undefined is null.",
        "",
        "| name | column | unit | better | definition |",
        "|---|---|---|---|---|",
    ]
    for name, metric in _metrics().items():
        better = "lower" if metric.lower_is_better else "higher"
        lines.append(
            f"| `{name}` | {inline(metric.title)} | {metric.unit} | {better} | {inline(metric.help)} |"
        )
    return "\n".join(lines) + "\n"


def face(title: str, names: Sequence[str]) -> str:
    """The reference of some public names, filled in by mkdocstrings."""
    lines = [f"# {title}", "", "Import each name from `clbench`.", ""]
    for name in names:
        lines += [f"::: {clbench.HOMES[name]}.{name}", ""]
    return "\n".join(lines)
