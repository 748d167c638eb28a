"""The arms of ``long_streams.py`` that need only torch: clbench, and the hand-written loop.

The hand-written loop is idiomatic torch: tensors stay in memory, batches are slices, there is no data
loader, and one pass over the test set. It has no records, checkpoints, hashes or seeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from long_streams_work import BATCH, CLIP, LAM, LR, MEMORY, TEST_BATCH, Clock, Work
from torch import Tensor, nn

from clbench.configure.trackers import Chosen
from clbench.engine import checkpoint
from clbench.engine.harness import run_stream, start_ledger
from clbench.engine.observers import Calling, Observers, run_start
from clbench.plugins.registry import find
from clbench.tracker import Progress


def clbench(work: Work, row: bool, clock: Clock, words: Sequence[str]) -> None:
    """The harness as in ``clbench run``: ledger, hashes, TensorBoard, a checkpoint every 30 s."""
    run = work.run(*words)
    strategy, ledger = run.strategy(), start_ledger(run)

    def report(progress: Progress) -> None:
        if progress.experiences == 0:  # the evaluation before the first task
            return
        if row:
            work.row(np.array(progress.evaluation.correct), progress.experiences)
        clock.task(progress.evaluation.world_accuracy)

    with tempfile.TemporaryDirectory() as folder:
        curves = Chosen(find("tracker", "tensorboard")).build()
        observers = Observers({"curves": curves, "clock": Calling(report)}, print, ledger.warn)
        observers.start(run_start(run, ledger, Path(folder)))
        clock.begin()
        outcome = run_stream(
            run,
            strategy,
            ledger,
            report=observers.progress,
            save=lambda books, state: checkpoint.save(
                Path(folder) / "checkpoint", run.hash8, books, state
            ),
        )
        observers.finish(None)
    if outcome.status != "completed":
        raise RuntimeError(f"{words}: {outcome.status}") from outcome.error


def by_hand(work: Work, row: bool, clock: Clock, method: str) -> None:
    """A loop over tasks; ``method`` is naive, ewc separate, ewc online or er."""
    (train_x, train_y), model = work.train, work.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    ewc = Ewc(model, method.removeprefix("ewc ")) if method.startswith("ewc") else None
    memory = Memory(train_x) if method == "er" else None
    tasks = work.index()
    clock.begin()
    for t, index in enumerate(tasks):
        x, y = train_x[index], train_y[index]
        model.train()
        for x_batch, y_batch in zip(x.split(BATCH), y.split(BATCH), strict=True):
            if memory is not None and memory.seen:
                x_batch, y_batch = memory.joined(x_batch, y_batch)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x_batch), y_batch)
            if ewc is not None:
                loss = loss + ewc.penalty()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        if ewc is not None:
            ewc.consolidate(x, y)
        if memory is not None:
            memory.add(x, y)
        clock.task(evaluate(model, work, t + 1 if row else 0))


@torch.no_grad()
def evaluate(model: nn.Module, work: Work, rows: int) -> float:
    """Evaluate the world in one pass, and a row of task accuracies; return the world's."""
    x, y = work.test
    model.eval()
    right = torch.cat([model(part).argmax(1) for part in x.split(TEST_BATCH)]) == y
    if rows:
        work.row(torch.bincount(y[right], minlength=work.members.shape[1]).numpy(), rows)
    return right.float().mean().item()


class Ewc:
    """Penalties in the loss: one per task (separate), or one at the newest weights (online)."""

    def __init__(self, model: nn.Module, mode: str) -> None:
        self.model, self.mode = model, mode
        self.held: list[tuple[list[Tensor], list[Tensor]]] = []

    def penalty(self) -> Tensor:
        """``lam/2 sum F (w - a)^2``, over all penalties."""
        total = torch.zeros(())
        for fisher, anchor in self.held:
            for p, f, a in zip(self.model.parameters(), fisher, anchor, strict=True):
                total = total + (f * (p - a) ** 2).sum()
        return LAM / 2 * total

    def consolidate(self, x: Tensor, y: Tensor) -> None:
        """Estimate the Fisher from squared gradients of mini-batches, as most code does."""
        self.model.eval()
        parameters = list(self.model.parameters())
        fisher = [torch.zeros_like(p) for p in parameters]
        n_batches = -(-len(x) // BATCH)
        for x_batch, y_batch in zip(x.split(BATCH), y.split(BATCH), strict=True):
            self.model.zero_grad()
            F.cross_entropy(self.model(x_batch), y_batch).backward()
            for f, p in zip(fisher, parameters, strict=True):
                assert p.grad is not None
                f += p.grad**2 / n_batches
        if self.mode == "online" and self.held:
            for f, before in zip(fisher, self.held.pop()[0], strict=True):
                f += before
        self.held.append((fisher, [p.detach().clone() for p in parameters]))


class Memory:
    """A reservoir of tensors, filled a task at a time."""

    def __init__(self, like: Tensor) -> None:
        self.x = torch.zeros(MEMORY, *like.shape[1:], dtype=like.dtype)
        self.y = torch.zeros(MEMORY, dtype=torch.int64)
        self.seen = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Vitter's algorithm R, all samples of a task at once."""
        number = torch.arange(self.seen, self.seen + len(x))
        at = torch.where(number < MEMORY, number, (torch.rand(len(x)) * (number + 1)).long())
        kept = at < MEMORY
        self.x[at[kept]], self.y[at[kept]] = x[kept], y[kept]
        self.seen += len(x)

    def joined(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Add as many stored samples as a batch has."""
        drawn = torch.randint(min(self.seen, MEMORY), (BATCH,))
        return torch.cat([x, self.x[drawn]]), torch.cat([y, self.y[drawn]])
