"""``clbench cache``: lists, checks and removes cached latents and decoded data sets."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench cache list
  clbench cache verify
  clbench cache clear mnist5k
  clbench cache list decoded
  clbench cache clear 'efficientnet*' --dry-run"""

UNFINISHED = "unfinished"
"""The state of a data set whose decoding was cut off, or still runs."""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "cache",
        help="list, check or remove cached latents and decoded data sets",
        description="List, check or remove what is in the cache ($CLBENCH_CACHE, or "
        "~/.cache/clbench): latents of encoders, and data sets that were decoded into one file "
        "(encoder: decoded).",
        epilog=EXAMPLES,
    )
    parser.add_argument("action", choices=("list", "verify", "clear"))
    parser.add_argument(
        "pattern",
        nargs="?",
        default="*",
        help="shell pattern that the name, encoder or data must match (default: *)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with clear: print what would be removed, remove nothing",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print a row for each entry; return 1 if a verified entry is damaged."""
    from clbench.data import decoded_entries, latent_cache

    verify, clear = arguments.action == "verify", arguments.action == "clear"
    rows = []
    found = [(f, _row(f, verify), latent_cache) for f in latent_cache.entries(arguments.pattern)]
    decoded = decoded_entries.entries(arguments.pattern)
    found += [(f, _decoded_row(f, verify), decoded_entries) for f in decoded]
    for folder, row, kind in found:
        if clear and not arguments.dry_run:
            kind.clear(folder)
        if clear:
            row["state"] = "would be removed" if arguments.dry_run else "removed"
        rows.append(row)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _print(rows)
    if not arguments.json:
        total = sum(row["bytes"] for row in rows) / 1e6
        print(f"{latent_cache.home()}: {len(rows)} entries, {total:.1f} MB", file=sys.stderr)
    return 1 if verify and any(row["state"] not in ("ok", UNFINISHED) for row in rows) else 0


def _row(folder: Path, verify: bool) -> dict[str, Any]:
    """Describe an entry; the latents are read only if ``verify`` is true."""
    from clbench.data import latent_cache

    row: dict[str, Any] = {"name": folder.name, "bytes": latent_cache.size_of(folder)}
    try:
        meta = latent_cache.check(folder) if verify else latent_cache.read_meta(folder)
    except latent_cache.Damaged as why:
        return {**row, "state": str(why)}
    return {
        **row,
        "state": "ok" if verify else "",
        "data": meta.data,
        "encoder": meta.recipe["encoder"],
        "settings": meta.recipe["settings"],
        "samples": meta.shape[0],
        "latents": meta.shape[1],
        "dtype": meta.dtype,
        "made": meta.made,
    }


def _decoded_row(folder: Path, verify: bool) -> dict[str, Any]:
    """Describe a decoded data set; its samples are read only if ``verify`` is true."""
    from clbench.data import decoded_entries, latent_cache

    row: dict[str, Any] = {
        "name": decoded_entries.name_of(folder),
        "bytes": latent_cache.size_of(folder),
        "encoder": "decoded",
    }
    if decoded_entries.is_unfinished(folder):
        return {**row, "state": UNFINISHED}
    try:
        meta = decoded_entries.check(folder) if verify else decoded_entries.read_meta(folder)
    except latent_cache.Damaged as why:
        return {**row, "state": str(why)}
    return {
        **row,
        "state": "ok" if verify else "",
        "data": meta.data,
        "settings": {"shape": list(meta.shape)},
        "samples": meta.samples,
        "latents": meta.row_bytes,
        "dtype": "uint8",
        "made": meta.made,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from clbench.util.grid import Head, print_table

    numbers = ("samples", "latents", "MB")
    titles = ("name", "state", "data", "encoder", "MB", "samples", "latents", "dtype", "made")
    cells = [
        [
            str(f"{row['bytes'] / 1e6:.1f}" if title == "MB" else row.get(title, ""))
            for title in titles
        ]
        for row in rows
    ]
    heads = [Head(t, right=t in numbers, stays=t in ("name", "state")) for t in titles]
    print_table(heads, cells, boxed=False, more="clbench cache list --json has them")
