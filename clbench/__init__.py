"""clbench: a continual-learning benchmark framework for streams of thousands of tasks."""

from clbench.api import prepare as prepare
from clbench.api import run as run
from clbench.errors import ClbenchError as ClbenchError
from clbench.errors import UsageError as UsageError
from clbench.results.record import Record as Record
