"""The table of docs/strategies.md, from the plug-ins and one short run of each.

    python -m benchmarks.strategies_table            prints the page
    python -m benchmarks.strategies_table --write    writes docs/strategies.md

Everything but the operations is read from the plug-ins. Operations are counted, not timed, so the page
is the same on every machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clbench
from clbench.engine.costs import train_flops
from clbench.engine.harness import run_stream, start_ledger
from clbench.engine.resolved import resolved
from clbench.plugins.registry import Plugin, plugins
from clbench.strategy import GradientStrategy

PAGE = Path(__file__).parents[1] / "docs" / "strategies.md"
WORDS = (
    "data=digits",
    "model=mlp",
    "device=cpu",
    "threads=1",
    "seed=0",
    "eval_every=1000",
)
TRANSFORMER = ("model=vit_tiny", "model.tune=head")
MORE = {
    "coda_prompt": TRANSFORMER,
    "condensed_replay": ("strategy.networks=1",),
    "dualprompt": TRANSFORMER,
    "inflora": TRANSFORMER,
    "l2p": TRANSFORMER,
    "gdumb": ("strategy.memory_epochs=1",),
    "generative_replay": ("strategy.generator_width=64",),
    "kanerva_pp": ("strategy.generator_width=64",),
}
"""Settings without which a run would take long, would count something else, or could not be."""
STREAMS = ("class_incremental", "task_incremental")
"""Streams of the same tasks. A strategy runs on the first that gives it what it needs."""
FAMILIES = (
    ("prompts", ("clbench.prompting",)),
    ("adapted once", ("clbench.first_session",)),
    ("growing network", ("clbench.nets.growing",)),
    ("exemplars", ("clbench.exemplars",)),
    ("statistics", ("clbench.latents",)),
    ("replay", ("clbench.replay", "clbench.dark", "clbench.memory")),
    ("penalty", ("clbench.quadratic",)),
)
"""A family by the parts of clbench that a plug-in imports; the first that fits. ``statistics`` have no
gradient."""
NEEDS = {
    "task_id": "task ids",
    "boundaries": "boundaries",
    "disjoint_classes": "disjoint classes",
    "n_tasks": "the number of tasks",
}
PAPER = re.compile(r"(?:\b[A-Z][\w\-]+(?:, | & | and | et al\. ?)?)+ ?(?:\d{4})")
INTRO = """# Strategies

`clbench list strategies` lists them, `clbench show strategy=NAME` explains one with its settings, and
the head of each file in `strategies/` has the paper, its equations and what differs from it. This
table is written by `python -m benchmarks.strategies_table --write`; a test compares it with the
plug-ins.

- *family*: what it is built on; *needs*: what a stream must give;
- *memory*: it stores samples (or a memory of them); *sized*: in as many bytes as
  `strategy.memory_size` or `memory_bytes` say; *growth*: its state grows with the stream;
- *a step* and *a run*: floating-point operations of training, relative to `naive`: for each step of
  the optimizer, and for a whole run, all passes over memories, features and solutions included. Five
  tasks of two digits, 64 pixels, MLP 64-64, default settings, one pass (`gdumb`: one over its memory;
  `generative_replay`, `kanerva_pp`: a generator of width 64; `condensed_replay`: one network of four).
  The stream is `class_incremental`, and
  `task_incremental` where task ids are needed; `naive` runs on the same one. A dash: it takes no
  steps. What a paper's settings
  train longer costs more by as much: `podnet` passes 20 times over its exemplars after each task;
  methods with prompts are compared with `naive` on the frozen transformer that they run on
  (`model=vit_tiny model.tune=head`);
- *paper*: the first that its head names.

