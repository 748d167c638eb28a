"""Finds plug-ins by path, and tells what they are without importing them.

A plug-in is one file with one class: a built-in, a path the user gives, or what an installed package
declares under the entry points ``clbench.scenarios``, ``.strategies``, ``.data``, ``.encoders``,
``.models``, ``.trackers``. A plug-in whose class names a setting as ``argument`` takes its value after
a colon, ``plugin:value``; where it has ``options()``, ``clbench list`` shows what can stand there.
Strategies of other libraries, which bring settings of their own, come over a bridge.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clbench.errors import UsageError

PACKAGE = Path(__file__).parents[1]

GROUPS = ("scenario", "strategy", "data", "encoder", "model")
"""What a run is made of. Trackers observe a run and are no part of it."""
OPTIONAL_GROUPS = ("encoder",)
"""A run that has none of these does not mention them in its settings."""
FOLDERS = {
    "scenario": "scenarios",
    "strategy": "strategies",
    "data": "data/sets",
    "encoder": "encoders",
    "model": "models",
    "tracker": "trackers",
}
ENTRY_POINTS = {
    "scenario": "clbench.scenarios",
    "strategy": "clbench.strategies",
    "data": "clbench.data",
    "encoder": "clbench.encoders",
    "model": "clbench.models",
    "tracker": "clbench.trackers",
}
PLAIN_DOC = re.compile(rb'"""([^\\]*?)"""\r?\n')
"""A docstring that begins a file and means what it says: nothing in it is escaped."""
BRIDGES = {"strategy": {"avalanche": "clbench.interop.avalanche"}}
"""Per group, other libraries, and the modules that make plug-ins of what they have: each has
``options() -> {name: line}``, ``plugin_class(name)`` and ``describe(name) -> (text, settings)``."""
BASES = {
    "scenario": ("clbench.scenario", "Scenario"),
    "strategy": ("clbench.strategy", "Strategy"),
    "data": ("clbench.data.dataset", "DataSet"),
    "encoder": ("clbench.encoder", "Encoder"),
    "model": ("clbench.model", "Model"),
    "tracker": ("clbench.tracker", "Tracker"),
}


@dataclass(frozen=True)
class Plugin:
    """One option of a group, known by name and file; imported only by ``load``."""

    group: str
    name: str
    path: Path
    given_as_path: bool = False
    argument: str | None = None
    """What stands after a colon: ``resnet18`` of ``timm:resnet18``."""
    bridge: str | None = None
    """The module that makes a plug-in of another library's class."""
    given: tuple[tuple[str, str], ...] = ()
    """Settings to check it with, where its defaults are not enough."""

    @property
    def word(self) -> str:
        """What ``find`` finds it by, wherever it comes from."""
        return self.name if self.bridge else str(self.path)

    def summary(self) -> str:
        """The first line of the file's docstring."""
        try:
            source = self.path.read_bytes()
            # Parsing a hundred files takes longer than all else that a list does.
            plain = PLAIN_DOC.match(source)
            doc = plain[1].decode() if plain else ast.get_docstring(ast.parse(source))
        except (OSError, SyntaxError, ValueError):
            return "(cannot be read)"
        return doc.strip().splitlines()[0] if doc and doc.strip() else ""

    def load(self) -> type[Any]:
        """Import the file and return its one plug-in class.

        Raises:
            UsageError: it does not import, does not define exactly one such class, or the class lacks
                a method.
        """
        if self.bridge is not None:
            made: type[Any] = importlib.import_module(self.bridge).plugin_class(self.argument)
            return made
        from clbench.plugins.form import only_class

        module = _import(self)
        base_module, base_name = BASES[self.group]
        return only_class(
            self.group, self.path, module, getattr(importlib.import_module(base_module), base_name)
        )

    def argument_of(self, cls: type[Any]) -> str:
        """The setting that takes what stands after the colon; the class names it as ``argument``.

        Raises:
            UsageError: it names none.
        """
        name: str = getattr(cls, "argument", "")
        if not name:
            raise UsageError(
                f"{self.group}={self.name}:{self.argument}: {self.name} takes nothing after a colon"
            )
        return name

    def with_defaults(self) -> Any:
        """The plug-in with its default settings and what stands after the colon.

        Raises:
            UsageError: it takes nothing there, or its settings need more.
        """
        cls = self.load()
        return cls() if self.argument is None else cls(**{self.argument_of(cls): self.argument})


def builtin_folder(group: str) -> Path:
    """Where a group's built-in files are: in the installed package, or beside it in a checkout."""
    inside = PACKAGE / FOLDERS[group]
    return inside if inside.is_dir() else PACKAGE.parent / FOLDERS[group]


def plugins(group: str) -> dict[str, Plugin]:
    """All named options of a group, by name.

    Raises:
        UsageError: two files claim one name.
    """
    folder = builtin_folder(group)
    found = dict(_built_in(group, folder, tuple(sorted(os.listdir(folder)))))
    for entry in declared(ENTRY_POINTS[group]):
        spec = importlib.util.find_spec(entry.module)
        if spec is None or spec.origin is None:
            continue
        if entry.name in found and found[entry.name].path != Path(spec.origin):
            raise UsageError(
                f"{group} {entry.name!r} is declared twice: by {found[entry.name].path.name} and by "
                f"the entry point {entry.value}; give one as a path"
            )
        found[entry.name] = Plugin(group, entry.name, Path(spec.origin))
    return found


