"""Every strategy against its loop, in float64, over three tasks and more."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .cases import Case, all_cases, measure
from .further import further_cases
from .rig import STREAMS, Rig

TOLERANCE = 1e-8
"""Of weights, as a part of the longest way that a weight has gone; of importances and scores, as a part
of the largest. The loops sum in another order, and nothing else differs."""
CASES = [*all_cases(), *further_cases()]
PAIRS = [(case, stream) for case in CASES for stream in case.streams]
QUICK = {case.strategy: (case, case.streams[0]) for case in reversed(CASES)}.values()
"""The first case of every strategy; the others run with the slow tests."""


@pytest.mark.parametrize(
    ("case", "stream"),
    [
        pytest.param(
            *pair,
            id=f"{pair[0].name}-{pair[1]}".replace(" ", "-"),
            marks=() if pair in QUICK else pytest.mark.slow,
        )
        for pair in PAIRS
    ],
)
def test_the_strategy_is_its_loop(case: Case, stream: str):
    found = measure(case, stream)
    assert found.largest <= TOLERANCE
    if case.acts:
        assert found.from_naive > 1e-3, "the loop does not tell the method from fine-tuning"


def test_streams_are_what_the_loops_need():
    """Classes and samples come again in one, tasks are told in another, and all have three tasks."""
    for name in STREAMS:
        rig = Rig(name, ["strategy=naive"], 1)
        assert len({rig.run.stream.draw(t).task for t in range(len(rig.tasks))}) >= 3
        first, rest = rig.tasks[0].samples, rig.tasks[1:]
        again = set(first.keys) & {key for task in rest for key in task.samples.keys}
        assert bool(again) == (name == "recurring")
        assert all((task.number is not None) == (name == "told") for task in rig.tasks)


LOOPS = (
    *("capacity", "closed_form", "contrastive", "exemplars", "gdumb", "lwf", "plain", "plasticity"),
    *("quadratic", "replay", "xder"),
)
"""The files of loops; what all of them share (samples, the network, SGD) is in ``bare``."""


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_has_at_most_60_lines_of_code_and_knows_no_strategy(name: str):
    path = Path(__file__).with_name(f"{name}.py")
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    told = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = [
        bool(line.strip()) and number not in told for number, line in enumerate(text.split("\n"), 1)
    ]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert sum(lines[node.lineno - 1 : node.end_lineno]) <= 60, node.name
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not [module for module in imported if module.startswith("clbench")], imported
