"""A digest inside a JSON file, so that a flipped bit is noticed when it is read.

It guards against damage, not against people: whoever changes a file can compute it anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clbench.util.hashing import sha256_of

KEY = "content_sha256"
"""Of all other fields; files from before it have none."""


def sealed(data: Mapping[str, Any]) -> bytes:
    """What a file holds: compact JSON without NaN, with the digest as the last field."""
    plain = {key: value for key, value in data.items() if key != KEY}
    text = json.dumps({**plain, KEY: sha256_of(plain)}, allow_nan=False, separators=(",", ":"))
    return f"{text}\n".encode()


def fault(data: Mapping[str, Any]) -> str | None:
    """What is wrong with the digest of what was read; None if nothing is, or there is no digest."""
    plain = {key: value for key, value in data.items() if key != KEY}
    if KEY not in data or data[KEY] == sha256_of(plain):
        return None
    return f"its content is not that of its {KEY}: it was damaged or changed"
