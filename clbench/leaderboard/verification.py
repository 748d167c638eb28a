"""``verified.json``: what lifts an entry's tier, tied to the very records that were reproduced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.leaderboard.entry import TIERS, Entry
from clbench.results.record import Record, write_atomically
from clbench.util.hashing import sha256_of


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
        "sources": dict(first.sources),
        "records_sha256": {
            str(seed): record_sha256(entry.records[seed]) for seed in seeds if seed in entry.records
        },
        "detail": {"seeds": [seed for seed in seeds if seed in entry.records], **detail},
    }
    text = json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(entry.folder / "verified.json", text.encode())


def is_current(entry: Entry) -> bool:
    """Whether what was verified is what the entry holds now: its records and their sources."""
    found = entry.verification
    if found is None or found.tier not in TIERS[2:] or not entry.records:
        return False
    if not found.records_sha256:
        return False
    for seed, sha in found.records_sha256.items():
        record = entry.records.get(int(seed))
        if record is None or record_sha256(record) != sha:
            return False
    wanted = of_plugins(found.sources)
    return all(of_plugins(record.sources) == wanted for record in entry.records.values())


def of_plugins(sources: Mapping[str, str]) -> dict[str, str]:
    """The hashes of source without the engine's, which is information only."""
    return {group: sha for group, sha in sources.items() if group != "engine"}


def record_sha256(record: Record) -> str:
    """Hash of everything that a record says."""
    return sha256_of(record.to_dict())
