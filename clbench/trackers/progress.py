"""Shows progress on stderr: a bar, or a line every ten seconds where stderr is no terminal.

A run has it without being asked to, unless it is quiet (``-q``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clbench.tracker import Progress, RunStart, Tracker
from clbench.util.console import has_codes, one_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from clbench.results.record import Record

BAR_SECONDS = 0.1
"""A terminal's bar is drawn anew at most so often; an experience may take a millisecond."""
QUIET_SECONDS = 10.0
"""Where stderr is not a terminal, a line of progress at most so often."""


class Bar(Tracker):
    """Shows progress, the time left and the last world accuracy: a bar or, in logs, lines."""

    def start(self, run: RunStart) -> None:
        """Show the bar, or start the clock of the lines."""
        self.title, self.total, self.done = one_line(run.title), run.n_experiences, run.experiences
        self.bar: RichProgress | None = None
        if has_codes(sys.stderr):
            self.bar = _rich_bar("world accuracy {task.fields[accuracy]:.1%}")
            self.bar.start()
            self.task = self.bar.add_task(
                _plain(self.title), total=self.total, completed=self.done, accuracy=0.0
            )
        self.started = self.last = time.monotonic()

    def progress(self, progress: Progress) -> None:
        """Draw the bar or write a line, unless one has just been."""
        now, ends = time.monotonic(), progress.experiences == self.total
        if self.bar is None:
            if now - self.last >= QUIET_SECONDS:
                self.last = now
                sys.stderr.write(self._line(progress, now))
        elif ends or now - self.last >= BAR_SECONDS:
            self.last = now
            accuracy = progress.evaluation.world_accuracy
            self.bar.update(self.task, completed=progress.experiences, accuracy=accuracy)

    def finish(self, record: Record | None) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()

    def _line(self, progress: Progress, now: float) -> str:
        at, left = progress.experiences, ""
        if self.total is not None and at > self.done:
            seconds = (now - self.started) / (at - self.done) * (self.total - at)
            left = f", {seconds:.0f} s left"
        of = "" if self.total is None else f"/{self.total}"
        accuracy = progress.evaluation.world_accuracy
        return f"{self.title}: {at}{of}, world accuracy {accuracy:.1%}{left}\n"


def _rich_bar(*more: str) -> RichProgress:
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


@contextmanager
def counted(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Progress of something that counts, to a total if known, as a bar or, in logs, as lines."""
    title = one_line(title)
    if not has_codes(sys.stderr):
        yield _counted_lines(title, total)
        return
    with _rich_bar() as bar:
        task = bar.add_task(_plain(title), total=total)
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
    sys.stderr.write(f"clbench: {one_line(line)}\n")


def _plain(title: str) -> str:
    """A title in which rich finds no markup."""
    from rich.markup import escape

    return escape(title)
