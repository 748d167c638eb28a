"""Imports a large library that may be missing or broken, and silences its output."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from clbench.errors import UsageError


@contextlib.contextmanager
def quiet(package: str) -> Iterator[None]:
    """Suppress a package's prints and its own warnings; other warnings pass."""
    with warnings.catch_warnings(record=True) as told, contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", module=rf"{package}\.")
        yield
    for one in told:  # a package may reset the filters
        if package not in Path(one.filename).parts:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def modules(
    names: Mapping[str, str], package: str, distribution: str, get: str
) -> dict[str, ModuleType]:
    """Import modules of a package, each under a short name.

    Args:
        names: short names and their modules.
        package: name of the package to import.
        distribution: name of the distribution to install.
        get: the command that installs it.

    Raises:
        UsageError: it is not installed, or an import failed; the import is named.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of the dozens of packages that it imports
            return {short: importlib.import_module(name) for short, name in names.items()}
    except ModuleNotFoundError as error:
        if error.name == package:
            raise UsageError(f"{distribution} is not installed: {get}") from error
        raise UsageError(broken(distribution, error)) from error
    except Exception as error:  # whatever the packages that it imports may raise
        raise UsageError(broken(distribution, error)) from error


def broken(distribution: str, error: Exception) -> str:
    """Describe in one line which import of an installed package failed, and where."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        where = where if name.startswith(("importlib", __name__)) else f" in {name}"
        trace = trace.tb_next
    reason = (str(error).splitlines() or [""])[0]
    version = importlib.metadata.version(distribution)
    kind = type(error).__name__
    return f"{distribution} {version} does not import here: {kind}{where}: {reason}"
