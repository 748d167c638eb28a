"""Submits: copies records and source to a board's folder and writes a draft of ``entry.yaml``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clbench.configure import tuning
from clbench.configure.board import Board, find_board
from clbench.configure.config import resolve
from clbench.configure.sweep import sweep
from clbench.engine.build import prepare
from clbench.engine.execute import Options, record_of
from clbench.errors import UsageError
from clbench.leaderboard import shared
from clbench.leaderboard.entry import (
    DECLARATIONS,
    SLUG,
    Entry,
    iter_entries,
    load_entry,
    run_files,
    source_file,
)
from clbench.leaderboard.retune import TABLE
from clbench.leaderboard.verification import of_plugins
from clbench.results.record import Record, write_atomically
from clbench.sweeps.local import run_all
from clbench.util import seal, yaml_files
from clbench.util.files import FileError, read_yaml


def submit(arm: Path, slug: str, root: Path, tuned: Path | None = None) -> tuple[Board, Entry]:
    """Copy an arm's records into ``<root>/<board>/entries/<slug>``, its source into ``<root>/sources``.

    Diagnostics are left out: nothing ranks by them, and they can be larger than all else.
    A board that is not in ``root`` is copied there first, so that it can be rendered.

    Args:
        arm: the folder that holds ``seed<k>/record.json``.
        slug: the entry's folder name.
        root: the folder of boards.
        tuned: the trial table of the runs; None: it is looked for in ``tuning`` beside the runs.

    Raises:
        UsageError: the folder holds no runs of one board and one source, its trial table is not found,
            or the name is taken by another strategy.
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
    for path, record in records.items():
        if of_plugins(record.sources) != of_plugins(first.sources):
            raise UsageError(
                f"{path}: ran other source than seed {first.seed}: run all seeds again (--overwrite)"
            )
    if ":" in first.config["strategy"]["name"]:
        raise UsageError(
            f"{arm}: {first.config['strategy']['name']} is another library's: an entry is one file "
            "that anybody can run again"
        )
    board = _board_below(root, first.board["name"])
    folder = board.entries / slug
    before = load_entry(folder).meta if (folder / "entry.yaml").exists() else None
    if (folder / "entry.yaml").exists() and (
        before is None or before.strategy != first.config["strategy"]["name"]
    ):
        raise UsageError(f"{folder}: is an entry of another strategy; choose another --entry")
    table = _table_of(arm, first, tuned)
    groups = ("strategy", *(("model",) if first.board["division"] == "open" else ()))
    files = {group: (next(iter(records)) / f"{group}.py").read_bytes() for group in groups}
    hashes = {group: shared.keep(root, data) for group, data in files.items()}
    text = _text(folder / "entry.yaml", first, hashes, table)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "runs").glob("seed*.json"):
        stale.unlink()
    for run_folder, record in records.items():
        data = _ranked((run_folder / "record.json").read_bytes())
        write_atomically(folder / "runs" / f"seed{record.seed}.json", data)
    write_atomically(folder / "entry.yaml", text.encode())
    (folder / TABLE).unlink(missing_ok=True)
    if table is not None:
        write_atomically(folder / TABLE, table.read_bytes())
    for name in ("strategy.py", "model.py"):  # of an entry that kept its source beside it
        (folder / name).unlink(missing_ok=True)
    shared.drop_unused(root, before.sources.values() if before else ())
    return board, load_entry(folder)


def submit_code(source: Path, name: str, slug: str, root: Path) -> tuple[Board, Entry]:
    """Write an entry that has a strategy's source and no runs; whoever keeps the boards runs it.

    The strategy is constructed once here, which finds its division.

    Args:
        source: the strategy's file.
        name: of the board.
        slug: the entry's folder name.
        root: the folder of boards.

    Raises:
        UsageError: the strategy does not fit the board, or the entry exists.
    """
    if not SLUG.fullmatch(slug):
        raise UsageError(f"--entry {slug!r}: use a-z, 0-9, - and _, at most 60 characters")
    board = _board_below(root, name)
    folder = board.entries / slug
    if folder.exists():
        raise UsageError(f"{folder}: exists; choose another --entry")
    words = [f"board={board.folder}", f"strategy={source}", f"seed={board.seeds[0]}"]
    [config] = resolve(words)
    run = prepare(config)
    run.strategy()
    assert run.config.protocol is not None
    strategy = run.config.plugins["strategy"]
    sha = shared.keep(root, strategy.path.read_bytes())
    told = run.config.protocol.division
    folder.mkdir(parents=True)
    text = _skeleton(slug, strategy.name, told, {"strategy": sha}, None)
    write_atomically(folder / "entry.yaml", text.encode())
    return board, load_entry(folder)


