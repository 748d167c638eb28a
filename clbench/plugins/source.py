"""What source code says without being run: settings with their sentences, and content hashes."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import clbench
from clbench import settings as bounds

PACKAGE = Path(__file__).parents[1]
PLUGINS = (
    "clbench.strategies.",
    "clbench.scenarios.",
    "clbench.models.",
    "clbench.data.sets.",
    "clbench.encoders.",
)


class Setting(NamedTuple):
    """One field of a settings dataclass, as written."""

    name: str
    type: str
    default: str
    help: str
    bound: str = ""
    """The values it takes, where that is declared: ``positive``, ``at least 1``, ``in [0, 1]``."""


def settings(path: Path) -> list[Setting]:
    """The settings of the plug-in in a file, its bases' first, read from the syntax tree alone."""
    tree = _parse(path)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    return _fields(classes[-1], path) if classes else []


def class_settings(path: Path, name: str) -> list[Setting]:
    """The settings of one dataclass in a file."""
    located = _locate(name, path)
    return _fields(*located) if located else []


def _fields(node: ast.ClassDef, path: Path) -> list[Setting]:
    """Fields of a dataclass, or of the ``Config`` inside a strategy, with those it inherits."""
    inner = [n for n in node.body if isinstance(n, ast.ClassDef) and n.name == "Config"]
    found: dict[str, Setting] = {}
    for base in node.bases if not inner else inner[0].bases or node.bases:
        located = _locate(ast.unparse(base).removesuffix(".Config"), path)
        if located:
            found.update((s.name, s) for s in _fields(*located))
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
        bound = bound or (found[name].bound if name in found else "")
        found[name] = Setting(name, kind, ast.unparse(statement.value), text, bound)
    return list(found.values())


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
    tree = _parse(path)
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
    parts = module.split(".")
    if parts[0] != "clbench":
        return None
    base = PACKAGE.joinpath(*parts[1:])
    # In a checkout the built-in strategies and scenarios lie beside the package, not in it.
    beside = PACKAGE.parent.joinpath(*parts[1:]).with_suffix(".py")
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
        digest, imported = _digest(file.read_bytes())
        (own if is_plugin else engine)[file] = digest
        # ``from clbench import x`` uses the module of x, not all that the package can import.
        used = [name for name in imported if name != "clbench"]
        found = ((module_path(name), name.startswith(PLUGINS)) for name in used)
        todo.extend((path, plugin) for path, plugin in found if path is not None)
    # In an order independent of where anything lies: the plug-ins as given, then by content.
    first = [own.pop(path) for path in paths]
    return {
        "own": _joined([*first, *sorted(own.values())]),
        "engine": _joined(sorted(engine.values())),
    }


def _joined(digests: list[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


@cache
def _digest(source: bytes) -> tuple[str, tuple[str, ...]]:
    """Hash of a file's code less docstrings, and the modules that it may import."""
    tree = ast.parse(source)
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            names += [_home(node.module, alias.name) for alias in node.names]
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                s
                for s in body
                if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ]
    # As source text: what ast.dump writes differs from one Python to the next.
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), tuple(names)


def _parse(path: Path) -> ast.Module:
    return _parsed(path.read_bytes())


@cache
def _parsed(source: bytes) -> ast.Module:
    return ast.parse(source)
