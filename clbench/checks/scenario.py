"""The contract of scenarios: streams that are pure functions, over worlds that are cut cleanly."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from itertools import combinations
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from clbench.checks import scenario_settings, scenario_world
from clbench.checks.bits import bits, differing
from clbench.checks.finding import Check, Failed, NotApplicable
from clbench.checks.pools import blobs
from clbench.checks.rig import Rig
from clbench.checks.scenario_settings import Variant, at_most, make_stream, variants
from clbench.checks.scenario_world import rows_of
from clbench.data.pool import Pool
from clbench.engine.reach import reachable
from clbench.errors import UsageError
from clbench.plugins.registry import Plugin
from clbench.stream import Stream, TaskData
from clbench.world import World

RECURRING = 15
"""Experiences over which samples and transforms come again."""
NEAR, FAR = 10, 10_000


def draws_each_experience_from_settings_seed_and_number_alone(rig: Rig) -> None:
    """Experience t is the same in any order of asking, and from a stream made anew."""
    for variant in variants(rig):
        inward = [bits(vars(variant.experience(t))) for t in range(variant.experiences)]
        again, last = variant.anew(), variant.experiences - 1
        for t in reversed(range(variant.experiences)):
            # Nothing was asked of the first one before its last experience.
            for other in (again, variant.anew()) if t < last else (again,):
                wrong = differing(inward[t], bits(vars(other.experience(t))))
                if wrong:
                    raise Failed(
                        f"{variant}: {wrong[0]} of experience {t} depends on what was asked "
                        "before; draw task t from clbench.seeding.generator(seed, Axis.STREAM, t)"
                    )


def gives_another_stream_for_another_seed(rig: Rig) -> None:
    """The seed changes which samples come, or their order; and the keys they go by."""
    (first, *_) = variants(rig)
    contents, keys = set(), set()
    for seed in range(3):
        stream = first.anew(seed)
        tasks = [stream.experience(t) for t in range(first.experiences)]
        contents.add(tuple(str(bits([task.x, task.y])) for task in tasks))
        keys.add(tuple(str(bits(task.key)) for task in tasks))
    if len(contents) == 1 or len(keys) == 1:
        raise Failed("three seeds give one stream; pass the seed on to Stream and to every draw")


def gives_equal_keys_to_equal_samples_only(rig: Rig) -> None:
    """Two samples have one key if and only if they are the same sample with the same label."""
    for variant in variants(rig):
        stream = variant.stream
        known: dict[int, tuple[int, tuple[bytes, int]]] = {}
        delivered: list[dict[int, tuple[int, tuple[bytes, int]]]] = []
        for t in range(at_most(RECURRING, stream)):
            draw, task = stream.draw(t), variant.experience(t)
            labelled = zip(rows_of(task.x), task.y.tolist(), strict=True)
            rows = list(zip(draw.index.tolist(), task.key.tolist(), labelled, strict=True))
            for index, key, sample in rows:
                if known.setdefault(key, (index, sample)) != (index, sample):
                    raise Failed(
                        f"{variant}: experience {t} gives two samples one key; set Task.variant so "
                        "that it differs wherever the transformed samples do"
                    )
            delivered.append({index: (key, sample) for index, key, sample in rows})
        for before, after in combinations(delivered, 2):
            # Noise may leave one sample as it was; where it leaves all, they are the same samples.
            both = [(before[index], after[index]) for index in before.keys() & after.keys()]
            alike = all(a[1] == b[1] for a, b in both)
            if alike and any(a[0] != b[0] for a, b in both):
                raise Failed(
                    f"{variant}: the same samples get other keys when they come again; set "
                    "Task.variant so that it is equal wherever the transformed samples are"
                )


def labels_samples_as_the_pool_does(rig: Rig) -> None:
    """Labels are in range and the pool's own, and so are samples without a transform."""
    for variant in variants(rig):
        stream = variant.stream
        of = stream.pool.labels("train")
        for t in range(variant.experiences):
            draw, task = stream.draw(t), variant.experience(t)
            y = task.y.numpy()
            if len(y) == 0 or y.min() < 0 or y.max() >= stream.n_classes:
                raise Failed(f"{variant}: experience {t} is empty or has labels out of range")
            labels = [stream.pool_label(c, draw.plan.domain) for c in y.tolist()]
            if (labels != of[draw.index]).any():
                raise Failed(f"{variant}: labels of experience {t} are not those of its samples")
            if not set(y.tolist()) <= set(draw.plan.classes):
                raise Failed(
                    f"{variant}: experience {t} has classes that Task.classes does not name"
                )
            raw = stream.pool.gather("train", draw.index)
            if not draw.transforms and not torch.equal(task.x, raw):
                raise Failed(f"{variant}: experience {t} changes samples and names no transform")


