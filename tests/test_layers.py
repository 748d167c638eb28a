"""The layers of the engine: each unit imports only what stands below it, and no circle is left."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "clbench"
ORDER = (
    "clbench",
    "errors",
    "settings",
    "space",
    "util",
    "seeding",
    "plugins",
    "metric",
    "configure.common",
    "results",
    "nets",
    "encoder",
    "data",
    "world",
    "tracker",
    "trackers",
    "task_data",
    "labels",
    "stream",
    "needs",
    "strategy",
    "fisher",
    "configure",
    "engine",
    "sweeps",
    "scenario",
    "orders",
    "disjoint",
    "memory",
    "replay",
    "quadratic",
    "model",
    "stand_ins",
    "encoders",
    "models",
    "latents",
    "exemplars",
    "first_session",
    "prompting",
    "dark",
    "interop",
    "reproduce",
    "leaderboard",
    "leaderboard.rules",
    "leaderboard.reproduce",
    "leaderboard.pages",
    "report",
    "trained",
    "checks",
    "cli",
    "api",
    "__main__",
)
"""Top-level modules and packages of ``clbench``, and rooms of their own, the lowest first."""
PLUGINS = ("strategies", "scenarios", "models", "data.sets", "encoders")
LONGEST = 400


def modules() -> dict[str, Path]:
    """Every module of the engine by its name below ``clbench``."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "clbench"] = path
    return found


MODULES = modules()


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the engine that a module imports, in functions too, but not for types alone."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            todo.append(node)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clbench"):
                base = (node.module or "").removeprefix("clbench").removeprefix(".")
                names = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
                found |= {name if name in MODULES else base for name in names}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names if alias.name.startswith("clbench.")}
                found |= {name.removeprefix("clbench.") for name in names}
    return frozenset((found & set(MODULES)) - {module})


def unit(module: str) -> str:
    """The longest unit of ``ORDER`` that a module belongs to."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(name for name in names if name in ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_below_it(module: str):
    own = unit(module)
    above = [
        name
        for name in imports(module)
        if unit(name) != own and ORDER.index(unit(name)) > ORDER.index(own)
    ]
    assert not above, f"{module} ({own}) stands below what it imports: {sorted(above)}"


def test_no_modules_import_one_another_in_a_circle():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle of imports: {' > '.join((*path, module))}"
        if module not in done:
            for name in sorted(imports(module)):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_every_unit_is_there():
    assert {unit(module) for module in MODULES} == set(ORDER)


def test_the_engine_imports_no_plugin():
    for module in MODULES:
        if not module.startswith(PLUGINS):
            wrong = {n for n in imports(module) if n.startswith(PLUGINS) and n not in PLUGINS}
            assert not wrong, f"{module} imports the plug-ins {sorted(wrong)}"


def test_no_file_is_long():
    beside = [
        p
        for d in ("strategies", "scenarios", "benchmarks")
        for p in (ROOT.parent / d).rglob("*.py")
    ]
    for path in (*MODULES.values(), *beside):
        assert len(path.read_text().splitlines()) <= LONGEST, path.name
