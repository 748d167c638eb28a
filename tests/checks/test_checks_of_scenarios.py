"""Each check of scenarios and models catches the example that breaks just its rule."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from clbench.checks import Finding, Rig, attempt, suite
from clbench.plugins.registry import find

HEAD = """
import itertools
from dataclasses import dataclass, replace
from typing import Annotated
import numpy as np
import torch
from torch import nn
from clbench import seeding
from clbench.data.transforms import Transform
from clbench.errors import UsageError
from clbench.model import Model, ToFloat
from clbench.scenario import Scenario
from clbench.seeding import Axis
from clbench.settings import AtLeast
from clbench.stream import Stream, Task, TaskData

"""
GOOD = """
@dataclass(frozen=True)
class Mine(Scenario):
    n_tasks: Annotated[int | None, AtLeast(1)] = 8
    classes_per_task: Annotated[int, AtLeast(1)] = 2
    chunk: Annotated[int | None, AtLeast(1)] = None

    def stream(self, pool, seed):
        if self.classes_per_task > pool.n_classes:
            raise UsageError("too many classes")
        def plan(t):
            rng = seeding.generator(seed, Axis.STREAM, t)
            drawn = rng.choice(pool.n_classes, self.classes_per_task, replace=False)
            return Task(tuple(sorted(drawn.tolist())))
        return KindOfStream(pool=pool, seed=seed, plan=plan, n_tasks=self.n_tasks,
                      labels=tuple(range(pool.n_classes)), chunk=self.chunk)
"""


class Shift:
    """Source of a transform that adds its number to every pixel, under one description."""

    SOURCE = """
@dataclass(frozen=True)
class Shift(Transform):
    by: int = 1
    n_domains = None
    def __call__(self, x, domain, generator):
        return x + self.by * domain
    def describe(self, domain):
        return "shift"
"""


def broken(change: tuple[str, str] | None = None, stream: str = "") -> str:
    """The good scenario with a piece replaced, or with another class of stream."""
    body = GOOD
    if change is not None:
        assert change[0] in body
        body = body.replace(*change)
    if stream:
        return f"class Other(Stream):\n{textwrap.indent(stream, '    ')}\n" + body.replace(
            "KindOfStream", "Other"
        )
    return body.replace("KindOfStream", "Stream")


def run_check(tmp_path: Path, name: str, body: str, group: str) -> Finding:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + body, encoding="utf-8")
    (one,) = [c for c in suite(group) if c.__name__ == name]
    return attempt(one, Rig(find(group, str(file))))


TRANSFORMED = "return Task(tuple(sorted(drawn.tolist())), transform=t{})"
WITH_SHIFT = ("chunk=self.chunk)", "chunk=self.chunk, transform=Shift())")


def shifted(variant: str) -> str:
    plain = "return Task(tuple(sorted(drawn.tolist())))"
    return Shift.SOURCE + broken((plain, TRANSFORMED.format(variant))).replace(*WITH_SHIFT)


HISTORY = broken(("rng = seeding.generator(seed, Axis.STREAM, t)", "rng = shared")).replace(
    "def plan(t):", "shared = np.random.default_rng(seed)\n        def plan(t):", 1
)
SAME_FOR_ALL_SEEDS = broken(("seed=seed, plan", "seed=0, plan")).replace(
    "generator(seed,", "generator(0,"
)
KEYS_BY_POSITION = broken(
    stream="""
def draw(self, number):
    draw = super().draw(number)
    return replace(draw, keys=np.arange(len(draw.index)))
"""
)
LABELS_OF_ANOTHER = broken(
    stream="""
def draw(self, number):
    draw = super().draw(number)
    return replace(draw, labels=draw.labels[::-1].copy())
"""
)
CHANGES_SAMPLES = broken(
    stream="""
def gather(self, draw):
    task = super().gather(draw)
    return replace(task, x=task.x + 1)
