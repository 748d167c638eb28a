"""``clbench verify``: runs an entry again, isolated and rebuilt, and writes what it found."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.cli.verify_on import add_options, job, submit

if TYPE_CHECKING:
    from clbench.configure.board import Board
    from clbench.leaderboard.entry import Entry
    from clbench.leaderboard.reproduce.verify import Report

EXAMPLES = """examples:
  clbench verify leaderboards/long-digits/entries/ewc
  clbench verify leaderboards/long-digits --seeds 0..1 --jobs 2
  clbench verify leaderboards/long-digits --missing --tuning
  clbench verify leaderboards/long-digits --prefix 50
  clbench verify leaderboards/long-digits --on slurm:time=01:00:00 --wait"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "verify",
        help="run an entry again and write what was found into the board's ledger",
        description="Check the rules, then run an entry's seeds again, isolated: a learner is given "
        "training experiences only; at each evaluation a new process, built from its state, is given "
        "test samples only. On the claimed platform the answers must be equal bit for bit, and so must "
        "counts and costs. Then one seed runs on data drawn for this verification, and some seeds run "
        "perturbed. What is found goes into verified/ENTRY.json, by which entries are ranked. "
        "Isolation is hygiene, not a sandbox for hostile code (see docs/trust.md).",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="ENTRY", help="folder of an entry, or of a board"
    )
    parser.add_argument(
        "--seeds", metavar="LIST", help="0,3 or 0..4 (default: all seeds of the board)"
    )
    parser.add_argument(
        "--missing",
        action="store_true",
        help="only the entries that are not verified on every seed yet",
    )
    parser.add_argument(
        "--all", action="store_true", help="go on after the first refusal, and say every one"
    )
    parser.add_argument(
        "--perturbed",
        type=int,
        default=3,
        metavar="N",
        help="seeds that are run again with the learning rate × (1 + 1e-6) and with other threads "
        "(default: 3; 0: stability is not measured)",
    )
    parser.add_argument(
        "--perturbed-of",
        metavar="ENTRIES",
        help="the entries of a board whose stability is measured, by commas (default: all)",
    )
    parser.add_argument(
        "--tuning",
        action="store_true",
        help="also run the best trial of the entry's trial table and two others, picked at random, "
        "again; a value that differs is refused",
    )
    parser.add_argument(
        "--secret",
        type=Path,
        metavar="FILE",
        help="file with the secret that the fresh data are drawn from (default: a secret is drawn and "
        "published in the ledger)",
    )
    parser.add_argument(
        "--files",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder with files that settings of entries in the open division name, such as released "
        "weights; a file is taken if it has the SHA-256 that the record names (may be repeated; the "
        "cache of clbench data weights is searched too)",
    )
    parser.add_argument(
        "--prefix",
        type=int,
        metavar="N",
        help="run and compare the first N tasks of the first seed only, and write nothing",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="number of entries at a time (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument(
        "--fill",
        action="store_true",
        help="first run an entry that has no runs (clbench submit --code). Its code runs in this "
        "process: only on a machine that can be thrown away",
    )
    parser.add_argument(
        "--since",
        metavar="REF",
        help="ENTRY is a folder of boards: verify the entries that git says are new since REF",
    )
    add_options(parser)
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Verify one entry, or every entry of a board; return 1 if any is refused."""
    if arguments.plan is not None:
        return job(arguments, report_of)
    if arguments.since is not None:
        return _new(arguments)
    board, folders = _found(arguments)
    if arguments.missing:
        folders = _missing(board, folders)
    if arguments.on is not None:
        if arguments.prefix is not None or arguments.fill:
            name = "prefix" if arguments.prefix is not None else "fill"
            raise _usage(f"--{name} runs here only: drop --on")
        _checked(arguments, board)
        return submit(arguments, board, folders)
    arguments.jobs = 1 if arguments.jobs is None else arguments.jobs
    if arguments.fill:
        _fill(board, folders)
    seeds, settings = _checked(arguments, board)
    if arguments.prefix is not None:
        return _prefix(board.folder, folders, seeds[0], arguments)
    # Entries share the fresh data and the lower anchor's runs with those of their process.
    parts = [folders[k :: arguments.jobs] for k in range(min(arguments.jobs, len(folders)))]
    reports = _in_processes(verify_some, [(board.folder, part, seeds, settings) for part in parts])
    if arguments.json:
        told = [
            {"entry": r.entry, "passed": r.passed, "lines": r.lines, "refusals": r.refusals}
            for r in reports
        ]
        print(json.dumps(told, indent=2))
    return 0 if all(report.passed for report in reports) else 1


def report_of(words: list[str]) -> Report:
    """What verifying one entry says, from the words of the command line; the ledger is written."""
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    arguments = parser.parse_args(["verify", *words])
    board, folders = _found(arguments)
    seeds, settings = _checked(arguments, board)
    [report] = verify_some(board.folder, folders, seeds, settings)
    return report


def _new(arguments: argparse.Namespace) -> int:
    """Verify the entries that a contribution adds, one after another."""
    from clbench.leaderboard.rules import since

    root: Path | None = arguments.folder
    if root is None or arguments.json:
        raise _usage("--since REF goes with a folder of boards, and without --json")
    found = since.changes(root, arguments.since)
    wrong = [*since.faults(root, arguments.since, found)]
    if wrong:
        raise _usage(f"{wrong[0].file}: {wrong[0].message} (clbench validate --since)")
    codes = [
        main(argparse.Namespace(**{**vars(arguments), "since": None, "folder": folder}))
        for folder in since.new_entries(root, found)
    ]
    return max(codes, default=0)


def _fill(board: Board, folders: list[Path]) -> None:
    """Run the entries that have no runs."""
    import tempfile

    from clbench.leaderboard.entry import load_entry, run_files
    from clbench.leaderboard.submit import fill

    for folder in folders:
        if not run_files(folder):
            with tempfile.TemporaryDirectory(prefix="clbench-") as out:
                fill(board, load_entry(folder), Path(out))


def _usage(message: str) -> Exception:
    from clbench.errors import UsageError

    return UsageError(message)


def _found(arguments: argparse.Namespace) -> tuple[Board, list[Path]]:
    """The board, and the folders of the entries that are asked for."""
    from clbench.configure.board import load_board

    folder: Path | None = arguments.folder
    if folder is None:
        raise _usage("ENTRY is missing: the folder of an entry, or of a board")
    if (folder / "board.yaml").is_file():
        return load_board(folder), sorted(p.parent for p in folder.glob("entries/*/entry.yaml"))
    if (folder / "entry.yaml").is_file():
        return load_board(folder.resolve().parent.parent), [folder]
    raise _usage(f"{folder}: holds neither entry.yaml nor board.yaml")


def _missing(board: Board, folders: list[Path]) -> list[Path]:
    """The entries that are not verified on every seed."""
    from clbench.leaderboard.entry import load_entry
    from clbench.leaderboard.verification import verified_runs

    return [f for f in folders if {*verified_runs(board, load_entry(f))} != {*board.seeds}]


def _checked(arguments: argparse.Namespace, board: Board) -> tuple[list[int], dict[str, Any]]:
    """The seeds, and what a verifier is given."""
    from clbench.leaderboard.reproduce.verify import refuse_unpinned
    from clbench.util.files import FileError, read_text

    if arguments.prefix is not None and arguments.prefix < 2:
        raise _usage(f"--prefix {arguments.prefix}: must be at least 2")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise _usage(f"--jobs {arguments.jobs}: must be at least 1")
    if arguments.perturbed < 0:
        raise _usage(f"--perturbed {arguments.perturbed}: must be at least 0")
    seeds = _seeds(arguments.seeds, board.seeds)
    secret = None
    try:
        if arguments.secret:
            secret = read_text(arguments.secret, links=True).strip().encode()
    except FileError as error:
        raise _usage(str(error)) from error
    if arguments.prefix is None:
        refuse_unpinned(board)
    return seeds, {
        "secret": secret,
        "every": arguments.all,
        "perturbed": arguments.perturbed,
        "perturbed_of": _slugs(arguments.perturbed_of, board),
        "tuning": arguments.tuning,
        "folders": arguments.files,
        "is_quiet": arguments.json,
    }


def verify_some(
    board_folder: Path, folders: list[Path], seeds: list[int], settings: dict[str, Any]
) -> list[Report]:
    """Verify entries one after another, and write and print what was found."""
    from clbench.configure.board import load_board
    from clbench.leaderboard.entry import load_entry
    from clbench.leaderboard.reproduce.verify import Verifier
    from clbench.util.console import one_line

    def tell(line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)

    is_quiet = settings.pop("is_quiet")
    reports = []
    with Verifier(load_board(board_folder), tell=tell, **settings) as verifier:
        for folder in folders:
            entry = load_entry(folder)
            reports.append(_told(entry, verifier.verify(entry, seeds), is_quiet))
    return reports


def _told(entry: Entry, report: Report, is_quiet: bool) -> Report:
    """Write and print what was found; returns the report without what was written."""
    from clbench.leaderboard.verification import withdraw, write_verification
    from clbench.util.console import printable

    if report.found is not None:
        write_verification(entry, report.found)
    elif report.disproved and withdraw(entry):
        report.lines.append("its ledger was removed: what it claims was not found")
    lines = [f"ok   {entry.slug} {line}" for line in report.lines]
    lines += [f"FAIL {entry.slug} {line}" for line in report.refusals]
    for line in () if is_quiet else lines:
        print(printable(line), flush=True)
    return dataclasses.replace(report, found=None)


def _prefix(board: Path, folders: list[Path], seed: int, arguments: argparse.Namespace) -> int:
    jobs = arguments.jobs
    more = (arguments.prefix, arguments.files)
    work = [(board, folders[k::jobs], seed, *more) for k in range(jobs)]
    found = _in_processes(check_some, [w for w in work if w[1]])
    for slug, same, message in found if not arguments.json else ():
        mark = {True: "ok  ", False: "FAIL", None: "diff"}[same]
        print(f"{mark} {slug} seed {seed}: {message}")
    if arguments.json:
        print(json.dumps([dict(zip(("entry", "same", "message"), f, strict=True)) for f in found]))
    return 1 if any(same is False for _, same, _ in found) else 0


def check_some(
    board: Path, folders: list[Path], seed: int, tasks: int, files: list[Path]
) -> list[tuple[str, bool | None, str]]:
    """Compare the first tasks of entries, one after another."""
    from clbench.configure.board import load_board
    from clbench.errors import ClbenchError
    from clbench.leaderboard.entry import load_entry
    from clbench.leaderboard.reproduce.processes import Zygote, can_fork
    from clbench.leaderboard.reproduce.verify import check_prefix
    from clbench.util.console import one_line

    found = []
    of = load_board(board)
    with Zygote(int(of.settings.get("threads", 0)), "cpu") if can_fork() else nullcontext() as cpu:
        for folder in folders:
            entry = load_entry(folder)
            try:
                same, message = check_prefix(of, entry, seed, tasks, cpu, files)
            except ClbenchError as error:
                same, message = False, str(error)
            found.append((entry.slug, same, one_line(message)))
    return found


def _in_processes(work: Any, parts: list[tuple[Any, ...]]) -> list[Any]:
    """Call a function once for each part, each in a process; the lists that it returns, joined."""
    from clbench.util.processes import fresh_process

    if len(parts) <= 1:
        return [one for part in parts for one in work(*part)]

    def one(part: tuple[Any, ...]) -> Any:
        with fresh_process() as pool:
            return pool.submit(work, *part).result()

    with ThreadPoolExecutor(len(parts)) as threads:
        return [found for part in threads.map(one, parts) for found in part]


def _slugs(text: str | None, board: Board) -> list[str] | None:
    from clbench.plugins.registry import did_you_mean

    slugs = [] if text is None else text.split(",")
    known = sorted(path.parent.name for path in board.folder.glob("entries/*/entry.yaml"))
    for slug in slugs:
        if slug not in known:
            hint = did_you_mean(slug, known)
            raise _usage(f"--perturbed-of {slug}: is no entry of {board.name}{hint}")
    return slugs or None


def _seeds(text: str | None, every: tuple[int, ...]) -> list[int]:
    from clbench.configure.sweep import split_top
    from clbench.errors import UsageError

    if text is None:
        return list(every)
    try:
        return [int(part) for part in split_top(text)]
    except ValueError as error:
        raise UsageError(f"--seeds {text}: write 0,3 or 0..4") from error
