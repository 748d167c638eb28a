"""A rule is one function in one file: what stands in the folder of rules is asked."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clbench.leaderboard import rules as package
from clbench.leaderboard.rules import literals, measures, names, protocol, structure, tuning
from clbench.leaderboard.rules.validate import rules

MINE = '''"""A rule of a test."""
from clbench.leaderboard.rules.findings import error

def never(board, entry):
    yield error("X1", "entry.yaml", "is never right")

RULES = (never,)
'''


def test_the_rules_come_in_a_stated_order():
    found = rules((*package.__path__,))
    first = tuple(r for module in (structure, protocol, measures, tuning) for r in module.RULES)
    assert found[: len(first)] == first
    others = [rule.__module__ for rule in found[len(first) :]]
    assert others == sorted(others)
    assert set(literals.RULES) <= set(found)
    assert len({*first, *literals.RULES, *names.RULES}) == 33


def test_a_rule_takes_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine_of_a_test.py").write_text(MINE)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    before = rules((*package.__path__[:-1],))
    found = rules((*package.__path__,))
    [mine] = [rule for rule in found if rule.__name__ == "never"]
    assert tuple(rule for rule in found if rule is not mine) == before


@pytest.mark.parametrize(("length", "n_findings"), [(200, 0), (201, 1)])
def test_the_rule_of_the_guides_is_one(length: int, n_findings: int):
    guides = Path(__file__).parents[2] / "docs" / "guides.md"
    [text] = re.findall(r"```python\n(.*?)```", guides.read_text(encoding="utf-8"), re.DOTALL)
    module: dict[str, Any] = {}
    exec(text, module)
    entry = SimpleNamespace(slug="mine", meta=SimpleNamespace(description="x" * length))
    found = [finding for rule in module["RULES"] for finding in rule(None, entry)]
    assert [finding.level for finding in found] == ["warning"] * n_findings
    assert all(finding.file == "entries/mine/entry.yaml" for finding in found)