"""
)
SAYS_DISJOINT = broken(("chunk=self.chunk)", "chunk=self.chunk, disjoint=True)"))
SHOWS_BOUNDARIES = broken(
    stream="""
def gather(self, draw):
    return replace(super().gather(draw), ends_task=draw.ends_task)
"""
)
LOSES_THE_REST = broken(
    stream="""
def draw(self, number):
    draw = super().draw(number)
    short = self.chunk is not None and len(draw.index) < self.chunk
    keep = slice(0, 1) if short else slice(None)
    return replace(draw, index=draw.index[keep], labels=draw.labels[keep], keys=draw.keys[keep])
"""
)
CELL_TWICE = broken(
    stream="""
@property
def cells(self):
    return super().cells + super().cells[:1]
"""
)
WORLD_OF_TRAIN = broken(
    stream="""
def world(self):
    world = super().world()
    return replace(world, x=self.pool.gather("train", np.arange(len(world.y))))
"""
)
SOME_OF_ITS_GROUPS = Shift.SOURCE + broken(
    (
        "return Task(tuple(sorted(drawn.tolist())))",
        "return Task(tuple(sorted(drawn.tolist())), domain=None)",
    ),
    stream="""
def view(self, t):
    return super().view(t)[: len(self.plan(t).classes)]
""",
).replace(WITH_SHIFT[0], "chunk=self.chunk, transform=Shift(), n_domains=2)")
VIEW_OF_ALL = broken(
    stream="""
def view(self, t):
    return tuple(range(len(self.cells)))
"""
)
DELIVERS_TEST = broken(
    stream="""
def gather(self, draw):
    task = super().gather(draw)
    task.x[0] = self.pool.gather("test", np.arange(1))[0]
    return task
"""
)
ONE_HASH = broken(
    stream="""
def extend(self, sha256, draw):
    return sha256
"""
)
RANDOM_HASH = broken(
    stream="""
def extend(self, sha256, draw):
    return sha256[:32] + np.random.default_rng().bytes(16).hex()
"""
)
LISTS_ALL = broken(
    (
        "rng = seeding.generator(seed, Axis.STREAM, t)",
        "rng = [seeding.generator(seed, Axis.STREAM, s) for s in range(t + 1)][-1]",
    )
)
SHARED_STORAGE = broken(
    stream="""
def gather(self, draw):
    task = super().gather(draw)
    return replace(task, x=torch.cat([task.x, task.x])[: len(task.x)])
"""
)
HANDLE = broken(
    stream="""
def gather(self, draw):
    task = super().gather(draw)
    object.__setattr__(task, "source", lambda: self)
    return task
"""
)
IMAGES_ONLY = broken(
    stream="""
def world(self):
    height, width = self.pool.input_shape
    return super().world()
