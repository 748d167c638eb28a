"""A rule is one function in one file: what stands in the folder of rules is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from clbench.leaderboard import rules as package
from clbench.leaderboard.rules import literals, measures, protocol, structure, tuning
from clbench.leaderboard.rules.validate import rules

MINE = '''"""A rule of a test."""
from clbench.leaderboard.rules.findings import error

def never(board, entry):
    yield error("X1", "entry.yaml", "is never right")

RULES = (never,)
'''


def test_the_rules_come_in_a_stated_order():
    found = rules((*package.__path__,))
    modules = (structure, protocol, measures, tuning, literals)
    assert found == tuple(rule for module in modules for rule in module.RULES)
    assert len(found) == 29


def test_a_rule_takes_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine_of_a_test.py").write_text(MINE)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    before = rules((*package.__path__[:-1],))
    *others, last = rules((*package.__path__,))
    assert tuple(others) == before
    assert last.__name__ == "never"
