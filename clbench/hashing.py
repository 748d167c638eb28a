"""Hashes of plain data."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def sha256_of(data: Any) -> str:
    """SHA-256 of plain data in canonical JSON."""
    text = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
