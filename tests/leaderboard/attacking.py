"""Tries attacks on a small board: ``python -m tests.leaderboard.attacks`` tries all of them.

An attack is a file in ``attacks/``. It is a strategy, or has ``source()``, the text of one; or it has
``forge(entry)``, which changes an honest entry's folder. A strategy may have ``after(entry)``, which
changes the folder of its entry. ``CAUGHT_BY`` is part of what ``verify`` says.
With ``IS_SHOWN`` the attack is not refused but has no effect: its claim does not rank.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

from tiny import declare, make_board, run_on, write_board

from clbench.configure.board import Anchor, Board, Tuning, load_board
from clbench.engine.execute import Options
from clbench.errors import UsageError
from clbench.leaderboard.entry import Entry, load_entry
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.verify import Report, Verifier
from clbench.leaderboard.submit import submit
from clbench.leaderboard.tune import tune
from clbench.leaderboard.verification import verified_records, write_verification

FOLDER = Path(__file__).with_name("attacks")
SEEDS = (0, 1)


def attacks() -> list[str]:
    """The names of all attacks."""
    return sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def load(name: str) -> ModuleType:
    """An attack as a module; a strategy in it is not made."""
    spec = importlib.util.spec_from_file_location(f"attack_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(root: Path) -> Board:
    """A board with two seeds and one honest entry, whose lower anchor is where it is."""
    board = make_board(root / "boards" / "tiny", seeds=SEEDS)
    arm = run_on(board, root / "runs", "strategy=naive")
    _, entry = submit(arm, "honest", board.folder.parent)
    declare(entry.folder)
    values = [r.metric(board.primary) or 0.0 for r in entry.records.values()]
    shutil.rmtree(board.folder)
    board = make_board(
        board.folder, seeds=SEEDS, naive=Anchor("naive", sum(values) / 2, 0.01, 10**6)
    )
    _, entry = submit(arm, "honest", board.folder.parent)
    declare(entry.folder)
    return board


def attacker(board: Board, name: str, work: Path) -> tuple[Board, Entry]:
    """The entry of an attack on a copy of the board.

    Raises:
        UsageError: the board is refused.
    """
    module = load(name)
    shutil.copytree(board.folder.parent, work / "boards")
    board = dataclasses.replace(board, folder=work / "boards" / board.name)
    if getattr(module, "IS_TUNED", False):
        board = tuned(board, work)
    if hasattr(module, "forge"):
        entry = board.entries / "honest"
        module.forge(entry)
        return load_board(board.folder), load_entry(entry)
    source = work / f"{name}.py"
    text = module.source() if hasattr(module, "source") else (FOLDER / f"{name}.py").read_text()
    source.write_text(text)
    arm = run_on(board, work / "runs", f"strategy={source}")
    _, made = submit(arm, "attack", board.folder.parent)
    declare(made.folder)
    if hasattr(module, "after"):
        module.after(made.folder)
    return board, load_entry(made.folder)


def tuned(board: Board, work: Path) -> Board:
    """The board with tuning as part of its protocol, and its honest entry tuned."""
    board = dataclasses.replace(board, tuning=Tuning(4, 6))
    shutil.rmtree(board.entries)
    write_board(board)
    board = load_board(board.folder)
    options = Options(out=work / "runs", quiet=True, curve=False)
    words = [f"board={board.folder}", "strategy=naive", "device=cpu"]
    _, table = tune(words, options, lambda line: None)
    arm = run_on(board, work / "runs", "strategy=naive", f"tuned={table}")
    _, entry = submit(arm, "honest", board.folder.parent)
    declare(entry.folder)
    return board


def outcome(board: Board, name: str, work: Path, zygote: Zygote) -> tuple[bool, str]:
    """Try an attack; returns whether it was caught, and what was said."""
    module = load(name)
    try:
        board, entry = attacker(board, name, work)
    except UsageError as error:
        return module.CAUGHT_BY in str(error), str(error)
    with Verifier(board, perturbed=0, zygote=zygote, tuning=board.tuning is not None) as verifier:
        report = verifier.verify(entry, board.seeds)
    if getattr(module, "IS_SHOWN", False):
        said = "; ".join((*report.lines, *report.refusals))
        return module.CAUGHT_BY in said and _is_shown(board, entry, report), said
    said = "; ".join(report.refusals)
    return module.CAUGHT_BY in said and report.found is None, said or "not refused"


def _is_shown(board: Board, entry: Entry, report: Report) -> bool:
    """Whether what is ranked is the verifier's own: no claimed answer and no cheap operation."""
    if report.found is None:
        return False
    write_verification(entry, report.found)
    entry = load_entry(entry.folder)
    runs = report.found.seeds.values()
    if all(run.equal for run in runs):
        return report.found.flops["ranked"] is False
    shown = verified_records(board, entry).values()
    return all((record.metric(board.primary) or 0.0) < 0.9 for record in shown)
