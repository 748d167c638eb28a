"""Golden counts: what every plug-in answers on small streams, to tell a change of results by.

``cases()`` lists runs as words: every strategy on a recurring and on a class-incremental stream, and
every scenario, every model and every value of every Literal or bool setting once, on five tasks.
``counts(words)`` runs one in float64 from weights moved by one part in 2^50, so that what is
compared does not hang on the last bits of one machine. ``python tests/golden.py`` writes the file
that ``test_golden.py`` compares with; write it anew only with a raised version.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

import clbench
from clbench.engine.harness import run_stream, start_ledger
from clbench.errors import UsageError
from clbench.plugins.registry import plugins

FILE = Path(__file__).with_name("golden.json")
PERTURBATION = 2.0**-50

RECURRING = ("scenario=scole", "scenario.n_tasks=12", "scenario.share=0.3", "data=digits")
INCREMENTAL = ("scenario=class_incremental", "data=digits")
FIVE = ("scenario=scole", "scenario.n_tasks=5", "scenario.share=0.3", "data=digits")
TOLD = ("scenario=task_incremental", "data=digits")
PROMPTED = (
    *("model=vit_tiny", "model.tune=head", "strategy.lr=0.01", "eval_every=1000"),
    *("strategy.batch_size=128", "max_tasks=5"),
)
AT_THE_END = {
    "gdumb": ("eval_every=1000", "strategy.memory_epochs=3"),
    "kanerva_pp": (
        *("eval_every=1000", "strategy.generator_width=64", "strategy.generator_updates=1"),
        "strategy.episode=40",
    ),
    "condensed_replay": ("strategy.networks=1", "strategy.steps=2", "strategy.network_steps=2"),
    "podnet": ("strategy.finetune_epochs=2",),
    "redo": ("strategy.reset_period=10",),
    "coda_prompt": (*PROMPTED, "strategy.components=30"),
    "dualprompt": PROMPTED,
    "inflora": PROMPTED,
    "l2p": PROMPTED,
}
"""What a strategy gets beside it: where evaluations or experiences are expensive, or where so short a
run would not see what it does; and the model of those that need one of a kind."""
DATA = {
    "latent_replay": ("data=digits", "encoder=none", "scenario.n_tasks=5"),
    "all_pairs": (
        "data.n_train=256",
        "data.n_test=128",
        "data.side=44",
        "data.smallest=8",
        "data.largest=9",
        "eval_every=6",
        "model=mlp",
    ),
    "synbols": (
        "data.n_train=600",
        "data.n_test=600",
        "data.resolution=16",
        "scenario.n_tasks=5",
        "eval_every=5",
        "model=mlp",
    ),
    "subgroup_shift": ("data=digits", "scenario.n_tasks=5"),
    "scole": FIVE[1:],
    "domain_incremental": ("data=digits", "scenario.n_tasks=5"),
}
BESIDE = {
    "strategy/agem/nesterov=true": ("strategy.momentum=0.9",),
    "strategy/agem/schedule=multistep": ("strategy.milestones=[1]", "strategy.epochs=2"),
    "strategy/kanerva/generate": ("strategy.mode=replay",),
    "strategy/agem/memory_dtype": ("encoder=identity",),
    "scenario/repetition/first_occurrence": ("scenario.mode=sampling",),
    "scenario/repetition/recurrence": ("scenario.mode=sampling",),
    "scenario/synbols/attribute": ("scenario.kind=domains",),
    "scenario/synbols/gradual": ("scenario.kind=domains",),
    "scenario/latent_replay/transform": ("scenario.protocol=domain_incremental",),
}
"""What a setting, or one value of it, needs beside it, to have an effect."""
FURTHER = {
    "domain_incremental": {
        "class_order=data": ("scenario.transform=split",),
        "domain_order=seed": ("scenario.transform=rotated",),
    },
    "class_incremental": {
        "class_order=1993": (),
        "class_order=[3,1,4,0,5,9,2,6,8,7]": ("scenario.sizes=[3,3,4]",),
        "first=4": ("scenario.n_tasks=4",),
        "shots=5": ("scenario.first=4",),
        "unlabelled=0.3": ("scenario.label_noise=symmetric", "scenario.label_noise_rate=0.4"),
    },
    "task_incremental": {"first=4": ("scenario.class_order=data",)},
}
"""Values of settings that take more than a few, and what they need beside them."""


@cache
def cases() -> dict[str, tuple[str, ...]]:
    """Every run by a name of its own, as words."""
    found: dict[str, tuple[str, ...]] = {}
    for name in plugins("strategy"):
        for kind, stream in (("recurring", RECURRING), ("incremental", INCREMENTAL)):
            words = (*stream, f"strategy={name}", *AT_THE_END.get(name, ()))
            found[f"strategy/{name}/{kind}"] = words
        if plugins("strategy")[name].load().needs.task_id:
            found[f"strategy/{name}/told"] = (*TOLD, f"strategy={name}")
    for name in plugins("scenario"):
        found[f"scenario/{name}"] = (
            f"scenario={name}",
            *DATA.get(name, INCREMENTAL[1:]),
            "strategy=naive",
        )
    for name in plugins("model"):
        if name not in FETCHED:
            found[f"model/{name}"] = (*_images(name), f"model={name}", "strategy=naive")
    return {**found, **dict(_settings())}


SMALL = {"wrn": ("model.depth=10", "model.width=1"), "typenet": ("model.channels=8",)}
"""Settings of models that are large by default."""


FETCHED = {"vit_s14", "efficientnet_lite0"}
"""Models with weights that not every machine has."""
TRANSFORMER = ("lora", "adapter", "prompt")
"""Values of ``model.tune`` that need a transformer's blocks."""


