"""Checkpoints: a strategy's state and the ledger, in one file that is never unpickled.

The first line names the format and the SHA-256 of all that follows, so that no flipped bit is resumed
from.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch

from clbench.engine.ledger import Ledger
from clbench.errors import ClbenchError
from clbench.results.record import write_atomically
from clbench.util.tensor_files import UNREADABLE

SCHEMA = 2
FIRST = f"clbench checkpoint {SCHEMA} "


def save(path: Path, identity: str, ledger: Ledger, state: dict[str, Any]) -> None:
    """Write atomically: after a kill at any moment the file is the old or the new one."""
    buffer = io.BytesIO()
    torch.save(
        {"schema": SCHEMA, "identity": identity, "ledger": ledger.to_dict(), "strategy": state},
        buffer,
    )
    payload = buffer.getvalue()
    head = f"{FIRST}{hashlib.sha256(payload).hexdigest()}\n".encode()
    write_atomically(path, head + payload)


def load(path: Path, identity: str | None, device: torch.device) -> tuple[Ledger, dict[str, Any]]:
    """Read a checkpoint.

    Args:
        path: the file.
        identity: the identity of the run that it must belong to; None: any run.
        device: where the tensors are put.

    Returns:
        The ledger, and the strategy's state as ``state_dict()`` gave it.

    Raises:
        ClbenchError: the file is missing, damaged, or of another run or format; it is not changed.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns about unusual files
            payload = _payload(path)
            data = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
        if data["schema"] != SCHEMA or identity not in (None, data["identity"]):
            raise _Other(path)
        return Ledger.from_dict(data["ledger"]), data["strategy"]
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClbenchError(
            f"{path}: is damaged ({reason[:120]}); move it away, or pass --overwrite to start again"
        ) from error


class _Other(ClbenchError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: is a checkpoint of another run or version; move it away, or pass "
            "--overwrite to start again"
        )


def _payload(path: Path) -> bytes:
    """Read what follows the first line, if that is the digest of it."""
    head, _, payload = path.read_bytes().partition(b"\n")
    if not head.startswith(FIRST.encode()):
        if head.startswith(FIRST[:18].encode()) or head.startswith(b"PK"):  # PK: the first format
            raise _Other(path)
        raise ValueError("its first line names no format")
    if head != f"{FIRST}{hashlib.sha256(payload).hexdigest()}".encode():
        raise ValueError("its content is not what was written")
    return payload
