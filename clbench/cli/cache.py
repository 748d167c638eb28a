"""``clbench cache``: lists, checks and removes cached latents."""

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
  clbench cache clear 'efficientnet*' --dry-run"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "cache",
        help="list, check or remove cached latents",
        description="List, check or remove latents in the cache ($CLBENCH_CACHE/latents, or "
        "~/.cache/clbench/latents).",
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
    from clbench.data import latent_cache

    verify, clear = arguments.action == "verify", arguments.action == "clear"
    rows = []
    for folder in latent_cache.entries(arguments.pattern):
        row = _row(folder, verify)
        if clear and not arguments.dry_run:
            latent_cache.clear(folder)
        if clear:
            row["state"] = "would be removed" if arguments.dry_run else "removed"
        rows.append(row)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _print(rows)
    if not arguments.json:
        total = sum(row["bytes"] for row in rows) / 1e6
        print(f"{latent_cache.root()}: {len(rows)} entries, {total:.1f} MB", file=sys.stderr)
    return 1 if verify and any(row["state"] != "ok" for row in rows) else 0


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
