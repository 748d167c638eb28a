"""A strategy as its run left it: from the checkpoint, ready to predict."""

from __future__ import annotations

from pathlib import Path

from clbench import seeding
from clbench.engine import checkpoint
from clbench.engine.build import Run
from clbench.engine.schedule import is_due
from clbench.errors import UsageError
from clbench.seeding import Axis
from clbench.strategy import Strategy

NAME = "checkpoint"


def revived(run: Run, folder: Path) -> Strategy:
    """The strategy of a run's folder, as it answered at the last evaluation.

    Args:
        run: the run, with nothing trained.
        folder: of the run; it holds ``checkpoint``.

    Raises:
        UsageError: there is no checkpoint.
        ClbenchError: it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise UsageError(
            f"{folder}: holds no checkpoint to predict with (a run's folder, such as "
            "runs/scole/ewc-1a2b3c4d/seed0, of a strategy that can be resumed)"
        )
    ledger, state = checkpoint.load(path, None, run.device)
    strategy = run.strategy()
    strategy.load_state_dict(state)
    common = run.config.common
    # The evaluation that only the end calls for prepares the strategy after the last checkpoint.
    if (
        ledger.samples
        and not common.prequential
        and not is_due(common.eval_every, ledger.experiences)
    ):
        with seeding.preserved(common.threads):
            seeding.seed_all(common.seed, Axis.LEARN, ledger.experiences, 1)
            strategy.prepare()
    return strategy.eval()
