"""Logs a run to Weights & Biases: settings, curves and final metrics. Needs clbench[wandb].

Where the data go is up to wandb's own environment variables, such as ``WANDB_MODE``,
``WANDB_API_KEY`` and ``WANDB_BASE_URL``. With ``wandb.mode=offline`` nothing leaves this machine and
``wandb sync`` sends it later. A resumed run continues the same run there.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.tracker import Evaluation, Progress, RunStart, Tracker
from clbench.util.optional import require

if TYPE_CHECKING:
    from clbench.results.record import Record


class Wandb(Tracker):
    """Logs one step for each evaluation; the step is the number of experiences learnt."""

    @dataclass(frozen=True)
    class Config(Tracker.Config):
        """Where runs go."""

        project: str = "clbench"
        """The project that runs are logged to."""
        entity: str = ""
        """The user or team of the project; empty: wandb's default."""
        mode: str = ""
        """``online``, ``offline`` or ``disabled``; empty: ``WANDB_MODE``, else wandb's default."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require("wandb", "tracker=wandb", "wandb")

    def start(self, run: RunStart) -> None:
        """Open the run, or go on with it."""
        import wandb

        self.run = run
        # wandb captures the console and prints a summary; neither is asked for here.
        quiet = wandb.Settings(silent=True, console="off")
        known = run.folder / "wandb" / "run-id"
        unknown = () if known.is_file() else run.past
        if not (run.is_resumed and known.is_file()):
            known.parent.mkdir(exist_ok=True)
            known.write_text(secrets.token_hex(4), encoding="utf-8")
        self.log: Any = wandb.init(
            project=self.config.project,
            entity=self.config.entity or None,
            mode=self.config.mode or None,
            dir=str(run.folder),
            id=known.read_text(encoding="utf-8"),
            resume="allow",
            name=run.title,
            group=run.title.partition(" ")[0],
            config=run.flat_settings(),
            settings=quiet,
        )
        for evaluation in unknown:  # made before this tracker was chosen
            self._log(evaluation)

    def progress(self, progress: Progress) -> None:
        """Log a new evaluation; wandb ignores a step that it already has."""
        if progress.is_new:
            self._log(progress.evaluation)

    def finish(self, record: Record | None) -> None:
        """Add the record's metrics and close the run."""
        if record is not None:
            values = {name: metric["value"] for name, metric in record.metrics.items()}
            self.log.summary.update({f"final/{k}": v for k, v in values.items() if v is not None})
            self.log.summary["status"] = record.status
        self.log.finish(exit_code=0 if record is not None and record.status == "completed" else 1)

    def _log(self, evaluation: Evaluation) -> None:
        self.log.log(self.run.scalars(evaluation), step=evaluation.experiences)