def fill(board: Board, entry: Entry, out: Path) -> Entry:
    """Run an entry that has no runs on every seed, and put the records into it.

    Its code runs in this process, as in ``clbench run``: do so on a machine that can be thrown away.

    Args:
        board: the board.
        entry: the entry.
        out: an empty folder for the runs.

    Raises:
        UsageError: the entry has runs, or its source is not what it names.
    """
    if entry.records or run_files(entry.folder) or entry.meta is None:
        raise UsageError(f"{entry.folder}: --fill is for an entry without runs and with entry.yaml")
    shared.check_sources(entry)
    if not entry.meta.strategy.isidentifier():
        raise UsageError(f"{entry.folder}: strategy {entry.meta.strategy!r} is no name of a file")
    source = out / f"{entry.meta.strategy}.py"
    shutil.copyfile(entry.source, source)
    words = [f"board={board.folder}", f"strategy={source}", f"division={entry.meta.division}"]
    points = sweep(words)
    runs = entry.folder / "runs"
    runs.mkdir()
    for done in run_all(points, Options(out=out / "runs", quiet=True, curve=False)):
        record = record_of(done)
        data = _ranked((done.folder / "record.json").read_bytes())
        write_atomically(runs / f"seed{record.seed}.json", data)
    return load_entry(entry.folder)


def _table_of(arm: Path, record: Record, given: Path | None) -> Path | None:
    """The file of the trial table that runs name; None where they were not tuned.

    Raises:
        UsageError: it is not found.
    """
    if record.tuning["ruleset"] != "tuned":
        return None
    sought = [given] if given else sorted((arm.absolute().parents[1] / "tuning").glob("*.json"))
    for path in sought:
        try:
            if tuning.table_sha256(tuning.read(path)) == record.tuning["grid_sha256"]:
                return path
        except (FileError, ValueError) as error:
            if given:
                raise UsageError(f"--tuning {path}: {error}") from error
    where = f"--tuning {given}: is not" if given else f"{arm}: give --tuning FILE,"
    raise UsageError(f"{where} the trial table that these runs were made with (tuned=)")


def _ranked(data: bytes) -> bytes:
    """A record without its diagnostics; all else as it is."""
    record = json.loads(data)
    if not record["diagnostics"]:
        return data
    return seal.sealed({**record, "diagnostics": {}})


def _text(path: Path, record: Record, hashes: Mapping[str, str], table: Path | None) -> str:
    """The text of ``entry.yaml``: a new one, or the one that is there, with these sources."""
    if not path.exists():
        assert record.board is not None
        name, division = record.config["strategy"]["name"], record.board["division"]
        return _skeleton(path.parent.name, name, division, hashes, table)
    if _written(path).get("sources") == hashes:
        return path.read_text(encoding="utf-8")
    return shared.with_sources(path, hashes)


def _written(path: Path) -> dict[str, Any]:
    """What is in an ``entry.yaml``.

    Raises:
        UsageError: it is malformed.
    """
    try:
        return read_yaml(path)
    except FileError as error:
        raise UsageError(str(error)) from error


def _board_below(root: Path, name: str) -> Board:
    if not (root / name / "board.yaml").is_file():
        board = find_board(name)
        (root / name).mkdir(parents=True, exist_ok=True)
        # pip compiles the sources of installed entries; that is not part of a board.
        compiled = shutil.ignore_patterns("__pycache__")
        shutil.copytree(board.folder, root / name, dirs_exist_ok=True, ignore=compiled)
        for entry in iter_entries(find_board(name, root)):
            for sha in entry.meta.sources.values() if entry.meta else ():
                source = source_file(board.folder.parent, sha)
                if source.is_file():
                    shared.keep(root, source.read_bytes())
    return find_board(name, root)


def _tuning_seeds(table: Path | None) -> list[int]:
    return [*tuning.read(table)["seeds"]] if table else []


def _skeleton(
    slug: str, strategy: str, division: str, hashes: Mapping[str, str], table: Path | None
) -> str:
    data: dict[str, Any] = {
        "name": slug,  # no other entry of the board is called so
        "strategy": strategy,
        "authors": [],
        "affiliation": "",
        "url": "",
        "code": "",
        "description": "",
        "division": division,
        "tuned_on": _tuning_seeds(table),
        "paper_reference": {},
        "declaration": dict.fromkeys(DECLARATIONS, False),
        "sources": dict(hashes),
    }
    notes = (
        "# Who and what. Shown escaped; addresses must begin with http:// or https://.\n"
        "# tuned_on: the board's tuning seeds you used, or [] for none.\n"
        "# paper_reference: {value: 0.94, source: 'Author 2017, Fig. 2', comparable: false}, or {}.\n"
        "# declaration: set both to true if they are, else do not submit.\n"
        "# sources: files in sources/, by their content; clbench submit writes them.\n"
    )
    return notes + yaml_files.dump(data, allow_unicode=True)
