"""The engine knows no plug-in: outside their folders no text of ``clbench/`` names one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clbench.plugins.registry import default_of, find, plugins, stand_in

ROOT = Path(__file__).parents[1] / "clbench"
FOLDERS = (
    "data/sets",
    "encoders",
    "models",
    "scenarios",
    "strategies",
    "data/synbols",
    "data/pairs",
)
"""Of plug-ins; ``data/synbols`` and ``data/pairs`` draw the data sets of these names."""
GROUPS = ("scenario", "strategy", "data")
WORDS = {"folder", "digits", "joined", "npz", "torchvision", "hf", "avalanche"}
"""Names that are words of other meanings too: found as ``data=folder`` or alone in ``find``."""
ALLOWED = {
    ("cli/data.py", "synbols"): "the command draws this data set",
    ("configure/board.py", "naive"): "a field of board.yaml",
    ("leaderboard/freeze.py", "naive"): "a field of draft.yaml",
    ("leaderboard/pages/columns.py", "naive"): "a field of board.yaml, and naive fine-tuning",
    ("leaderboard/pages/columns.py", "joint"): "joint training, in the notes of protocol 1.0",
    ("interop/avalanche.py", "avalanche"): "strategies of the library of this name",
    ("interop/known.py", "joint"): "advice for a strategy of Avalanche that cannot run",
    ("interop/known.py", "naive"): "naive training, of a strategy of Avalanche that does no more",
    ("fisher/card.py", "class_incremental"): "the example of a card",
    ("fisher/card.py", "ewc"): "the example of a card",
}
NAMES = {name for group in GROUPS for name in plugins(group)}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a file with its line, less docstrings and examples."""
    tree = ast.parse(path.read_text())
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(id(node.value))
        if isinstance(node, ast.Assign) and "EXAMPLES" in ast.unparse(node.targets[0]):
            left_out |= {id(part) for part in ast.walk(node)}
        if isinstance(node, ast.keyword) and node.arg == "epilog":
            left_out |= {id(part) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if (
                id(node) in left_out
                or "such as" in node.value
                or node.value.startswith("examples:")
            ):
                continue
            yield node.lineno, node.value


def named(text: str) -> set[str]:
    """The plug-ins that a text names."""
    found = set(re.findall(r"[A-Za-z_]\w*", text)) & (NAMES - WORDS)
    return found | set(re.findall(rf"(?:{'|'.join(GROUPS)})=(\w+)", text)) & NAMES


def test_no_file_of_the_engine_names_a_strategy_a_scenario_or_data():
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT).as_posix()
        if inside.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
            continue
        for line, text in texts(path):
            for name in named(text):
                found[inside, name] = f"{inside}:{line} names {name}: {text[:60]!r}"
    wrong = [where for key, where in found.items() if key not in ALLOWED]
    assert wrong == []
    assert sorted(set(ALLOWED) - set(found)) == []  # what is no longer there is no longer allowed


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("strategy=naive", {"naive"}),
        ("digits", set()),
        ("data=digits", {"digits"}),
        ("the folder", set()),
        ("run ewc, or si", {"ewc", "si"}),
    ],
)
def test_the_scan_sees_names(text: str, names: set[str]):
    assert named(text) == names


def test_a_data_set_says_that_it_is_the_default():
    assert find("data", default_of("data")).load().is_default
    others = set(plugins("data")) - {default_of("data")}
    assert not any(find("data", name).load().is_default for name in others)


@pytest.mark.parametrize("group", ["scenario", "strategy"])
def test_stand_ins_are_plug_ins(group: str):
    assert stand_in(group).load()
    assert stand_in(group).path not in {plugin.path for plugin in plugins(group).values()}
