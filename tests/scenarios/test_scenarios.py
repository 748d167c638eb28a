"""Every scenario's stream is what it was: golden hashes."""

from __future__ import annotations

import numpy as np
import pytest
from small import pool

from clbench.configure.config import resolve_point
from clbench.data.pool import TensorPool
from clbench.scenario import Scenario
from clbench.stream import Stream

TEN = pool(n_classes=10, n_train=3, n_test=2)
IMAGES = pool(n_classes=4, n_train=6, n_test=3, shape=(8, 8))


def scenario_of(name: str, **settings_: object) -> Scenario:
    point = {"scenario": name, "strategy": "naive", "model": "mlp"}
    given = {f"scenario.{key}": value for key, value in settings_.items()}
    scenario: Scenario = resolve_point({**point, **given}).scenario
    return scenario


def make(name: str, on: TensorPool = TEN, seed: int = 0, **settings_: object) -> Stream:
    return scenario_of(name, **settings_).stream(on, seed)


def classes(stream: Stream, n: int) -> list[tuple[int, ...]]:
    return [stream.plan(t).classes for t in range(n)]


def frequencies(stream: Stream, n: int) -> np.ndarray:
    return np.bincount([c for task in classes(stream, n) for c in task], minlength=stream.n_classes)


CASES: dict[str, tuple[str, TensorPool, dict[str, object]]] = {
    "scole": ("scole", TEN, {"n_tasks": 9}),
    "scole imbalance": ("scole", TEN, {"imbalance": "geometric", "share": 0.5, "chunk": 4}),
    "scole reduction": ("scole", TEN, {"prob_reduction": 2.0, "n_classes": 6}),
    "scole order": ("scole", TEN, {"randomized_order": 0.5}),
    "scole couples": ("scole", TEN, {"randomized_couples": 0.5}),
    "scole corruption": ("scole", IMAGES, {"corruption": "random"}),
    "class_incremental": ("class_incremental", TEN, {}),
    "task_incremental": ("task_incremental", TEN, {"n_tasks": 5}),
    "domain_incremental": ("domain_incremental", TEN, {}),
    "domain_incremental rotated": ("domain_incremental", IMAGES, {"transform": "rotated"}),
    "domain_incremental split": ("domain_incremental", TEN, {"transform": "split"}),
    "domain_incremental split uneven": (
        "domain_incremental",
        TEN,
        {"transform": "split", "classes_per_task": 4, "class_order": "data", "chunk": 4},
    ),
    "domain_incremental labels": ("domain_incremental", TEN, {"transform": "labels"}),
    "domain_incremental labels endless": (
        "domain_incremental",
        TEN,
        {"transform": "labels", "n_tasks": None, "share": 0.5, "chunk": 4},
    ),
    "domain_incremental order": (
        "domain_incremental",
        IMAGES,
        {"transform": "rotated", "n_tasks": 5, "domain_order": "[4,0,3,1,2]"},
    ),
    "subgroup_shift": ("subgroup_shift", IMAGES, {"n_tasks": 5}),
    "subgroup_shift stripes": (
        "subgroup_shift",
        IMAGES,
        {
            "n_tasks": None,
            "attribute": "stripes",
            "n_attributes": 4,
            "alignment": 0.5,
            "shift": "rotate",
            "share": 0.6,
            "chunk": 4,
        },
    ),
    "repetition": ("repetition", TEN, {"n_tasks": 5, "slots": 5}),
    "repetition sampling": ("repetition", TEN, {"mode": "sampling", "samples": 9, "chunk": 4}),
    "repetition dual": (
        "repetition",
        TEN,
        {
            "mode": "sampling",
            "samples": 20,
            "first_occurrence": "zipf",
            "recurrence": "dual",
        },
    ),
    "blurry": ("blurry", TEN, {"chunk": 4, "blur": 40}),
    "blurry stochastic": ("blurry", TEN, {"chunk": None, "blur": 40, "boundaries": "stochastic"}),
    "latent_replay": ("latent_replay", TEN, {}),
    "latent_replay shots": ("latent_replay", TEN, {"n_tasks": 7, "shots": 2}),
    "latent_replay scole": ("latent_replay", TEN, {"protocol": "scole", "n_tasks": 9}),
}
GOLDEN = {
    "scole": "ac316e6efcfc5582",
    "scole imbalance": "0574e18471431e14",
    "scole reduction": "bc5623b0bdda577d",
    "scole order": "5a0d0bdd396e3edf",
    "scole couples": "e557521bf7ea2cbb",
    "scole corruption": "ebfca0bebed63c4f",
    "class_incremental": "820daee9601bf6d1",
    "task_incremental": "820daee9601bf6d1",
    "domain_incremental": "5ee1d6548136ac45",
    "domain_incremental rotated": "9709a11f670fd642",
    "domain_incremental split": "df01e5dfb4ea219e",
    "domain_incremental split uneven": "39a562c84410cd6d",
    "domain_incremental labels": "129277a296b35f2c",
    "domain_incremental labels endless": "4921ce143ade7a9d",
    "domain_incremental order": "d2bf96f203f76c98",
    "subgroup_shift": "4dafb6dacab664ff",
    "subgroup_shift stripes": "929ebbf64208afa4",
    "repetition": "4f86daa8eb66a4ff",
    "repetition sampling": "2eed39fb94fce9ae",
    "repetition dual": "1a56f6887a054970",
    "blurry": "08e4cfaf9b9fdc13",
    "blurry stochastic": "b84a8b665b4c8ba5",
    "latent_replay": "aca4b2bc0a7d3ab9",
    "latent_replay shots": "438a73a1e7f7abae",
    "latent_replay scole": "ac316e6efcfc5582",  # that of scole
}


@pytest.mark.parametrize("case", CASES)
def test_streams_are_what_they_were(case: str):
    """If a change is meant, it changes every published result: say so in the changelog."""
    name, on, settings_ = CASES[case]
    stream = make(name, on, seed=7, **settings_)
    sha256 = stream.sha256
    for number in range(5):
        sha256 = stream.extend(sha256, stream.draw(number))
    assert sha256[:16] == GOLDEN[case]
