"""What source code says without being run: settings with their sentences, and content hashes."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import clbench
from clbench import settings as bounds
from clbench.plugins.meaning import PLUGINS, drop_docstrings, meaning, statements
from clbench.plugins.values import parse, written

PACKAGE = Path(__file__).parents[1]


class Setting(NamedTuple):
    """One field of a settings dataclass; the default is a literal where its value can be read."""

    name: str
    type: str
    default: str
    help: str
    bound: str = ""
    """The values it takes, where that is declared: ``positive``, ``at least 1``, ``in [0, 1]``."""


def settings(path: Path) -> list[Setting]:
    """The settings of the plug-in in a file, its own first, read from the syntax tree alone."""
    tree = parse(path)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    return _fields(classes[-1], path) if classes else []


def returned(path: Path, method: str) -> str | None:
    """The text that a plug-in's method always returns; None where it is found out otherwise.

    The method may be the plug-in's own or that of a base in clbench.
    """
    tree = parse(path)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    todo = [(classes[-1], path)] if classes else []
    while todo:
        node, file = todo.pop(0)
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and part.name == method:
                given = [n.value for n in ast.walk(part) if isinstance(n, ast.Return)]
                texts = [v.value for v in given if isinstance(v, ast.Constant)]
                is_one = len(texts) == len(given) == 1 and isinstance(texts[0], str)
                return str(texts[0]) if is_one else None
        found = (_locate(ast.unparse(base), file) for base in node.bases)
        todo += [located for located in found if located and located[0] is not node]
    return None


def class_settings(path: Path, name: str) -> list[Setting]:
    """The settings of one dataclass in a file."""
    located = _locate(name, path)
    return _fields(*located) if located else []


def _fields(node: ast.ClassDef, path: Path) -> list[Setting]:
    """Fields of a dataclass, or of the ``Config`` inside a strategy, then those it inherits."""
    inner = [n for n in node.body if isinstance(n, ast.ClassDef) and n.name == "Config"]
    own: dict[str, Setting] = {}
    inherited: dict[str, Setting] = {}
    for base in node.bases if not inner else inner[0].bases or node.bases:
        located = _locate(ast.unparse(base).removesuffix(".Config"), path)
        if located:
            inherited.update((s.name, s) for s in _fields(*located))
    body = inner[0].body if inner else node.body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        kind, bound = _kind(statement.annotation)
        if kind.startswith("ClassVar") or statement.value is None:
            continue
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = " ".join(str(after.value.value).split())
        name = statement.target.id
        bound = bound or (inherited[name].bound if name in inherited else "")
        own[name] = Setting(name, kind, written(statement.value, path, module_path), text, bound)
    return [*own.values(), *(s for name, s in inherited.items() if name not in own)]


def _kind(annotation: ast.expr) -> tuple[str, str]:
    """A setting's type without ``Annotated``, and the bound that ``Annotated`` gives it."""
    if not isinstance(annotation, ast.Subscript) or ast.unparse(annotation.value) != "Annotated":
        return ast.unparse(annotation), ""
    assert isinstance(annotation.slice, ast.Tuple)
    kind, *extras = annotation.slice.elts
    found = (_bound(extra) for extra in extras)
    return ast.unparse(kind), " ".join(bound for bound in found if bound)


def _bound(node: ast.expr) -> str:
    """A bound of ``clbench.settings`` in words; nothing for whatever else stands there."""
    call = node if isinstance(node, ast.Call) else None
    name = ast.unparse(call.func if call else node)
    made = getattr(bounds, name, None)
    try:
        if call and isinstance(made, type) and issubclass(made, bounds.Within):
            made = made(
                *(ast.literal_eval(argument) for argument in call.args),
                **{word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg},
            )
    except (TypeError, ValueError):
        return ""
    return str(made) if isinstance(made, bounds.Within) else ""


def _locate(name: str, path: Path) -> tuple[ast.ClassDef, Path] | None:
    """A class by the name it has in a file: defined there, or imported from clbench."""
    tree = parse(path)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node, path
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                target = module_path(_home(node.module or "", alias.name))
                return _locate(alias.name, target) if target else None
    return None


def _home(module: str, name: str) -> str:
    """The module that a name comes from: ``from clbench import x`` may mean another one."""
    return clbench.HOMES.get(name, module) if module == "clbench" else module


def module_path(module: str) -> Path | None:
    """The file of a module of the engine; None for modules of others."""
    return _module_path(PACKAGE, module) if f"{module}.".startswith("clbench.") else None


@cache
def _module_path(package: Path, module: str) -> Path | None:
    """Looked up once: the engine's own files neither come nor go while it runs."""
    parts = module.split(".")
    base = package.joinpath(*parts[1:])
    # In a checkout the built-in strategies and scenarios lie beside the package, not in it.
    beside = package.parent.joinpath(*parts[1:]).with_suffix(".py")
    for candidate in (base.with_suffix(".py"), base / "__init__.py", *[beside] * (len(parts) == 3)):
        if candidate.is_file():
            return candidate
    return None


