"""What the processes of a strategy spent, by what they were asked for.

``train`` are the calls of ``learn`` and ``prepare``; ``predict`` those of ``forward`` and
``diagnostics``. All else is ``outside``: building the strategy, its state, loading it, switching
between training and evaluation, and threads between calls. It counts in no rank, so that work there
would be hidden. The built-in strategies do next to nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PART = 100
"""One in so many of all operations may be made outside."""
USUAL = 2.0
"""Times the CPU seconds outside of the board's lower anchor that a strategy may spend there; what is
beyond counts as time of training. Those with states of megabytes, which take long to load, spend 2.4 to
13 times as many (ten entries on five boards). It weighs little in their seconds per operation: with it
these were 0.4 to 1.0 times the anchor's in three of the ten, where 5 are the limit."""
FIX = "do it in learn or prepare"


@dataclass
class Spent:
    """Operations, optimizer steps and CPU seconds of one purpose."""

    operations: int = 0
    updates: int = 0
    seconds: float | None = 0.0
    """As the kernel counts; None where it cannot be asked."""

    def add(self, operations: int, updates: int) -> None:
        """Add what a call did."""
        self.operations += operations
        self.updates += updates

    def add_seconds(self, seconds: float | None) -> None:
        """Add CPU seconds; once they are unknown, so is the sum."""
        known = self.seconds is not None and seconds is not None
        self.seconds = (self.seconds or 0.0) + (seconds or 0.0) if known else None


@dataclass
class Account:
    """What all processes of a run spent."""

    train: Spent = field(default_factory=Spent)
    predict: Spent = field(default_factory=Spent)
    outside: Spent = field(default_factory=Spent)
    uncounted: set[str] = field(default_factory=set)
    """Operators of any call that no formula covers."""

    def hidden(self) -> str:
        """Why work outside is refused; empty where there is little of it."""
        allowed = (self.train.operations + self.predict.operations) // PART
        where = "in its constructor, state_dict, load_state_dict or train"
        if self.outside.updates:
            return f"takes {self.outside.updates} optimizer steps {where}: {FIX}"
        if self.outside.operations > allowed:
            made = f"{self.outside.operations:.2g} operations"
            return f"makes {made} {where}, of which no cost tells: {FIX}"
        return ""

    def seconds_hidden(self, anchor: Account) -> float:
        """CPU seconds outside beyond what is usual on the board; 0 if they are unknown."""
        mine, usual = self.outside.seconds, anchor.outside.seconds
        return 0.0 if mine is None or usual is None else max(0.0, mine - USUAL * usual)
