"""``verified.json``: what lifts an entry's tier, tied to the very records that were reproduced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.leaderboard.entry import TIERS, Entry
from clbench.record import write_atomically


def write_verification(
    entry: Entry, tier: str, seeds: Sequence[int], detail: Mapping[str, Any]
) -> None:
    """Write that some seeds of an entry were verified; a higher tier is never lowered."""
    before = entry.verification
    if before is not None and TIERS.index(before.tier) > TIERS.index(tier) and is_current(entry):
        tier = before.tier
        detail = {**before.detail, **detail}
    first = (
        entry.records[seeds[0]] if seeds[0] in entry.records else next(iter(entry.records.values()))
    )
    data = {
        "tier": tier,
        "sources": {"strategy": first.sources["strategy"]},
        "predictions_sha256": {
            str(seed): entry.records[seed].predictions_sha256
            for seed in seeds
            if seed in entry.records
        },
        "detail": {"seeds": list(seeds), **detail},
    }
    text = json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(entry.folder / "verified.json", text.encode())


def is_current(entry: Entry) -> bool:
    """Whether the verification is of the records and the source that are there now."""
    found = entry.verification
    if found is None or not entry.records or not found.predictions_sha256:
        return False
    for seed, sha in found.predictions_sha256.items():
        record = entry.records.get(int(seed)) if seed.isdigit() else None
        if record is None or record.predictions_sha256 != sha:
            return False
        if record.sources.get("strategy") != found.sources.get("strategy"):
            return False
    return True
