"""clbench: a continual-learning benchmark framework for streams of thousands of tasks.

What authors of plug-ins and users of the library import stands here. Each name is imported from its
module when it is first used, so ``import clbench`` loads neither torch nor pandas.
"""

from typing import TYPE_CHECKING

HOMES = {
    "Arrays": "clbench.data.pool",
    "Batch": "clbench.strategy",
    "ClbenchError": "clbench.errors",
    "DataSet": "clbench.data.dataset",
    "Encoder": "clbench.encoder",
    "GradientStrategy": "clbench.strategy",
    "Metric": "clbench.metric",
    "Model": "clbench.model",
    "Needs": "clbench.strategy",
    "Pool": "clbench.data.pool",
    "QuadraticStrategy": "clbench.quadratic",
    "Record": "clbench.results.record",
    "Records": "clbench.results.records",
    "ReplayStrategy": "clbench.replay",
    "Scenario": "clbench.scenario",
    "Strategy": "clbench.strategy",
    "Stream": "clbench.stream",
    "StreamInfo": "clbench.strategy",
    "Task": "clbench.stream",
    "TaskData": "clbench.stream",
    "Tracker": "clbench.tracker",
    "UsageError": "clbench.errors",
    "load": "clbench.trained.load",
    "prepare": "clbench.api",
    "run": "clbench.api",
}
"""The module that each public name is imported from."""
__all__ = list(HOMES)

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from clbench.api import prepare as prepare
    from clbench.api import run as run
    from clbench.data.dataset import DataSet as DataSet
    from clbench.data.pool import Arrays as Arrays
    from clbench.data.pool import Pool as Pool
    from clbench.encoder import Encoder as Encoder
    from clbench.errors import ClbenchError as ClbenchError
    from clbench.errors import UsageError as UsageError
    from clbench.metric import Metric as Metric
    from clbench.model import Model as Model
    from clbench.quadratic import QuadraticStrategy as QuadraticStrategy
    from clbench.replay import ReplayStrategy as ReplayStrategy
    from clbench.results.record import Record as Record
    from clbench.results.records import Records as Records
    from clbench.scenario import Scenario as Scenario
    from clbench.strategy import Batch as Batch
    from clbench.strategy import GradientStrategy as GradientStrategy
    from clbench.strategy import Needs as Needs
    from clbench.strategy import Strategy as Strategy
    from clbench.strategy import StreamInfo as StreamInfo
    from clbench.stream import Stream as Stream
    from clbench.stream import Task as Task
    from clbench.stream import TaskData as TaskData
    from clbench.tracker import Tracker as Tracker
    from clbench.trained.load import load as load
else:

    def __getattr__(name: str) -> object:
        """Import a public name from its module."""
        if name not in HOMES:
            raise AttributeError(f"module 'clbench' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(HOMES[name]), name)

    def __dir__() -> list[str]:
        """The public names, and what the module holds."""
        return sorted({*globals(), *HOMES})