def _images(model: str) -> tuple[str, ...]:
    """Five small tasks of what a model takes: digits are too small for some."""
    few = ("scenario=scole", "scenario.n_tasks=5", "scenario.share=0.05", *SMALL.get(model, ()))
    return (*few, "data=mnist5k", "eval_every=5") if model == "scole_cnn" else (*few, "data=digits")


def _settings() -> Iterator[tuple[str, tuple[str, ...]]]:
    """One run for each value, other than the default, of each setting with few values."""
    seen: set[tuple[type, str]] = set()
    for group in ("strategy", "scenario", "model"):
        # What all scenarios share is tried with the plainest; bridges come with data of their own.
        for name in sorted(plugins(group), key=lambda name: (name != "class_incremental", name)):
            cls: Any = plugins(group)[name].load()
            if getattr(cls, "argument", "") or name in FETCHED:
                continue
            config = cls.Config if group == "strategy" else cls
            hints = typing.get_type_hints(config)
            for field in dataclasses.fields(config):
                owner = next(
                    c
                    for c in inspect.getmro(config)
                    if field.name in vars(c).get("__annotations__", {})
                )
                if (owner, field.name) in seen:
                    continue
                seen.add((owner, field.name))
                setting = f"{group}/{name}/{field.name}"
                for value in _values(hints[field.name]):
                    if value == field.default:
                        continue
                    said = str(value).lower() if isinstance(value, bool) else str(value)
                    base = {
                        "strategy": (*FIVE, f"strategy={name}", *AT_THE_END.get(name, ())),
                        "scenario": (
                            f"scenario={name}",
                            *DATA.get(name, INCREMENTAL[1:]),
                            "strategy=naive",
                        ),
                        "model": (*_images(name), f"model={name}", "strategy=naive"),
                    }[group]
                    given = tuple(w for w in base if not w.startswith(f"{group}.{field.name}="))
                    yield (
                        f"{setting}={said}",
                        (*given, *_beside(setting, said), f"{group}.{field.name}={said}"),
                    )
    for name, further in FURTHER.items():
        for word, beside in further.items():
            ran = (f"scenario={name}", *DATA.get(name, INCREMENTAL[1:]), "strategy=naive")
            yield f"scenario/{name}/{word}", (*ran, *beside, f"scenario.{word}")
    for value in TRANSFORMER:
        tiny = (*_images("vit_tiny"), "model=vit_tiny", "strategy=naive")
        yield f"model/vit_tiny/tune={value}", (*tiny, f"model.tune={value}")
    for value in ("log", "2"):
        yield f"common/eval_every={value}", (*FIVE, "strategy=naive", f"eval_every={value}")
    for name, value in (("prequential", "true"), ("label_delay", "2"), ("realtime", "0.7")):
        yield f"common/{name}={value}", (*FIVE, "strategy=er", f"{name}={value}")
    stepwise = ("strategy=er", "strategy.per_step=true", "strategy.memory_size=40")
    yield "strategy/er/per_step=true", (*FIVE, *stepwise)
    yield "common/evaluate_on=val", (*FIVE, "strategy=naive", "evaluate_on=val")


def _beside(setting: str, said: str) -> tuple[str, ...]:
    """What a setting, or one of its values, needs beside it."""
    return BESIDE.get(f"{setting}={said}", BESIDE.get(setting, ()))


def _values(hint: Any) -> tuple[Any, ...]:
    if hint is bool:
        return (True, False)
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    return ()


def counts(words: tuple[str, ...], perturbed: bool = True) -> dict[str, Any] | str:
    """Right answers ``{evaluated_after (E), correct (E, C)}``, or the first words of the refusal.

    With them, where there are any, those before learning, by experience, and what was missed.
    """
    try:
        run = clbench.prepare(*words, "device=cpu", "seed=7")
        torch.set_default_dtype(torch.float64)
        strategy = run.strategy()
    except UsageError as error:
        return "refused: " + str(error)[:40]
    finally:
        torch.set_default_dtype(torch.float32)
    if perturbed:
        with torch.no_grad():
            for tensor in strategy.state_dict().values():
                if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                    tensor.mul_(1 + PERTURBATION)
    outcome = run_stream(run, strategy, start_ledger(run))
    if outcome.error is not None:
        return f"{outcome.status}: {type(outcome.error).__name__}: {str(outcome.error)[:60]}"
    ledger, online = outcome.ledger, outcome.ledger.online
    found = {"evaluated_after": ledger.evaluated_after, "correct": ledger.correct}
    return {**found, "online": online.correct, "missed": online.missed} if online.size else found


def main() -> None:
    """Write the counts of every case, or of those whose names hold one of the words given."""
    wanted = sys.argv[1:] or [""]
    chosen = {n: words for n, words in cases().items() if any(w in n for w in wanted)}
    found = {name: counts(words, perturbed=False) for name, words in chosen.items()}
    for name, words in chosen.items():
        if counts(words) != found[name]:
            raise SystemExit(f"{name}: one part in 2^50 changes its counts; choose another case")
    kept = json.loads(FILE.read_text()) if sys.argv[1:] else {}
    lines = (f"{json.dumps(n)}: {json.dumps(c)}" for n, c in sorted({**kept, **found}.items()))
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
