"""Search paths of data files, and errors for missing ones."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from clbench.errors import UsageError

DATA_VARIABLE = "CLBENCH_DATA"


def data_roots(path: Path | None, name: str) -> list[Path]:
    """List the folders to search for the files of data set ``name``, in order.

    If the user gave a path, only that is searched, because a fallback to other copies would hide a
    typing error. Otherwise ``$CLBENCH_DATA/<name>`` and ``$CLBENCH_DATA`` itself, if the variable
    is set.
    """
    if path is not None:
        return [path.expanduser()]
    root = os.environ.get(DATA_VARIABLE)
    return [Path(root).expanduser() / name, Path(root).expanduser()] if root else []


def first_with(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    """Find the first folder that holds all of these files, or None."""
    wanted = list(names)
    return next((f for f in folders if all((f / name).is_file() for name in wanted)), None)


def require_path(path: Path | None, name: str, what: str) -> Path:
    """Return the user's path with the home folder expanded.

    Raises:
        UsageError: no path was given; ``what`` describes it.
    """
    if path is None:
        raise UsageError(f"data={name} reads your own files: set data.path={what}")
    return path.expanduser()


def torchvision_datasets() -> ModuleType:
    """Import ``torchvision.datasets``, an optional dependency.

    Raises:
        UsageError: torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision.datasets")
    except ImportError as error:
        raise UsageError(
            "downloading, and reading torchvision's files, need torchvision: "
            "pip install 'clbench[vision]'"
        ) from error
