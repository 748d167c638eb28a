"""``prequential=true``: each experience is predicted before it is learnt.

An experience is predicted when it arrives, all of it before any of it is learnt, in the order of
delivery and in batches of ``BATCH_SIZE``, by the strategy in evaluation mode. Only labelled samples
count, and they count against the labels that the stream delivers. Where task ids are told, an answer
is one of the task's classes, as in evaluations.

``prepare`` is called after every experience that is learnt, as before an evaluation: a strategy that
trains there (say on its memory) would else be asked for answers with what it knew long ago. Its cost
is that of training. A strategy without ``prepare`` ends with the same bits as without predictions.

The *blind* baseline answers every sample of an experience with the last label that was known when the
experience arrived: that of the last labelled sample, in the order of delivery, of the experience
before it, or of an earlier one where labels come late. Before any label is known it is wrong. Labels
that follow one another make it strong (arXiv 2305.09275).

``prequential_ahead=k`` also predicts experience t + k with the weights that predict t.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from clbench.engine.build import Run
from clbench.engine.counting import is_counted, is_hashed
from clbench.engine.ledger import Ledger
from clbench.errors import Diverged
from clbench.nets.flops import Count
from clbench.nets.modes import evaluating
from clbench.results.confusion import MOST_CLASSES
from clbench.strategy import Strategy
from clbench.stream import Draw, TaskData

BATCH_SIZE = 512
"""Samples per batch. Part of the protocol, because float sums may depend on it."""


@torch.inference_mode()
def answers(strategy: Strategy, task: TaskData, closed: Tensor | None) -> tuple[Tensor, Tensor]:
    """Predict an experience's samples in the order of delivery.

    Args:
        strategy: the learner, whose modules are put into evaluation mode for the time being.
        task: ``n`` samples.
        closed: ``(n_classes,)`` bool: classes that may not be answered; None: all may.

    Returns:
        ``(n,)`` int64 predictions; 0-d bool: whether no score was NaN or plus infinity.
    """
    found: list[Tensor] = []
    sane = torch.ones((), dtype=torch.bool, device=task.y.device)
    with evaluating(strategy):
        for part in task.split(BATCH_SIZE):
            scores = strategy(part.x, part.task_id)
            sane &= (scores < torch.inf).all()
            if closed is not None:
                scores = scores.masked_fill(closed, -torch.inf)
            found.append(scores.argmax(1))
    return torch.cat(found), sane


class Prequential:
    """Predicts the experiences of a run, each once and in their order, into its ledger."""

    def __init__(self, run: Run, ledger: Ledger) -> None:
        self.run, self.stream, self.ledger = run, run.stream, ledger
        self.delay = run.config.common.label_delay
        self.distance = run.config.common.prequential_ahead

    def predict(
        self, strategy: Strategy, draw: Draw, gather: Callable[[Draw], TaskData] | None = None
    ) -> None:
        """Predict an experience, unless it was predicted in advance.

        Args:
            strategy: with the weights that it has when the experience arrives.
            draw: the next experience that is not predicted, or an earlier one.
            gather: gives its samples; None: the stream's.

        Raises:
            Diverged: a score is no number.
        """
        ledger, books = self.ledger, self.ledger.online
        number, seed = draw.number + 1, self.run.config.common.seed
        if draw.number < books.n_predicted:
            return
        before = books.samples
        with Count() if is_counted(seed, "online", number) else nullcontext() as count:
            y, right = self._right(strategy, draw, gather or self.stream.gather)
            ahead = self._ahead(strategy, draw.number + self.distance)
        if count is not None:
            hashed = is_hashed(seed, "online", number)
            books.counted.append((before, books.samples - before, count.total, 0, hashed))
            ledger.uncounted = sorted({*ledger.uncounted, *count.uncounted})
        labels = y[y >= 0]
        n_classes = self.stream.n_classes
        by_class: list[list[int]] = [[], []]
        if n_classes <= MOST_CLASSES:
            by_class = [np.bincount(of, minlength=n_classes).tolist() for of in (labels, y[right])]
        blind = self._blind(labels)
        books.waiting.append(
            (len(labels), int(right.sum()), blind, ahead, by_class[0], by_class[1])
        )

    def _right(
        self, strategy: Strategy, draw: Draw, gather: Callable[[Draw], TaskData]
    ) -> tuple[np.ndarray, np.ndarray]:
        """``(n,)`` int64 labels, and ``(n,)`` bool: which labelled samples are answered right."""
        task = gather(draw)
        closed = None
        if self.stream.task_ids:
            closed = torch.ones(self.stream.n_classes, dtype=torch.bool)
            closed[list(draw.plan.classes)] = False
            closed = closed.to(task.y.device)
        predictions, sane = answers(strategy, task, closed)
        self.ledger.online.samples += len(task)
        if not bool(sane):
            raise Diverged(f"scores are not numbers before experience {draw.number + 1}")
        y = task.y.cpu().numpy()
        return y, (predictions.cpu().numpy() == y) & (y >= 0)

    def _ahead(self, strategy: Strategy, number: int) -> int:
        """Right answers on a later experience; 0 where none is asked for or there is none."""
        if not self.distance or not self.exists(number):
            return 0
        return int(self._right(strategy, self.stream.draw(number), self.stream.gather)[1].sum())

    def _blind(self, labels: np.ndarray) -> int:
        """Right answers of the baseline, from an experience's labels, whose last one it notes."""
        books = self.ledger.online
        late = len(books.labels) <= self.delay
        known = -1 if late else books.labels[0]
        newest = int(labels[-1]) if len(labels) else (books.labels or [-1])[-1]
        books.labels = [*books.labels, newest][-(self.delay + 1) :]
        return int((labels == known).sum())

    @cached_property
    def _end(self) -> int | None:
        """Experiences of the whole stream, whatever part of it is run; None: endless."""
        return (
            None if self.stream.n_tasks is None else self.stream.n_experiences(self.stream.n_tasks)
        )

    def exists(self, number: int) -> bool:
        """Whether the stream has an experience, be it beyond this run's ``max_tasks``."""
        return self._end is None or number < self._end
