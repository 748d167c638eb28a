"""Checkpoints: a strategy's state and the ledger, in one file that is never unpickled."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from clbench.engine.ledger import Ledger
from clbench.errors import ClbenchError
from clbench.results.record import write_atomically
from clbench.util.tensor_files import UNREADABLE

SCHEMA = 1


def save(path: Path, identity: str, ledger: Ledger, state: dict[str, Any]) -> None:
    """Write atomically: after a kill at any moment the file is the old or the new one."""
    buffer = io.BytesIO()
    torch.save(
        {"schema": SCHEMA, "identity": identity, "ledger": ledger.to_dict(), "strategy": state},
        buffer,
    )
    write_atomically(path, buffer.getvalue())


def load(path: Path, identity: str | None, device: torch.device) -> tuple[Ledger, dict[str, Any]]:
    """Read a checkpoint of the run ``identity``; None: of any run.

    Raises:
        ClbenchError: the file is damaged, or of another run or format; it is kept.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns about unusual files
            data = torch.load(path, map_location=device, weights_only=True)
        if data["schema"] != SCHEMA or identity not in (None, data["identity"]):
            raise ClbenchError(
                f"{path}: is a checkpoint of another run or version; move it away, or pass "
                "--overwrite to start again"
            )
        return Ledger.from_dict(data["ledger"]), data["strategy"]
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClbenchError(
            f"{path}: is damaged ({reason[:120]}); move it away, or pass --overwrite to start again"
        ) from error
