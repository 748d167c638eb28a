"""Submits: copies records and source to a board's folder and writes a draft of ``entry.yaml``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from clbench.configure.board import Board, find_board
from clbench.errors import UsageError
from clbench.leaderboard.entry import DECLARATIONS, SLUG, Entry, load_entry
from clbench.results.record import Record, write_atomically


def submit(arm: Path, slug: str, root: Path) -> tuple[Board, Entry]:
    """Copy an arm's records and source into ``<root>/<board>/entries/<slug>``.

    A board that is not in ``root`` is copied there first, so that it can be rendered.

    Args:
        arm: the folder that holds ``seed<k>/record.json``.
        slug: the entry's folder name.
        root: the folder of boards.

    Raises:
        UsageError: the folder holds no runs of one board, or the name is taken by another strategy.
    """
    if not SLUG.fullmatch(slug):
        raise UsageError(f"--entry {slug!r}: use a-z, 0-9, - and _, at most 60 characters")
    records = {path.parent: Record.load(path) for path in sorted(arm.glob("seed*/record.json"))}
    if not records:
        raise UsageError(
            f"{arm}: holds no seed*/record.json (a folder such as runs/scole/ewc-1a2b3c4d)"
        )
    boards = {str(r.board and r.board["name"]) for r in records.values()}
    first = next(iter(records.values()))
    if boards == {"None"} or first.board is None:
        raise UsageError(f"{arm}: was not run on a board (clbench run board=NAME strategy=...)")
    if len(boards) > 1:
        raise UsageError(f"{arm}: holds runs of several boards: {', '.join(sorted(boards))}")
    if ":" in first.config["strategy"]["name"]:
        raise UsageError(
            f"{arm}: {first.config['strategy']['name']} is another library's: an entry is one file "
            "that anybody can run again"
        )
    board = _board_below(root, first.board["name"])
    folder = board.entries / slug
    if (folder / "entry.yaml").exists() and _strategy_of(folder) != first.config["strategy"][
        "name"
    ]:
        raise UsageError(f"{folder}: is an entry of another strategy; choose another --entry")
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "runs").glob("seed*.json"):
        stale.unlink()
    for run_folder, record in records.items():
        source = (run_folder / "record.json").read_bytes()
        write_atomically(folder / "runs" / f"seed{record.seed}.json", source)
    source_folder = next(iter(records))
    for name in ("strategy.py", *(["model.py"] if first.board["division"] == "open" else [])):
        write_atomically(folder / name, (source_folder / name).read_bytes())
    if not (folder / "entry.yaml").exists():
        write_atomically(folder / "entry.yaml", _skeleton(first).encode())
    return board, load_entry(folder)


def _board_below(root: Path, name: str) -> Board:
    if not (root / name / "board.yaml").is_file():
        board = find_board(name)
        (root / name).mkdir(parents=True, exist_ok=True)
        # pip compiles the sources of installed entries; that is not part of a board.
        compiled = shutil.ignore_patterns("__pycache__")
        shutil.copytree(board.folder, root / name, dirs_exist_ok=True, ignore=compiled)
    return find_board(name, root)


def _strategy_of(folder: Path) -> str | None:
    meta = load_entry(folder).meta
    return meta.strategy if meta else None


def _skeleton(record: Record) -> str:
    assert record.board is not None
    data: dict[str, Any] = {
        "name": record.config["strategy"]["name"],
        "strategy": record.config["strategy"]["name"],
        "authors": [],
        "affiliation": "",
        "url": "",
        "code": "",
        "description": "",
        "division": record.board["division"],
        "tuned_on": [],
        "paper_reference": {},
        "declaration": dict.fromkeys(DECLARATIONS, False),
    }
    notes = (
        "# Who and what. Shown escaped; addresses must begin with http:// or https://.\n"
        "# tuned_on: the board's tuning seeds you used, or [] for none.\n"
        "# paper_reference: {value: 0.94, source: 'Author 2017, Fig. 2', comparable: false}, or {}.\n"
        "# declaration: set both to true if they are, else do not submit.\n"
    )
    return notes + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