@cache
def _built_in(group: str, folder: Path, files: tuple[str, ...]) -> dict[str, Plugin]:
    """The plug-ins among the files of a folder, by name."""
    names = [file.removesuffix(".py") for file in files if file.endswith(".py")]
    return {
        name: Plugin(group, name, folder / f"{name}.py")
        for name in names
        if not name.startswith("_")
    }


def declared(group: str) -> importlib.metadata.EntryPoints:
    """What installed packages declare under a group of entry points."""
    return _of_group(importlib.metadata.entry_points, (*sys.path,), group)


@cache
def _of_group(
    entry_points: Callable[[], importlib.metadata.EntryPoints], path: tuple[str, ...], group: str
) -> importlib.metadata.EntryPoints:
    return _declared(entry_points, path).select(group=group)


@cache
def _declared(
    entry_points: Callable[[], importlib.metadata.EntryPoints], path: tuple[str, ...]
) -> importlib.metadata.EntryPoints:
    """All entry points, read once for each ``sys.path``: reading takes milliseconds."""
    return entry_points()


def find(group: str, value: str) -> Plugin:
    """An option by name, with what it takes after a colon, or by the path of a ``.py`` file.

    Raises:
        UsageError: there is none, with the nearest name.
    """
    if value.endswith(".py"):
        path = Path(value)
        if not path.is_file():
            folder = path.parent
            here = [file.name for file in folder.glob("*.py")] if folder.is_dir() else []
            raise UsageError(f"{group}={value}: no such file{did_you_mean(path.name, here)}")
        return Plugin(group, path.stem, path.resolve(), given_as_path=True)
    options = plugins(group)
    name, colon, argument = value.partition(":")
    if name in BRIDGES.get(group, {}):
        return bridged(group, name, argument)
    if colon and name in options:
        return replace(options[name], argument=argument)
    if value not in options:
        if Path(value).is_file():
            raise UsageError(
                f"{group}={value}: is a file; the name of a plug-in's file ends in .py"
            )
        is_file = value and Path(f"{value}.py").is_file()
        hint = f"; did you mean {f'{value}.py'!r}?" if is_file else did_you_mean(value, options)
        raise UsageError(f"unknown {group} {value!r}{hint} (clbench list {FOLDERS_WORD[group]})")
    return options[value]


def bridged(group: str, library: str, name: str) -> Plugin:
    """What another library has under a name; whether it has it turns out when it is loaded.

    Raises:
        UsageError: no name is given.
    """
    if not name:
        raise UsageError(
            f"{group}={library} needs a name: {group}={library}:NAME "
            f"(clbench list {FOLDERS_WORD[group]} '{library}:*')"
        )
    module = BRIDGES[group][library]
    path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return Plugin(group, f"{library}:{name}", path, argument=name, bridge=module)


FOLDERS_WORD = {
    "scenario": "scenarios",
    "strategy": "strategies",
    "data": "data",
    "encoder": "encoders",
    "model": "models",
    "tracker": "trackers",
}


def did_you_mean(word: str, known: Any, groups: Mapping[str, str] = MappingProxyType({})) -> str:
    """``"; did you mean 'x'?"``, or nothing; a word of ``groups`` is shown as ``group.x``."""
    close = difflib.get_close_matches(word, [*known, *groups], n=1, cutoff=0.5)
    whole = [f"{groups[c]}.{c}" if c in groups else c for c in close]
    return f"; did you mean {whole[0]!r}?" if whole else ""


def stand_in(group: str) -> Plugin:
    """The plainest of a group, for code that needs one and looks at none of its results."""
    path = PACKAGE / "stand_ins" / f"{group}.py"
    return Plugin(group, path.stem, path)


def default_of(group: str) -> str:
    """The option that a run has where none is named: its class says ``is_default = True``.

    Raises:
        UsageError: no option says so, or several do.
    """
    found = [
        name for name, plugin in plugins(group).items() if _is_default(plugin.path.read_bytes())
    ]
    if len(found) == 1:
        return found[0]
    many = f"{', '.join(found)} all say is_default" if found else "there is no default"
    raise UsageError(f"{group}= is required: {many} (clbench list {FOLDERS_WORD[group]})")


@cache
def _is_default(source: bytes) -> bool:
    if b"is_default" not in source:
        return False
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return any(
        isinstance(line, ast.AnnAssign)
        and ast.unparse(line.target) == "is_default"
        and line.value is not None
        and bool(ast.literal_eval(line.value))
        for line in (classes[-1].body if classes else [])
    )


def _import(plugin: Plugin) -> Any:
    """Import a plug-in file under a name of its own; the same file once per content."""
    digest = hashlib.sha256(str(plugin.path).encode() + plugin.path.read_bytes()).hexdigest()[:12]
    name = f"clbench_plugin_{plugin.group}_{plugin.name}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, plugin.path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{plugin.path.name}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = line_of(error, plugin.path)
        at = f" line {line}" if line else ""
        raise UsageError(
            f"{plugin.path.name}{at}: does not import: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}"
        ) from error
    return module


def line_of(error: BaseException, path: Path) -> int | None:
    """The last line of the plug-in itself in an error's trace."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    trace, line = error.__traceback__, None
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
