"""The metrics of the latent-replay study, as pure functions of the counts of a run and its siblings.

Ostapenko et al. 2022 (CoLLAs; arXiv 2205.00329), Table 1. A_{i,j} is the accuracy on task j after
task i, with one head over all classes; means over tasks are not weighted by their samples:

- A_CL = 1/T sum_t A_{T,t}
- A_task-cl = 1/T sum_t A_{t,t}
- forgetting F = A_task-cl - A_CL (positive if the head forgets; the authors' code logs the opposite
  sign)
- relative forgetting = 1/T sum_t (A_{t,t} - A_{T,t}) / A_{t,t}; tasks with A_{t,t} = 0 are left out
- A_CL-reinit: A_CL of the sibling whose weights are redrawn before every task; its memory stays
- transfer = A_CL - A_CL-reinit
- A_iid: the final accuracy of the sibling that learns all classes in one task, averaged over the
  tasks of the run
- A_task-iid: A_task-cl of the sibling without replay whose weights are redrawn before every task, so
  that each task is learned alone (our reading of the name, not verified)
- interference (total) = A_task-iid - A_iid
- interference = A_task-iid - A_task-cl
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from clbench.metric import Counts, Value
from clbench.results.metrics import learning_accuracy


class Measures(NamedTuple):
    """The metrics above, as shares; None if undefined or if the sibling is missing."""

    a_cl: float | None
    a_task_cl: float | None
    forgetting: float | None
    relative_forgetting: float | None
    a_cl_reinit: float | None
    transfer: float | None
    a_iid: float | None
    a_task_iid: float | None
    interference_total: float | None
    interference: float | None


def measure(
    run: Counts,
    reinit: Counts | None = None,
    iid: Counts | None = None,
    alone: Counts | None = None,
) -> Measures:
    """Compute the metrics of a run from its counts and its siblings'.

    Args:
        run: counts of the run, evaluated after every task.
        reinit: counts with weights redrawn before every task.
        iid: counts with all classes in one task.
        alone: counts without replay and with weights redrawn before every task.
    """
    a_cl, a_task_cl = accuracy_on_tasks(run, run), task_accuracy(run)
    a_cl_reinit = None if reinit is None else accuracy_on_tasks(reinit, run)
    a_iid = None if iid is None else accuracy_on_tasks(iid, run)
    a_task_iid = None if alone is None else task_accuracy(alone)
    return Measures(
        a_cl=a_cl,
        a_task_cl=a_task_cl,
        forgetting=_less(a_task_cl, a_cl),
        relative_forgetting=relative_forgetting(run).value,
        a_cl_reinit=a_cl_reinit,
        transfer=_less(a_cl, a_cl_reinit),
        a_iid=a_iid,
        a_task_iid=a_task_iid,
        interference_total=_less(a_task_iid, a_iid),
        interference=_less(a_task_iid, a_task_cl),
    )


def accuracy_on_tasks(run: Counts, tasks: Counts) -> float | None:
    """Average the final accuracy of one run over the tasks of another.

    Args:
        run: the run whose predictions are counted.
        tasks: the run whose views define the tasks; it has the same world.

    Raises:
        ValueError: they were not scored on the same cells.
    """
    if not (np.array_equal(run.label, tasks.label) and np.array_equal(run.size, tasks.size)):
        raise ValueError("the runs were not scored on the same world")
    views = tasks.view_of_task[tasks.view_of_task >= 0]
    if len(views) == 0 or len(run.correct) == 0:
        return None
    members = tasks.views[views].astype(np.float64)
    return float(((members @ run.correct[-1]) / (members @ run.size)).mean())


def task_accuracy(run: Counts) -> float | None:
    """A_task-cl; None if a task was not evaluated right after it was learned."""
    metric = learning_accuracy(run)
    return metric.value if metric.n_terms == len(run.task_end) else None


def relative_forgetting(run: Counts) -> Value:
    """The mean share of a task's accuracy lost by the end; terms: tasks with A_{t,t} > 0."""
    if len(run.task_end) == 0 or task_accuracy(run) is None:
        return Value(None, 0)
    after = run.view_accuracy[run.right_after, run.view_of_task]
    end = run.view_accuracy[-1, run.view_of_task]
    known = after > 0
    if not known.any():
        return Value(None, 0)
    return Value(float(((after - end)[known] / after[known]).mean()), int(known.sum()))


class Crossing(NamedTuple):
    """Where a curve reaches a level; ``relation`` is set if it lies above or below throughout."""

    size: float
    relation: Literal["", "<=", ">"] = ""

    def __str__(self) -> str:
        return f"{self.relation} {self.size:.3g}".strip()


def effective_replay_size(
    sizes: Sequence[int], accuracy: Sequence[float], level: float
) -> Crossing | None:
    """The replay size per class at which a head with replay is as good as one without.

    This is the first crossing of the curve, interpolated linearly in log(size).

    Args:
        sizes: ascending, each at least 1.
        accuracy: the accuracy at each size.
        level: the accuracy of the head without replay.

    Returns:
        The size; ``<= first size`` or ``> last size`` if the curve lies above or below
        throughout; None without a curve.
    """
    if not sizes:
        return None
    if accuracy[0] >= level:
        return Crossing(sizes[0], "<=")
    points = list(zip(sizes, accuracy, strict=True))
    for (left, low), (right, high) in pairwise(points):
        if high >= level:
            part = (level - low) / (high - low)
            return Crossing(math.exp(math.log(left) + part * math.log(right / left)))
    return Crossing(sizes[-1], ">")


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
