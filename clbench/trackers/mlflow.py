"""Logs a run to MLflow: settings, curves and final metrics. Needs clbench[mlflow].

Runs go to the server or database that ``mlflow.uri`` or ``MLFLOW_TRACKING_URI`` names, else to
MLflow's default, a database in the current folder. A resumed run continues the same run there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.tracker import Progress, RunStart, Tracker
from clbench.util.optional import require

if TYPE_CHECKING:
    from clbench.results.record import Record

LONGEST = 6000
"""Characters that MLflow takes of a setting's value."""
AT_ONCE = 100
"""Settings that MLflow takes in one call."""
ENDED = {"completed": "FINISHED", "interrupted": "KILLED"}


class MLflow(Tracker):
    """Logs each evaluation; the step is the number of experiences learnt."""

    @dataclass(frozen=True)
    class Config(Tracker.Config):
        """Where runs go."""

        uri: str = ""
        """The tracking server or store, such as ``sqlite:///mlflow.db``; empty: MLflow's default."""
        experiment: str = "clbench"
        """The experiment that runs are logged to; it is created where there is none."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require("mlflow", "tracker=mlflow", "mlflow")

    def start(self, run: RunStart) -> None:
        """Create the run, or go on with it."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.run = run
        self.client: Any = MlflowClient(tracking_uri=self.config.uri or None)
        self.last = -1
        known = run.folder / "mlflow-run"
        if run.is_resumed and known.is_file():
            self.id = known.read_text(encoding="utf-8")
            self.client.update_run(self.id, status="RUNNING")
            # What was logged after the checkpoint comes again with the same values: skip it.
            steps = (m.step for m in self.client.get_metric_history(self.id, "world_accuracy"))
            self.last = max(steps, default=-1)
            return
        self.id = self.client.create_run(self._experiment(), run_name=run.title).info.run_id
        known.write_text(self.id, encoding="utf-8")
        settings = run.flat_settings().items()
        params = [Param(name, str(value)[:LONGEST]) for name, value in settings]
        for at in range(0, len(params), AT_ONCE):
            self.client.log_batch(self.id, params=params[at : at + AT_ONCE])
        for evaluation in run.past:  # made before this tracker was chosen
            self._log(self.run.scalars(evaluation), evaluation.experiences)

    def progress(self, progress: Progress) -> None:
        """Log a new evaluation."""
        evaluation = progress.evaluation
        if progress.is_new and evaluation.experiences > self.last:
            self._log(self.run.scalars(evaluation), evaluation.experiences)

    def finish(self, record: Record | None) -> None:
        """Log the record's metrics and end the run."""
        if record is not None:
            values = {name: metric["value"] for name, metric in record.metrics.items()}
            final = {f"final/{k}": float(v) for k, v in values.items() if v is not None}
            self._log(final, record.stream["experiences"])
        status = ENDED.get(record.status, "FAILED") if record is not None else "FAILED"
        self.client.set_terminated(self.id, status=status)

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = self.config.experiment
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name))
            except MlflowException:  # another run has just created it
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _log(self, values: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(_key(name), value, now, step) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)


def _key(name: str) -> str:
    """A name with one slash at most: a store of files makes folders of what stands before one."""
    group, slash, rest = name.partition("/")
    return group + slash + rest.replace("/", ".")
