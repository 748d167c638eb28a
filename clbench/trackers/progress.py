"""Watching a run: progress on stderr, curves in TensorBoard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clbench.engine.ledger import Ledger

if TYPE_CHECKING:
    from rich.progress import Progress

Report = Callable[[Ledger], None]
BAR_SECONDS = 0.1
"""A terminal's bar is drawn anew at most so often; an experience may take a millisecond."""
QUIET_SECONDS = 10.0
"""Where stderr is not a terminal, a line of progress at most so often."""


def together(reports: Sequence[Report]) -> Report:
    """One report that makes all of them."""

    def report(ledger: Ledger) -> None:
        for one in reports:
            one(ledger)

    return report


@contextmanager
def progress(title: str, total: int | None, done: int) -> Iterator[Report]:
    """Progress with time left and the world accuracy so far, as a bar or, in logs, as lines."""
    if sys.stderr.isatty():
        with _bar(title, total, done) as report:
            yield report
    else:
        yield _lines(title, total, done)


@contextmanager
def _bar(title: str, total: int | None, done: int) -> Iterator[Report]:
    with _rich_bar("world accuracy {task.fields[accuracy]:.1%}") as bar:
        task = bar.add_task(title, total=total, completed=done, accuracy=0.0)
        last = 0.0

        def report(ledger: Ledger) -> None:
            nonlocal last
            if time.monotonic() - last < BAR_SECONDS and ledger.experiences != total:
                return
            last = time.monotonic()
            accuracy = ledger.world_accuracy[-1]
            bar.update(task, completed=ledger.experiences, accuracy=accuracy)

        yield report


def _rich_bar(*more: str) -> Progress:
    """A bar on stderr that vanishes at its end, with further columns of text."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *(TextColumn(text) for text in more),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _lines(title: str, total: int | None, done: int) -> Report:
    started = last = time.monotonic()

    def report(ledger: Ledger) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < QUIET_SECONDS:
            return
        last = now
        left = ""
        if total is not None and ledger.experiences > done:
            seconds = (now - started) / (ledger.experiences - done) * (total - ledger.experiences)
            left = f", {seconds:.0f} s left"
        of = "" if total is None else f"/{total}"
        line = f"{title}: {ledger.experiences}{of}, world accuracy {ledger.world_accuracy[-1]:.1%}"
        sys.stderr.write(line + left + "\n")

    return report


@contextmanager
def counted(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Progress of something that counts, to a total if known, as a bar or, in logs, as lines."""
    if not sys.stderr.isatty():
        yield _counted_lines(title, total)
        return
    with _rich_bar() as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _counted_lines(title: str, total: int | None) -> Callable[[int], None]:
    started = last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= QUIET_SECONDS:
            last = now
            left = ""
            if total is not None:
                left = f"/{total}, {(now - started) / done * (total - done):.0f} s left"
            sys.stderr.write(f"{title}: {done}{left}\n")

    return report


def say(line: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"clbench: {line}\n")


@contextmanager
def tensorboard(folder: Path, ledger: Ledger) -> Iterator[Report]:
    """Scalars of every evaluation, under ``folder``; a resumed run goes on where it was."""
    from torch.utils.tensorboard import SummaryWriter

    written = len(ledger.evaluated_after)
    # Drops from the view what was written after the checkpoint: this step and all beyond.
    lost = ledger.experiences + 1 if ledger.experiences else None
    with SummaryWriter(str(folder), purge_step=lost) as writer:

        def report(ledger: Ledger) -> None:
            nonlocal written
            for at in range(written, len(ledger.evaluated_after)):
                step = ledger.evaluated_after[at]
                writer.add_scalar("world_accuracy", ledger.world_accuracy[at], step)
                for name, series in ledger.diagnostics.items():
                    if series[at] is not None:
                        writer.add_scalar(f"diagnostics/{name}", series[at], step)
            written = len(ledger.evaluated_after)

        yield report