def source_sha256(*paths: Path) -> dict[str, str]:
    """Hashes of what files do: ``own`` of the plug-ins, ``engine`` of the modules they use.

    Docstrings, comments and layout do not count, so only a change that can change results does. A
    built-in plug-in that another one extends counts as its own.
    """
    own: dict[Path, str] = {}
    engine: dict[Path, str] = {}
    todo = [(path, True) for path in paths]
    while todo:
        file, is_plugin = todo.pop()
        if file in own or file in engine:
            continue
        if is_plugin:
            digest, used = _uses(PACKAGE, file.read_bytes())
        else:
            stat = file.stat()
            digest, used = _uses_of_engine(PACKAGE, file, (stat.st_mtime_ns, stat.st_size))
        (own if is_plugin else engine)[file] = digest
        todo.extend(used)
    # In an order independent of where anything lies: the plug-ins as given, then by content.
    first = [own.pop(path) for path in paths]
    return {
        "own": _joined([*first, *sorted(own.values())]),
        "engine": _joined(sorted(engine.values())),
    }


@cache
def _uses_of_engine(
    package: Path, file: Path, stamp: tuple[int, int]
) -> tuple[str, tuple[tuple[Path, bool], ...]]:
    """The same of a file of the engine, which is read again only where it was changed."""
    return _uses(package, file.read_bytes())


@cache
def _uses(package: Path, source: bytes) -> tuple[str, tuple[tuple[Path, bool], ...]]:
    """Hash of a file's code, and the files of clbench that it imports: each, and whether a plug-in."""
    digest, imported = _digest(source)
    # ``from clbench import x`` uses the module of x, not all that the package can import.
    used = dict.fromkeys(name for name in imported if name != "clbench")
    found = ((module_path(name), name.startswith(PLUGINS)) for name in used)
    return digest, tuple(dict.fromkeys((p, plugin) for p, plugin in found if p is not None))


def identity_sha256(*paths: Path) -> str:
    """Hash of what makes plug-ins of these files what they are, as part of a run's identity.

    It covers each file and the modules of its own folder or package that it imports. The engine is
    not part of it: its version is. Docstrings, comments, layout, the text of errors, the spaces that
    settings are tuned over, methods ``resolved`` and the modules of the engine that names are imported
    from do not count.
    """
    found: dict[Path, str] = {}
    todo = [*paths]
    while todo:
        file = todo.pop()
        if file not in found:
            found[file], imported = meaning(file.read_bytes())
            own = _Surroundings(file)
            todo.extend(path for name in imported for path in own.of_its_own(name))
    first = [found.pop(path) for path in dict.fromkeys(paths)]
    return _joined([*first, *sorted(found.values())])


class _Surroundings:
    """Where the file of a plug-in finds modules that are its own."""

    def __init__(self, file: Path) -> None:
        self.file, top = file, file.parent
        while (top / "__init__.py").is_file():
            top = top.parent
        self.top, self.mine = top, file.relative_to(top).parts[0].removesuffix(".py")
        self.names = {folder: {*os.listdir(folder)} for folder in (file.parent, top)}
        self.installed = top.name == "dist-packages" or any(
            name.endswith(".dist-info") for name in self.names[top]
        )

    def of_its_own(self, module: str) -> Iterator[Path]:
        """The file of a module that lies beside the plug-in, in its package, or is a built-in one.

        Other packages are not its own, although site-packages has them in the same folder.
        """
        if module.startswith(PLUGINS):
            built_in = module_path(module)
            yield from () if built_in is None else (built_in,)
            return
        parts = module.lstrip(".").split(".")
        if parts[0] == "clbench":
            return
        if module.startswith("."):
            level, above = len(module) - len(module.lstrip(".")), self.file.parents
            roots = [above[level - 1]] if level <= len(above) else []
        else:
            roots = self._roots(parts[0])
        for root in roots:
            base = root.joinpath(*parts)
            for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                if candidate.is_file() and candidate != self.file:
                    yield candidate

    def _roots(self, name: str) -> list[Path]:
        """The folders in which it may find a top-level name that is its own."""
        if self.installed and name != self.mine:
            foreign = self.mine == "clbench" or name in sys.stdlib_module_names
            if foreign or not _distributions(name) & _distributions(self.mine):
                return []
        # Most names are those of modules elsewhere: two listings stand for a look for each.
        return [root for root, names in self.names.items() if {name, f"{name}.py"} & names]


@cache
def _distributions(name: str) -> frozenset[str]:
    """The installed distributions that have a top-level module or package of a name."""
    return frozenset(importlib.metadata.packages_distributions().get(name, ()))


def base_versions(path: Path) -> dict[str, int]:
    """The ``results_version`` of each base of clbench that a plug-in's class has, by module."""
    tree = parse(path)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    found: dict[str, int] = {}
    todo = [(node, path) for node in classes[-1:]]
    while todo:
        node, file = todo.pop()
        for base in node.bases:
            located = _locate(ast.unparse(base), file)
            if located is None or located[0] is node:
                continue
            todo.append(located)
            found.update(
                (located[1].stem, int(ast.literal_eval(line.value)))
                for line in located[0].body
                if isinstance(line, ast.AnnAssign)
                and line.value is not None
                and ast.unparse(line.target) == "results_version"
            )
    return found


def _joined(digests: list[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


@cache
def _digest(source: bytes) -> tuple[str, tuple[str, ...]]:
    """Hash of a file's code less docstrings, and the modules that it may import."""
    tree = ast.parse(source)
    names: list[str] = []
    for node in statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            names += [_home(node.module, alias.name) for alias in node.names]
    drop_docstrings(tree)
    # As source text: what ast.dump writes differs from one Python to the next.
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), tuple(names)