"""


def family(plugin: Plugin) -> str:
    """What a strategy is built on."""
    text = plugin.path.read_text(encoding="utf-8")
    cls: Any = plugin.load()
    modules = {base.__module__ for base in cls.__mro__} | set(
        re.findall(r"^from (\S+)", text, re.M)
    )
    trains = issubclass(cls, GradientStrategy)
    for name, parts in FAMILIES:
        if name == "statistics" and trains:
            continue
        if any(module.startswith(part) for module in modules for part in parts):
            return name
    return "training loop" if trains else "other"


def needs(cls: Any) -> str:
    """What it needs of a stream, in words."""
    found = [NEEDS[f.name] for f in dataclasses.fields(cls.needs) if getattr(cls.needs, f.name)]
    return ", ".join(found) or "–"


def stream(plugin: Plugin) -> str:
    """The scenario of its short run."""
    return STREAMS[plugin.load().needs.task_id]


def words(name: str, scenario: str) -> tuple[str, ...]:
    """The words of a short run; after the strategy's name may stand further ones."""
    strategy, *further = name.split()
    more = (*MORE.get(strategy, ()), *further)
    given = {word.partition("=")[0] for word in more}
    usual = (word for word in WORDS if word.partition("=")[0] not in given)
    return (f"scenario={scenario}", *usual, f"strategy={strategy}", *more)


def memory(plugin: Plugin) -> str:
    """Whether it keeps samples, and how many by default."""
    strategy = clbench.prepare(*words(plugin.name, stream(plugin)))
    stored = strategy.strategy().memory_bytes()
    fields = {f.name for f in dataclasses.fields(plugin.load().Config)}
    if plugin.load().grows and not fields & {"memory_size"}:
        return "all samples"
    return "–" if not stored else "sized" if fields & {"memory_size"} else "fixed"


def paper(plugin: Plugin) -> str:
    """The first paper that the head of the file names."""
    head = plugin.path.read_text(encoding="utf-8").split('"""')[1]
    found = PAPER.search(" ".join(head.split()))
    if found is None:
        return "–"
    name = found[0].replace("  ", " ")
    # The number of this paper, and not of the next that is named.
    rest = " ".join(head.split())[found.end() :]
    following = PAPER.search(rest)
    number = re.search(r"\b(\d{4}\.\d{4,5})\b", rest[: following.start()] if following else rest)
    return f"[{name}](https://arxiv.org/abs/{number[1]})" if number else name


Cost = tuple[float, int]
"""Operations of training in a short run, and its steps."""


def operations(name: str, scenario: str) -> Cost:
    """Count a short run of a strategy."""
    run = clbench.prepare(*words(name, scenario))
    outcome = run_stream(run, run.strategy(), start_ledger(run))
    assert outcome.error is None, (name, outcome.error)
    return train_flops(outcome.ledger), outcome.ledger.updates


def page(count: Callable[[str, str], Cost] = operations) -> str:
    """The whole page; ``count`` gives the operations of a strategy on a scenario, by their names."""
    bases = {scenario: count("naive", scenario) for scenario in STREAMS}
    prompted = count(" ".join(("naive", *TRANSFORMER)), STREAMS[0])
    network = ["scenario=" + ",".join(STREAMS), *WORDS[:2], "strategy=naive"]
    lines = [
        "<!-- command: python -m benchmarks.strategies_table -->",
        f"<!-- resolved: {' '.join(network)} -->",
        *resolved(network),
        "",
        "| strategy | family | needs | memory | growth | a step | a run | paper |",
        "|---|---|---|---|---|---:|---:|---|",
    ]
    for name, plugin in plugins("strategy").items():
        cls: Any = plugin.load()
        base, steps = prompted if MORE.get(name) == TRANSFORMER else bases[stream(plugin)]
        total, taken = count(name, stream(plugin))
        step = f"{total / taken / (base / steps):.2f}" if taken else "–"
        grows = "yes" if cls.grows else "–"
        cells = (f"`{name}`", family(plugin), needs(cls), memory(plugin), grows, step)
        lines.append(f"| {' | '.join(cells)} | {total / base:.2f} | {paper(plugin)} |")
    return INTRO + "\n".join(lines) + "\n"


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/strategies.md")
    text = page()
    if parser.parse_args().write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
