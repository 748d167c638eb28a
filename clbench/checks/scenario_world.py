"""Checks on the world that a stream is scored on."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from clbench.checks.finding import Failed
from clbench.checks.rig import Rig
from clbench.checks.scenario_settings import variants
from clbench.stream import Stream
from clbench.world import World


def cuts_the_test_samples_into_disjoint_cells(rig: Rig) -> None:
    """Every test sample of every class is in one cell, in every domain, and nothing else is."""
    for variant in variants(rig):
        stream, world, cells = variant.stream, variant.world, variant.stream.cells
        if len(set(cells)) < len(cells) or {c.label for c in cells} != set(range(stream.n_classes)):
            raise Failed(f"{variant}: cells repeat, or leave a class of the stream out")
        of = stream.pool.labels("test")
        members = [of == stream.pool_label(cell.label, cell.domain) for cell in cells]
        sizes = np.array([mine.sum() for mine in members])
        counted = np.bincount(world.cell.numpy(), minlength=len(cells))
        if not (np.array_equal(world.sizes.numpy(), sizes) and np.array_equal(counted, sizes)):
            raise Failed(f"{variant}: a cell does not hold exactly the test samples of its class")
        labels = np.array([cell.label for cell in cells])
        if not np.array_equal(labels[world.cell.numpy()], world.y.numpy()):
            raise Failed(f"{variant}: a sample is in a cell of another class")
        _same_samples(stream, world, str(variant))


def _same_samples(stream: Stream, world: World, variant: str) -> None:
    """Without transforms, the world is the pool's test split; under other labels, once a domain."""
    if stream.tested_as_transformed:
        return
    index = np.flatnonzero(np.isin(stream.pool.labels("test"), stream.pool_labels))
    times = 1 if stream.relabel is None else len(stream.domains)
    once = rows_of(stream.pool.gather("test", index))
    if sorted(rows_of(world.x)) != sorted(once * times):
        each = "once" if times == 1 else "once in each domain"
        raise Failed(f"{variant}: the world does not hold each test sample {each}")


def measures_every_task_on_cells_of_the_world(rig: Rig) -> None:
    """The view of a task is the cells of its classes, or None where its domain is left out."""
    for variant in variants(rig):
        stream = variant.stream
        n_tasks = 8 if stream.n_tasks is None else min(8, stream.n_tasks)
        for t in range(n_tasks):
            plan, view = stream.plan(t), stream.view(t)
            domains = stream.domains if plan.domain is None else (plan.domain,)
            if view is None:
                if set(domains) <= set(stream.domains):
                    raise Failed(f"{variant}: task {t} has no view though its domain is evaluated")
                continue
            cells = [stream.cells[number] for number in view]
            if tuple(cell.label for cell in cells) != plan.classes * len(domains):
                raise Failed(f"{variant}: the view of task {t} is not of the classes it has")
            if tuple(dict.fromkeys(cell.domain for cell in cells)) != domains:
                raise Failed(f"{variant}: the view of task {t} is in other domains than it is")


def delivers_no_test_sample(rig: Rig) -> None:
    """What is learnt from and what is scored have no sample in common."""
    for variant in variants(rig):
        scored = set(rows_of(variant.world.x))
        for t in range(variant.experiences):
            if scored & set(rows_of(variant.experience(t).x)):
                raise Failed(f"{variant}: experience {t} delivers test samples; take 'train'")


def rows_of(x: Tensor) -> list[bytes]:
    """The bytes of each sample."""
    return [row.tobytes() for row in x.numpy().reshape(len(x), -1)]
