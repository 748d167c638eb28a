"""Boards, entries and records of no run at all: realistic numbers without training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from clbench.configure.board import Anchor, Board, Budget, pin
from clbench.leaderboard.entry import Entry, Meta, SeedRun, Verification, load_entry, record_sha256
from clbench.leaderboard.rules.findings import Finding
from clbench.leaderboard.scores import score_run
from clbench.leaderboard.verification import source_hashes, write_verification
from clbench.results import metrics
from clbench.results.record import SCHEMA, Record
from clbench.util.hashing import sha256_of

SEEDS = (0, 1, 2, 3, 4)


def board(folder: Path, seeds: Sequence[int] = SEEDS, **changes: Any) -> Board:
    """A frozen board, not yet written."""
    made = Board(
        name=folder.name,
        folder=folder,
        protocol="1.0",
        title="SCoLe on digits, 1,000 tasks",
        description="Two random classes a task, a thousand tasks; knowledge has to accumulate.",
        settings={
            "scenario": {
                "name": "scole",
                "n_tasks": 1000,
                "classes_per_task": 2,
                "n_classes": None,
            },
            "data": {"name": "digits", "augment": "none"},
            "eval_every": "1",
            "evaluate_on": "test",
            "threads": 1,
        },
        model={"name": "mlp", "hidden": [64, 64]},
        seeds=tuple(seeds),
        tuning_seeds=(100, 101),
        pool_sha256="e" * 64,
        stream_sha256={seed: f"{seed:064d}" for seed in seeds},
        budget=Budget(epochs=1, batch_size=32),
        primary="anytime_world_accuracy",
        floor=Anchor("chance", 0.1, 0.0),
        naive=Anchor("naive", 0.743, 0.011),
        ceiling=Anchor("joint", 0.901, 0.003),
        divisions=("network", "any", "open"),
        sha256="",
    )
    made = dataclasses.replace(made, **changes)
    return dataclasses.replace(made, sha256=sha256_of(made.content()))


def write_board(made: Board) -> Board:
    made.folder.mkdir(parents=True, exist_ok=True)
    content = {**made.content(), "sha256": made.sha256}
    (made.folder / "board.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    pin(made)
    return made


def record(
    seed: int = 0, accuracy: float = 0.9, n_tasks: int = 40, classes: int = 10, **changes: Any
) -> Record:
    """A run that climbs from chance towards an accuracy, with jitter of its seed."""
    generator = np.random.default_rng([seed, round(accuracy * 1e6)])
    size = np.full(classes, 36)
    after = np.arange(n_tasks + 1)
    # The better, the faster; streams are harder or easier for all entries alike.
    speed = 60 * (accuracy - 0.75)
    stream = np.random.default_rng(seed).normal(0, 0.006) + generator.normal(0, 0.003)
    level = 0.1 + (accuracy + stream - 0.1) * (1 - np.exp(-speed * after / max(1, n_tasks)))
    level = level + generator.normal(0, 0.03, len(after)) * (1 - level)
    share = np.clip(level[:, None] + generator.normal(0, 0.05, (len(after), classes)), 0, 1)
    correct = np.floor(share * size + 0.5).astype(int)
    pairs = [[i, i + 1] for i in range(0, classes - 1, 2)]
    made = Record(
        schema=SCHEMA,
        status="completed",
        error=None,
        config={
            "strategy": {"name": "ewc", "lr": 0.05, "lam": 1.0, "momentum": 0.9},
            "model": {"name": "mlp", "hidden": [64, 64]},
            "scenario": {"name": "scole", "n_tasks": n_tasks},
            "data": {"name": "digits", "augment": "none"},
            "seed": seed,
            "device": "auto",
            "eval_every": "1",
            "max_tasks": None,
            "evaluate_on": "test",
            "threads": 1,
            "checkpoint_seconds": 30.0,
        },
        config_sha256="c" * 64,
        overrides=[],
        board={"name": "scole-digits", "protocol": "1.0", "division": "network"},
        tuning={"ruleset": "fixed", "trials": 0, "grid_sha256": None},
        declares={"pretrained": False, "grows": False, "resumable": True},
        sources=dict.fromkeys(("strategy", "model", "scenario", "engine"), "a" * 64),
        source_sha256="b" * 64,
        pool_sha256="e" * 64,
        stream_sha256=f"{seed:064d}",
        seed=seed,
        stream={
            "n_classes": classes,
            "n_tasks": n_tasks,
            "experiences": n_tasks,
            "task_ids": False,
            "disjoint_classes": False,
        },
        counts={
            "evaluated_after": after.tolist(),
            "cells": [
                {"label": c, "domain": 0, "task_id": None, "size": 36} for c in range(classes)
            ],
            "views": pairs,
            "correct": correct.tolist(),
        },
        tasks={
            "view": [t % len(pairs) for t in range(n_tasks)],
            "end": list(range(1, n_tasks + 1)),
        },
        metrics={},
        warnings=[],
        retention=[],
        frequency=[],
        diagnostics={},
        cost={
            "train_seconds": 5.6,
            "predict_seconds": 0.4,
            "harness_seconds": 1.1,
            "train_flops": 46_358_957_480,
            "predict_flops": 6_276_990_720,
            "flops_method": "whole calls",
            "flops_uncounted": [],
            "samples_delivered": 288_438,
            "updates": 9_533,
            "state_bytes": 107_644,
            "state_bytes_method": "state_dict",
            "memory_bytes": 0,
            "frozen_bytes": 0,
            "peak_rss_bytes": 501_551_104,
        },
        predictions_sha256=f"{seed:02d}{round(accuracy * 1e6):062d}",
        environment={
            "python": "3.11.7",
            "torch": "2.13.0+cpu",
            "numpy": "2.4.6",
            "system": "Linux",
            "machine": "x86_64",
            "cpu_capability": "AVX512",
            "cores": 2,
            "threads": 1,
            "device": "cpu",
            "accelerator": None,
            "hardware_class": "cpu-x86_64-2",
            "processor": "AuthenticAMD 25 17",
        },
        code={"clbench": "0.1.0", "commit": "b" * 40, "dirty": False},
        started="2026-11-22T06:30:51Z",
        finished="2026-11-22T06:30:58Z",
    )
    if "cost" in changes:
        changes["cost"] = {**made.cost, **changes["cost"]}
    made = dataclasses.replace(made, **changes)
    computed = metrics.compute(made.to_counts())
    return dataclasses.replace(made, metrics={k: m._asdict() for k, m in computed.items()})


def write_entry(
    made: Board,
    slug: str,
    meta: Meta | Mapping[str, Any],
    records: Sequence[Record],
    verified: str | None = None,
    **ledger: Any,
) -> Path:
    """An entry's folder, as ``submit`` (and ``verify``) would leave it."""
    folder = made.entries / slug
    (folder / "runs").mkdir(parents=True)
    data = dataclasses.asdict(meta) if isinstance(meta, Meta) else dict(meta)
    data = {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}
    (folder / "entry.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    for one in records:
        one.save(folder / "runs" / f"seed{one.seed}.json")
    if verified:
        entry = load_entry(folder)
        found = ledger_of(made, entry, equal=verified == "reproduced", **ledger)
        write_verification(entry, found)
    return folder


def ledger_of(
    made: Board,
    entry: Entry,
    *,
    equal: bool = True,
    seeds: Sequence[int] | None = None,
    **changes: Any,
) -> Verification:
    """What ``verify`` would find of an entry that holds what it claims."""
    runs = {
        str(seed): SeedRun(
            equal=equal,
            claim_sha256=record_sha256(r),
            claimed=score_run(made, r),
            primary=score_run(made, r),
            cost=r.cost,
            environment=r.environment,
            cpu_seconds=1.5,
            predictions_sha256=r.predictions_sha256,
            verified="2026-11-28T10:00:00Z",
            record=None if equal else r.to_dict(),
        )
        for seed, r in entry.records.items()
        if seed in (made.seeds if seeds is None else seeds)
    }
    held_out = {"passed": True, "seed": 0, "claimed": 0.5, "found": 0.45,
                "primary": {"entry": 0.8, "naive": 0.6}, "commitment": "c" * 64,
                "secret": "ab" * 32}  # fmt: skip
    found = Verification(
        board_sha256=made.sha256,
        sources=source_hashes(entry),
        rebuilt=True,
        guards={"network": True, "memory": "no: this system does not enforce RLIMIT_AS"},
        seeds=runs,
        held_out=held_out,
        flops={"ranked": True, "ratio": 1.2, "limit": 5.0, "why": "1.2 x naive"},
    )
    return dataclasses.replace(found, **changes)


class Recipe(NamedTuple):
    """One entry of the board that people look at."""

    slug: str
    name: str
    accuracy: float
    gflop: float
    kilobytes: float
    division: str = "network"
    tier: str | None = "reproduced"
    changes: Mapping[str, Any] = {}


RECIPES = (
    Recipe("joint", "Joint (ceiling)", 0.97, 812.4, 5_912.3),
    Recipe("er-1k", "Experience replay, 1,000 images", 0.958, 98.2, 333.1),
    Recipe("er-200", "Experience replay, 200 images", 0.945, 92.7, 94.5),
    Recipe("der-pp", "DER++", 0.956, 151.9, 341.8, tier=None),
    Recipe("ewc-proximal", "EWC (online, proximal step)", 0.93, 46.4, 107.6),
    Recipe("ewc", "EWC (online)", 0.92, 46.4, 107.6),
    Recipe("si", "Synaptic Intelligence", 0.905, 38.9, 89.4, tier=None),
    Recipe("lwf", "Learning without Forgetting", 0.885, 61.5, 47.8),
    Recipe("naive", "Naive fine-tuning", 0.865, 37.1, 23.9),
    Recipe("agem", "A-GEM, 200 images", 0.906, 118.3, 94.5, tier=None),
    Recipe(
        "slda",
        "Streaming LDA on frozen features",
        0.962,
        12.6,
        1_048.6,
        division="open",
        changes={"cost": {"flops_uncounted": ["aten::linalg_solve"]}},
    ),
    Recipe("resnet-er", "Slim ResNet-18 with replay", 0.981, 9_214.0, 4_981.2, division="open"),
    Recipe("crashes", "Adaptive step sizes", 0.94, 41.7, 61.2, tier=None),
)


def showcase(
    folder: Path,
    seeds: Sequence[int] = SEEDS,
    n_tasks: int = 400,
    copies: int = 1,
    most: int = 1000,
) -> Board:
    """A board of about a dozen entries (times ``copies``, at most ``most``), on disk."""
    made = write_board(board(folder, seeds))
    for copy in range(copies):
        for recipe in RECIPES[: max(0, most - copy * len(RECIPES))]:
            slug = recipe.slug if copy == 0 else f"{recipe.slug}-{copy}"
            cost = {
                "train_flops": round(recipe.gflop * 1e9),
                "state_bytes": round(recipe.kilobytes * 1e3),
            }
            changes = {**recipe.changes, "cost": {**cost, **recipe.changes.get("cost", {})}}
            accuracy = recipe.accuracy - 0.02 * copy / copies
            records = [record(seed, accuracy, n_tasks, **changes) for seed in seeds]
            if recipe.slug == "crashes":
                records[-1] = dataclasses.replace(records[-1], status="diverged")
            meta = Meta(
                name=recipe.name,
                strategy=recipe.slug.split("-")[0],
                authors=("A. Author", "B. Author"),
                affiliation="Institute of Examples",
                url="https://arxiv.org/abs/1612.00796",
                code="https://github.com/example/code",
                division=recipe.division,
                tuned_on=(100, 101),
                description="One sentence that says what the strategy does and what it stores.",
                paper_reference={
                    "value": 0.94,
                    "source": "Kirkpatrick 2017, Fig. 2",
                    "comparable": False,
                },
                declaration={"no_test_data": True, "no_evaluation_seed_tuning": True},
            )
            write_entry(made, slug, meta, records, recipe.tier)
    return made


def validate(board: Board, entry: Entry) -> list[Finding]:
    """A validator of opinions, to show each of them."""
    file = f"entries/{entry.slug}/runs/seed3.json"
    opinions = {
        "si": Finding(
            "C3", "warning", f"entries/{entry.slug}/strategy.py", "is stale; run it anew"
        ),
        "resnet-er": Finding("P1", "review", file, "is 3 standard deviations above the ceiling"),
        "agem": Finding("C1", "error", file, "stream_sha256 is not the board's; run it anew"),
    }
    return [opinions[entry.slug]] if entry.slug in opinions else []
