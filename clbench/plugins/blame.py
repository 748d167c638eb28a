"""Says whose fault an error is: the plug-in's file, the line in it, and the method that was called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from clbench.errors import ClbenchError, UsageError
from clbench.plugins.form import line_of_definition
from clbench.plugins.registry import Plugin, builtin_folder


def position(error: BaseException, plugins: Iterable[Plugin]) -> tuple[Plugin, int] | None:
    """The plug-in whose code an error comes from, and the line there; None where it is of none.

    Of several plug-ins in the trace it is the innermost: a strategy that builds a model calls the
    model's file.
    """
    by_file = {str(plugin.path): plugin for plugin in plugins}
    trace, found = error.__traceback__, None
    while trace is not None:
        plugin = by_file.get(trace.tb_frame.f_code.co_filename)
        if plugin is not None:
            found = plugin, trace.tb_lineno
        trace = trace.tb_next
    return found


def place(plugin: Plugin, *names: str) -> str:
    """``mine.py line 7``, of the first name that the file defines; the file where it defines none."""
    line = line_of_definition(plugin.path, *names)
    return plugin.path.name + (f" line {line}" if line else "")


@cache
def is_builtin(plugin: Plugin) -> bool:
    """Whether a plug-in comes with clbench."""
    return plugin.bridge is not None or plugin.path.parent == builtin_folder(plugin.group).resolve()


@contextmanager
def blamed(
    what: str, plugin: Plugin, *methods: str, others: Iterable[Plugin] = ()
) -> Iterator[None]:
    """Turn any error inside into one line that names the plug-in's file and line.

    Args:
        what: what went wrong, such as ``cannot be built``.
        plugin: whose code is called.
        *methods: the methods that are called; where no line of a plug-in is in the trace, the error
            names the line of the first that the file defines.
        others: further plug-ins whose code may run inside.

    Raises:
        UsageError: the line. An error of clbench keeps its words, and gets the place before them if a
            user's file led to it and did not raise it.
    """
    try:
        yield
    except ClbenchError as error:
        found = position(error, (plugin, *others))
        if found is None or is_builtin(found[0]) or _raised_in(error) == str(found[0].path):
            raise
        if found[0].path.name in str(error):
            raise
        message = f"{found[0].path.name} line {found[1]}: {error}"
        raise type(error)(message) from error
    except (Exception, SystemExit) as error:  # a third party's code may raise anything
        found = position(error, (plugin, *others))
        where = f"{found[0].path.name} line {found[1]}" if found else place(plugin, *methods)
        raise UsageError(f"{where}: {what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """``ValueError: the first line of its text``."""
    text = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _raised_in(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_code.co_filename


def kind(value: object) -> str:
    """The type of a value as an error names it."""
    return "None" if value is None else f"a {type(value).__name__}"
