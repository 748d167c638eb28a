"""Finds runs in which nothing is learnt: settings with which the loss is always exactly 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clbench.engine.build import Run
from clbench.engine.ledger import Ledger
from clbench.strategy import GradientStrategy, Strategy

LOOKED_AT = 100
"""Tasks whose classes are looked at; the first ones of a stream."""
LOOP = ("learn", "begin", "batches", "draw", "scores", "masked", "loss")
"""Methods that decide which classes compete in a step; whoever overrides one may add classes."""


def foreseen(run: Run, strategy: Strategy) -> str | None:
    """Say before training that nothing can be learnt, and why; None where that is not certain.

    In every step the softmax would be over one class. Its loss is 0, and so is its gradient. Replayed
    samples add classes to a step, so only strategies with the plain training loop are judged.
    """
    cls = type(strategy)
    if any(getattr(cls, name, None) is not getattr(GradientStrategy, name) for name in LOOP):
        return None
    stream, settings = run.stream, strategy.config
    n_tasks = LOOKED_AT if run.n_tasks is None else min(LOOKED_AT, run.n_tasks)
    if stream.n_classes == 1:
        return _line("the stream has one class", "use data with several classes")
    if settings.mask != "group" and not stream.task_ids:
        return None
    one_class = all(len(set(stream.plan(t).classes)) == 1 for t in range(n_tasks))
    if one_class and stream.task_ids:
        return _line(
            "every task has one class, and the task is told", "set scenario.classes_per_task"
        )
    if settings.mask != "group":
        return None
    fix = "drop strategy.mask=group"
    if one_class:
        return _line("every task has one class, and strategy.mask=group leaves out the others", fix)
    if stream.chunk == 1:
        return _line("scenario.chunk=1 delivers one class at a time to strategy.mask=group", fix)
    if settings.batch_size == 1 and settings.mask_scope == "batch":
        return _line(
            "strategy.batch_size=1 leaves one class in every batch to strategy.mask=group",
            "set strategy.mask_scope=task",
        )
    return None


def _line(why: str, fix: str) -> str:
    return f"nothing is learnt: {why}, so the loss is always 0; {fix}"


def observed(ledger: Ledger) -> str | None:
    """Say after training that nothing was learnt.

    So it is where the training loss was exactly 0 at every evaluation and every evaluation has the
    counts of the first, which came before any training.
    """
    losses = _after_training(ledger, ledger.diagnostics.get("loss", []))
    counts = _after_training(ledger, ledger.correct)
    if not losses or any(loss != 0 for loss in losses):
        return None
    if ledger.evaluated_after[0] != 0 or any(count != ledger.correct[0] for count in counts):
        return None
    return (
        "nothing was learnt: the training loss was exactly 0 at every evaluation; look for a mask "
        "or tasks that leave one class to tell apart"
    )


def _after_training(ledger: Ledger, values: Sequence[Any]) -> list[Any]:
    pairs = zip(ledger.evaluated_after, values, strict=False)
    return [value for after, value in pairs if after > 0]
