"""Running the command line in this process."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from clbench.cli import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def clbench(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Ran:
    """Exit code, stdout and stderr of a command line."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in words])
    except SystemExit as error:  # argparse's --help and usage errors
        code = int(error.code or 0)
    return Ran(code, *capsys.readouterr())


def tiny(npz: Path) -> list[str]:
    """Words of a run that takes milliseconds."""
    return [
        "scenario=scole",
        "scenario.n_tasks=3",
        "data=npz",
        f"data.path={npz}",
        "model=mlp",
        "model.hidden=[8]",
        "device=cpu",
    ]
