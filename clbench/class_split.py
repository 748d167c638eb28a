"""Cutting the classes of a pool into disjoint tasks."""

from __future__ import annotations

from clbench import seeding
from clbench.errors import UsageError
from clbench.seeding import Axis
from clbench.stream import Task


def split_classes(
    n_classes: int, n_tasks: int | None, per_task: int | None, seed: int
) -> list[Task]:
    """All classes in a seeded order, cut into tasks whose sizes differ by at most one.

    Args:
        n_classes: how many there are.
        n_tasks: how many tasks; None: ``n_classes / per_task``, rounded up.
        per_task: classes in a task; None: as ``n_tasks`` gives; if both are None, 2.
        seed: of the run.

    Raises:
        UsageError: more is asked for than there are classes.
    """
    if per_task is None and n_tasks is None:
        per_task = min(2, n_classes)
    order = [int(c) for c in seeding.generator(seed, Axis.STREAM).permutation(n_classes)]
    if per_task is not None:
        wanted = -(-n_classes // per_task) if n_tasks is None else n_tasks
        if per_task > n_classes or (n_tasks is not None and n_tasks * per_task > n_classes):
            raise UsageError(
                f"scenario.classes_per_task={per_task} in {wanted} tasks: "
                f"the data have {n_classes} classes"
            )
        if n_tasks is not None and n_tasks * per_task != n_classes:
            raise UsageError(
                f"scenario.n_tasks={n_tasks} of {per_task} classes leave some of the {n_classes} "
                "classes out; set only one of the two"
            )
        sizes = [len(order[i : i + per_task]) for i in range(0, n_classes, per_task)]
    else:
        assert n_tasks is not None
        if n_tasks > n_classes:
            raise UsageError(f"scenario.n_tasks={n_tasks}: the data have {n_classes} classes")
        sizes = [n_classes // n_tasks + (t < n_classes % n_tasks) for t in range(n_tasks)]
    tasks, start = [], 0
    for size in sizes:
        tasks.append(Task(tuple(sorted(order[start : start + size]))))
        start += size
    return tasks
