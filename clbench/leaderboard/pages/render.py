"""Which files a leaderboard consists of, and what is to stand in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clbench.configure.board import Board, list_boards
from clbench.leaderboard.pages import columns
from clbench.leaderboard.pages.csv import to_csv
from clbench.leaderboard.pages.export import boards_json
from clbench.leaderboard.pages.html import to_html
from clbench.leaderboard.pages.index import index_html
from clbench.leaderboard.pages.markdown import index_markdown, to_markdown
from clbench.leaderboard.pages.summary import EntryRow, Validate, summarise
from clbench.results.record import write_atomically

Boards = Sequence[tuple[Board, Sequence[EntryRow]]]
Others = Sequence[tuple[str, Boards]]


def board_files(board: Board, rows: Sequence[EntryRow]) -> dict[Path, str]:
    """README.md, leaderboard.csv and index.html of one board."""
    return {
        board.folder / "README.md": to_markdown(board, rows),
        board.folder / "leaderboard.csv": to_csv(board, rows),
        board.folder / "index.html": to_html(board, rows),
    }


def index_files(root: Path, boards: Boards, others: Others = ()) -> dict[Path, str]:
    """README.md, index.html and boards.json over all boards; the last has those of others, too."""
    gone = columns.withdrawn(root)
    return {
        root / "README.md": index_markdown(boards, gone),
        root / "index.html": index_html(boards, others, gone),
        root / "boards.json": boards_json(boards, others),
    }


def render_all(
    root: Path, validate: Validate | None = None, others: Sequence[Path] = ()
) -> dict[Path, str]:
    """Every generated file below a folder of boards, by path; nothing is written.

    Args:
        root: the folder of boards.
        validate: checks each entry as it is read; None leaves all self-reported.
        others: folders of boards of other repositories, whose ledgers are their word.
    """
    boards = [(board, summarise(board, validate)) for board in list_boards(root)]
    files = {path: text for b, rows in boards for path, text in board_files(b, rows).items()}
    theirs = [
        (_name_of(folder), [(board, summarise(board, validate)) for board in list_boards(folder)])
        for folder in others
    ]
    return files | index_files(root, boards, theirs)


def _name_of(folder: Path) -> str:
    """What another repository is called: its folder, or the one above ``leaderboards``."""
    real = folder.resolve()
    return real.parent.name if real.name == "leaderboards" else real.name


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Those that are missing or differ from what they should be."""
    return [path for path, text in files.items() if not _holds(path, text.encode())]


def write(files: Mapping[Path, str]) -> list[Path]:
    """Write what differs; returns what was written."""
    written = stale(files)
    for path in written:
        write_atomically(path, files[path].encode())
    return written


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
