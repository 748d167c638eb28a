"""The errors clbench raises on purpose: one line that says what is wrong, where, and what to do."""


class ClbenchError(Exception):
    """Something went wrong while running; the command line ends with exit code 1."""


class UsageError(ClbenchError):
    """What the user asked for cannot be done; nothing was run or written (exit code 2)."""


class Diverged(ClbenchError):
    """Training left the finite numbers; the run ends as a record with status ``diverged``."""


class TimeLimit(ClbenchError):
    """The run's ``time_limit`` is over; the run is interrupted and can be resumed."""


class MissingPackage(UsageError):
    """A package that an extra of clbench brings is not installed."""


class StorageError(ClbenchError, OSError):
    """The operating system cannot write a file: no room, no permission, no such device."""


class NotHere(UsageError):
    """What is fetched on its own is not on this machine: released weights, or an optional package."""