def declares_what_its_tasks_are(rig: Rig) -> None:
    """``disjoint``, ``task_ids`` and the hidden boundaries of chunks are as the stream says."""
    for variant in variants(rig):
        stream = variant.stream
        n_tasks = 6 if stream.n_tasks is None else min(6, stream.n_tasks)
        plans = [stream.plan(t) for t in range(n_tasks)]
        every = [c for plan in plans for c in plan.classes]
        if stream.disjoint and len(set(every)) < len(every):
            raise Failed(f"{variant}: says disjoint=True and a class comes in two tasks")
        if any(tuple(sorted(set(plan.classes))) != plan.classes for plan in plans):
            raise Failed(f"{variant}: Task.classes must be ascending, each class once")
        if stream.task_ids and stream.n_tasks is None:
            raise Failed(f"{variant}: gives task ids without an end; set n_tasks")
        for t in range(variant.experiences):
            task = variant.experience(t)
            hidden = stream.chunk is not None
            if (task.classes is None) != hidden or (task.ends_task is None) != hidden:
                raise Failed(f"{variant}: chunks must hide classes and ends_task, whole tasks not")
            if (task.task_id is not None) != stream.task_ids:
                raise Failed(f"{variant}: task_id must come if and only if task_ids is set")


def delivers_whole_tasks_in_chunks(rig: Rig) -> None:
    """The chunks of a task, put together, are the task."""
    if "chunk" not in {field.name for field in dataclasses.fields(rig.plugin.load())}:
        raise NotApplicable("it has no setting chunk")
    whole = make_stream(rig.plugin, {"chunk": "null"})
    cut = make_stream(rig.plugin, {"chunk": "50"})
    start = 0
    for t in range(3 if whole.n_tasks is None else min(3, whole.n_tasks)):
        task, stop = whole.draw(t), cut.n_experiences(t + 1)
        pieces = [cut.draw(number) for number in range(start, stop)]
        if [piece.ends_task for piece in pieces] != [False] * (len(pieces) - 1) + [True]:
            raise Failed(f"task {t}: only its last chunk may end it")
        for name in ("index", "labels", "keys"):
            together = np.concatenate([getattr(piece, name) for piece in pieces])
            if not np.array_equal(together, getattr(task, name)):
                raise Failed(f"task {t}: the {name} of its chunks are not those of the whole task")
        start = stop


def hashes_what_it_delivers(rig: Rig) -> None:
    """Two streams that deliver other samples have other hashes; one stream has one hash."""
    seen: dict[str, tuple[Variant, str]] = {}
    for variant in variants(rig):
        chain = _hash(variant, variant.stream)
        if chain != _hash(variant, variant.anew()):
            raise Failed(f"{variant}: the hash changes from one reading to the next")
        tasks = [variant.experience(t) for t in range(variant.experiences)]
        content = " ".join(str(bits([task.x, task.y, task.key])) for task in tasks)
        other, known = seen.setdefault(chain, (variant, content))
        if known != content and other.experiences == variant.experiences:
            raise Failed(
                f"{variant} and {other} deliver other samples under one hash; let "
                "Transform.describe tell all that changes a sample"
            )


