"""Each check catches the strategy or scenario that breaks just its rule."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from broken_strategies import BROKEN, HEAD, ITEM_IN_LOSS, NEEDS_EVERYTHING, strategy

from clbench.checks import Rig, attempt, check, suite
from clbench.checks.finding import Finding
from clbench.engine.reach import reachable
from clbench.errors import UsageError
from clbench.plugins.registry import find, plugins


def run_check(tmp_path: Path, name: str, body: str, group: str = "strategy") -> Finding:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + textwrap.dedent(body), encoding="utf-8")
    (one,) = [c for c in suite(group) if c.__name__ == name]
    return attempt(one, Rig(find(group, str(file))))


@pytest.mark.parametrize(("name", "body", "said"), BROKEN)
def test_a_broken_strategy_is_caught(tmp_path: Path, name: str, body: str, said: str) -> None:
    finding = run_check(tmp_path, name, body)
    assert not finding.passed, f"{name} did not catch it"
    assert said in finding.message
    assert "\n" not in finding.message


def test_every_check_of_strategies_has_an_example_that_it_catches() -> None:
    # Unknown settings are refused by the engine: no strategy can accept one.
    by_engine = {"refuses_unknown_settings", "refuses_streams_that_lack_what_it_needs"}
    assert {c.__name__ for c in suite("strategy")} - by_engine == {name for name, _, _ in BROKEN}


def test_an_error_names_the_line_of_the_users_file(tmp_path: Path) -> None:
    body = strategy("""
        def consolidate(self, task):
            raise RuntimeError("no such thing")
    """)
    line = (HEAD + body).splitlines().index('        raise RuntimeError("no such thing")') + 1
    finding = run_check(tmp_path, "learns_above_chance", body)
    assert finding.message == f"RuntimeError: no such thing (mine.py line {line})"


def test_a_check_that_watches_names_the_line_it_saw(tmp_path: Path) -> None:
    line = (HEAD + ITEM_IN_LOSS).splitlines().index("        self.last = loss.item()") + 1
    finding = run_check(tmp_path, "never_waits_for_the_device_in_its_inner_loop", ITEM_IN_LOSS)
    assert f"mine.py line {line}" in finding.message


def test_adam_is_not_blamed_for_what_torch_does(tmp_path: Path) -> None:
    body = """
    class Mine(GradientStrategy):
        @dataclass(frozen=True)
        class Config(GradientStrategy.Config):
            optimizer: str = "adam"
    """
    file = tmp_path / "mine.py"
    file.write_text(HEAD + textwrap.dedent(body), encoding="utf-8")
    wrong = [f for f in check(find("strategy", str(file))) if not f.passed]
    assert not wrong


@pytest.mark.parametrize(("classes", "passes"), [(", self.info.n_classes", True), ("", False)])
def test_one_hot_needs_its_size(tmp_path: Path, classes: str, passes: bool) -> None:
    body = strategy(f"""
        def loss(self, batch):
            F.one_hot(batch.y{classes})
            return super().loss(batch)
    """)
    name = "never_waits_for_the_device_in_its_inner_loop"
    assert run_check(tmp_path, name, body).passed == passes


def test_needs_restrict_the_streams_it_is_tried_on(tmp_path: Path) -> None:
    assert run_check(tmp_path, "learns_above_chance", NEEDS_EVERYTHING).passed
    name = "refuses_streams_that_lack_what_it_needs"
    assert run_check(tmp_path, name, NEEDS_EVERYTHING).passed


def test_a_file_that_does_not_import_is_one_finding(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import nothing_of_this_name\n", encoding="utf-8")
    (finding,) = check(find("strategy", str(file)))
    assert not finding.passed
    assert "mine.py line 1" in finding.message


def test_a_group_without_a_suite_is_refused() -> None:
    with pytest.raises(UsageError, match="no suite for data"):
        suite("data")


def test_the_walk_goes_through_closures_partials_and_attributes() -> None:
    from functools import partial

    class Holder:
        __slots__ = ("slot",)

    target, holder = object(), Holder()
    holder.slot = [partial(print, {"key": lambda: target})]
    found = [path for path, value in reachable(holder, "root") if value is target]
    assert len(found) == 1
    assert "closes over target" in found[0]


def test_the_suite_needs_no_development_tools() -> None:
    # Imported in a process of its own: here pytest is there already.
    import subprocess
    import sys

    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pytest', 'hypothesis'))); "
        "from clbench.checks import SUITES, suite; [suite(g) for g in SUITES]"
    )
    assert plugins("strategy")
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
