"""The part of a Fisher that is computed so far, in a file beside the one that is to come."""

from __future__ import annotations

import json
import time
from pathlib import Path

from clbench.errors import UsageError
from clbench.fisher.estimators import Partial
from clbench.util import tensor_files

KEY = "clbench.fisher.partial"
EVERY = 60.0
"""Seconds between two writings."""


def path_of(out: Path) -> Path:
    """Where the part of a release is kept."""
    return out.with_suffix(".partial.safetensors")


class KeptPartial(Partial):
    """Sums that are written once a minute, and read again when the same is asked for."""

    def __init__(self, path: Path, request: str) -> None:
        """Read what is there.

        Args:
            path: the file.
            request: what is computed; sums of anything else are no part of it.

        Raises:
            UsageError: the file is damaged, or of another request.
        """
        super().__init__()
        self.path, self.request, self.written = path, request, time.monotonic()
        if path.is_file():
            tensors, header = tensor_files.read(path)
            said = json.loads(header.get(KEY, "{}"))
            if said.get("request") != request:
                raise UsageError(
                    f"{path}: is the part of another estimate; remove it, or choose another --out"
                )
            self.total, self.done = tensors, int(said["done"])

    def keep(self) -> None:
        """Write the sums, at most once a minute."""
        if time.monotonic() - self.written >= EVERY and self.total is not None:
            self.write()

    def write(self) -> None:
        """Write the sums now."""
        assert self.total is not None
        header = json.dumps({"request": self.request, "done": self.done}, sort_keys=True)
        tensor_files.write(self.path, self.total, {KEY: header})
        self.written = time.monotonic()