def _hash(variant: Variant, stream: Stream) -> str:
    """The stream's own hash of what it delivers."""
    chain = stream.sha256
    for t in range(variant.experiences):
        chain = stream.extend(chain, stream.draw(t))
    return chain


def reaches_far_tasks_at_once(rig: Rig) -> None:
    """An endless stream gives experience 10,000 without listing those before."""
    if not _may_be_endless(rig.plugin):
        raise NotApplicable("it has no endless form")
    stream = make_stream(rig.plugin, {"n_tasks": "null"})
    near = _calls(stream.experience, NEAR, limit=None)
    limit = 3 * near + 1000
    far = make_stream(rig.plugin, {"n_tasks": "null"})
    if _calls(far.experience, FAR, limit) > limit:
        raise Failed(
            f"experience {FAR} costs many times what experience {NEAR} does; draw task t from a "
            "generator of its own, seeding.generator(seed, Axis.STREAM, t)"
        )


class _Enough(Exception):
    """More calls than were asked for."""


def _calls(function: Callable[[int], object], argument: int, limit: int | None) -> int:
    """The function calls that a call makes: a cost that, unlike time, is the same each time."""
    count = 0

    def see(frame: FrameType, event: str, what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")
        if limit is not None and count > limit:
            raise _Enough

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        function(argument)
    except _Enough:
        pass
    finally:
        sys.setprofile(before)
    return count


def _may_be_endless(plugin: Plugin) -> bool:
    if "n_tasks" not in {field.name for field in dataclasses.fields(plugin.load())}:
        return False
    try:
        return make_stream(plugin, {"n_tasks": "null"}).n_tasks is None
    except UsageError:
        return False


def gives_no_way_back_to_the_stream(rig: Rig) -> None:
    """From an experience, neither the stream nor the rest of the pool can be reached."""
    for variant in variants(rig):
        task = variant.experience(0)
        for path, found in reachable(task, "task"):
            if isinstance(found, Stream | Pool | World):
                kind = type(found).__name__
                raise Failed(f"{variant}: {path} is a {kind}; deliver plain tensors")
            if isinstance(found, Tensor) and _is_a_window(found):
                raise Failed(f"{variant}: {path} is a view of a larger tensor; deliver a copy")


def _is_a_window(tensor: Tensor) -> bool:
    return tensor.untyped_storage().nbytes() > math.prod(tensor.shape) * tensor.element_size()


def works_on_vectors_or_refuses_them(rig: Rig) -> None:
    """Over a pool of vectors it gives a stream and a world, or says that it needs images."""
    for variant in variants(rig):
        try:
            stream = variant.anew(pool=blobs("vectors"))
        except UsageError:
            continue
        task: TaskData = stream.experience(0)
        if task.x.shape[1:] != (16,) or task.x.dtype != torch.float32:
            raise Failed(f"{variant}: samples change shape or dtype")
        stream.world()


CHECKS: tuple[Check, ...] = (
    draws_each_experience_from_settings_seed_and_number_alone,
    gives_another_stream_for_another_seed,
    gives_equal_keys_to_equal_samples_only,
    labels_samples_as_the_pool_does,
    declares_what_its_tasks_are,
    delivers_whole_tasks_in_chunks,
    scenario_world.cuts_the_test_samples_into_disjoint_cells,
    scenario_world.measures_every_task_on_cells_of_the_world,
    scenario_world.delivers_no_test_sample,
    hashes_what_it_delivers,
    reaches_far_tasks_at_once,
    gives_no_way_back_to_the_stream,
    works_on_vectors_or_refuses_them,
    scenario_settings.refuses_unknown_settings,
    scenario_settings.refuses_senseless_settings,
    scenario_settings.refuses_more_classes_than_there_are,
)
