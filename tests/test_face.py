"""The public face: what ``from clbench import ...`` gives, and that it is loaded when it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import clbench
from clbench.plugins import registry, source
from clbench.plugins.source import settings, source_sha256

PLUGINS = [plugin for group in registry.GROUPS for plugin in registry.plugins(group).values()]


@pytest.mark.parametrize("name", clbench.__all__)
def test_each_name_is_that_of_its_module(name: str) -> None:
    if find_spec(clbench.HOMES[name]) is None:
        pytest.skip(f"{clbench.HOMES[name]} is not there yet")
    assert getattr(clbench, name) is getattr(import_module(clbench.HOMES[name]), name)
    assert name in dir(clbench)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        clbench.Nothing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(clbench.__file__).read_bytes())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("clbench.")
        for alias in node.names
    }
    assert seen == clbench.HOMES


def test_importing_clbench_loads_nothing_heavy() -> None:
    code = (
        "import sys, clbench; clbench.UsageError, clbench.run; "
        "print([m for m in ('torch', 'numpy', 'pandas', 'omegaconf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: f"{p.group}-{p.name}")
def test_built_in_plug_ins_import_public_names_from_the_face(plugin: registry.Plugin) -> None:
    for node in ast.walk(ast.parse(plugin.path.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            elsewhere = [a.name for a in node.names if clbench.HOMES.get(a.name) == node.module]
            assert not elsewhere, f"line {node.lineno}: import {elsewhere} from clbench"


STRATEGY = "\n\nclass Mine(GradientStrategy):\n    pass\n"


def test_settings_are_inherited_through_the_face(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from clbench import GradientStrategy" + STRATEGY)
    assert [s.name for s in settings(path)] == [
        s.name for s in source.class_settings(source.PACKAGE / "strategy.py", "GradientStrategy")
    ]


def test_the_face_is_the_module_behind_it_in_the_hash(tmp_path: Path) -> None:
    face, home, none = (tmp_path / f"{name}.py" for name in ("face", "home", "none"))
    face.write_text("from clbench import GradientStrategy" + STRATEGY)
    home.write_text("from clbench.strategy import GradientStrategy" + STRATEGY)
    none.write_text("GradientStrategy = object" + STRATEGY)
    engine = {path.stem: source_sha256(path)["engine"] for path in (face, home, none)}
    assert engine["face"] == engine["home"] != engine["none"]