"""
)
ZERO_TASKS = broken(("n_tasks: Annotated[int | None, AtLeast(1)]", "n_tasks: int | None"))
CUTS_TO_FIT = broken(("if self.classes_per_task > pool.n_classes", "if False")).replace(
    "self.classes_per_task, replace", "min(self.classes_per_task, pool.n_classes), replace"
)

BROKEN = [
    ("draws_each_experience_from_settings_seed_and_number_alone", HISTORY, "Axis.STREAM"),
    ("gives_another_stream_for_another_seed", SAME_FOR_ALL_SEEDS, "three seeds"),
    ("gives_equal_keys_to_equal_samples_only", KEYS_BY_POSITION, "one key"),
    ("gives_equal_keys_to_equal_samples_only", shifted(""), "one key"),
    ("labels_samples_as_the_pool_does", LABELS_OF_ANOTHER, "not those"),
    ("labels_samples_as_the_pool_does", CHANGES_SAMPLES, "names no transform"),
    ("declares_what_its_tasks_are", SAYS_DISJOINT, "two tasks"),
    ("declares_what_its_tasks_are", SHOWS_BOUNDARIES, "chunks must hide"),
    ("delivers_whole_tasks_in_chunks", LOSES_THE_REST, "task 0"),
    ("cuts_the_test_samples_into_disjoint_cells", CELL_TWICE, "cells repeat"),
    ("cuts_the_test_samples_into_disjoint_cells", WORLD_OF_TRAIN, "each test sample once"),
    ("measures_every_task_on_cells_of_the_world", VIEW_OF_ALL, "the view of task 0"),
    ("measures_every_task_on_cells_of_the_world", SOME_OF_ITS_GROUPS, "the view of task 0"),
    ("delivers_no_test_sample", DELIVERS_TEST, "test samples"),
    ("hashes_what_it_delivers", ONE_HASH, "one hash"),
    ("hashes_what_it_delivers", RANDOM_HASH, "one reading"),
    ("reaches_far_tasks_at_once", LISTS_ALL, "experience 10000 costs"),
    ("gives_no_way_back_to_the_stream", SHARED_STORAGE, "larger tensor"),
    ("gives_no_way_back_to_the_stream", HANDLE, "is a Other"),
    ("works_on_vectors_or_refuses_them", IMAGES_ONLY, "mine.py line"),
    ("refuses_senseless_settings", ZERO_TASKS, "n_tasks=0"),
    ("refuses_more_classes_than_there_are", CUTS_TO_FIT, "classes_per_task=7"),
]


def network(layers: str) -> str:
    return f"""
@dataclass(frozen=True)
class Mine(Model):
    def build(self, input_shape, n_classes, scale):
        d = int(np.prod(input_shape))
        {layers}
"""


BROKEN_MODELS = [
    ("builds_for_some_shape_of_samples", network("raise UsageError('no')"), "refuses vectors"),
    (
        "scores_every_class",
        network("return nn.Sequential(ToFloat(scale), nn.Flatten(), nn.Linear(d, 3))"),
        "(7, 5)",
    ),
    (
        "scores_each_sample_by_itself",
        network(
            "return nn.Sequential(ToFloat(scale), nn.Flatten(), nn.Linear(d, n_classes), "
            "nn.BatchNorm1d(n_classes, track_running_stats=False))"
        ),
        "",
    ),
    (
        "draws_its_weights_from_torchs_generator",
        network(
            "net = nn.Sequential(ToFloat(scale), nn.Flatten(), nn.Linear(d, n_classes)); "
            "net[2].weight.data += np.random.default_rng().normal(); return net"
        ),
        "2.weight",
    ),
    (
        "follows_double",
        network(
            "return nn.Sequential(ToFloat(scale), nn.Flatten(), nn.Linear(d, n_classes), F32())"
        )
        + "class F32(nn.Module):\n    def forward(self, x):\n        return x.float()\n",
        "float64",
    ),
]


@pytest.mark.parametrize(("name", "body", "said"), BROKEN)
def test_a_broken_scenario_is_caught(tmp_path: Path, name: str, body: str, said: str) -> None:
    finding = run_check(tmp_path, name, body, "scenario")
    assert not finding.passed, f"{name} did not catch it"
    assert said in finding.message


@pytest.mark.parametrize(("name", "body", "said"), BROKEN_MODELS)
def test_a_broken_model_is_caught(tmp_path: Path, name: str, body: str, said: str) -> None:
    finding = run_check(tmp_path, name, body, "model")
    assert not finding.passed, f"{name} did not catch it"
    assert said in finding.message


@pytest.mark.parametrize("check", suite("scenario"))
def test_the_scenario_that_the_broken_ones_are_made_from_is_good(tmp_path: Path, check) -> None:
    finding = run_check(tmp_path, check.__name__, broken(), "scenario")
    assert finding.passed, finding.message


@pytest.mark.parametrize(("group", "examples"), [("scenario", BROKEN), ("model", BROKEN_MODELS)])
def test_every_check_has_an_example_that_it_catches(group: str, examples: list) -> None:
    by_engine = {"refuses_unknown_settings"}
    assert {c.__name__ for c in suite(group)} - by_engine == {name for name, _, _ in examples}
