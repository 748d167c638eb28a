"""Pages that are made from plug-ins: each has one, and each example is of the plug-ins of now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import clbench
from benchmarks.site import concepts, pages, runs
from clbench.plugins import source
from clbench.plugins.registry import plugins

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages.generated()


def test_every_plug_in_has_a_page(made: dict[str, str]):
    for group in pages.PLACES:
        for name, plugin in plugins(group).items():
            text = made[pages.address(group, name)]
            assert text.startswith(f"# `{name}`\n")
            missing = [
                s.name for s in source.settings(plugin.path) if f"| `{s.name}` |" not in text
            ]
            assert missing == [], f"{group} {name}"
    assert set(made) == pages.generated_places()


def test_every_strategy_and_scenario_has_an_example_that_was_run():
    kept = runs.read()
    assert set(kept["runs"]) == set(runs.wanted()), "python -m benchmarks.site.runs"
    scenarios = {key.split()[2].removeprefix("scenario=") for key in kept["streams"]}
    assert scenarios == set(plugins("scenario")) - set(runs.NO_EXAMPLE)
    assert set(runs.SCENARIOS) == scenarios


@pytest.mark.parametrize("words", runs.wanted().values(), ids=" ".join)
def test_no_example_is_stale(words: tuple[str, ...]):
    kept = runs.read()["runs"][runs.command(words)]
    assert kept["run"] == clbench.prepare(*words).hash8, "python -m benchmarks.site.runs"


@pytest.mark.parametrize("name", [n for n in runs.SCENARIOS if n != "synbols"])
def test_the_picture_of_a_stream_is_of_the_stream(name: str):
    words = runs.scenario_words(name, runs.LEARNERS[0])
    kept = runs.read()["streams"][runs.command(words)]
    assert kept == runs.stream(words)
    assert sum(map(sum, kept["counts"])) > 0


def test_numbers_of_a_page_are_those_of_the_file(made: dict[str, str]):
    run = runs.read()["runs"][runs.command(runs.strategy_words("er"))]
    text = made["strategies/er.md"]
    assert f"```sh\n{runs.command(runs.strategy_words('er'))}\n```" in text
    for name in ("world_accuracy", "forgetting"):
        assert f"| {100 * run['metrics'][name]:.1f} |" in text
    assert run["resolved"].replace("`", "") in text.replace("`", "")


def test_another_file_makes_another_page(monkeypatch: pytest.MonkeyPatch):
    kept: Any = runs.read()
    monkeypatch.setattr(runs, "read", lambda: kept)
    before = pages.generated()["strategies/er.md"]
    kept["runs"][runs.command(runs.strategy_words("er"))]["metrics"]["world_accuracy"] = 0.4321
    after = pages.generated()["strategies/er.md"]
    assert "43.2" in after
    assert before != after


def test_every_public_name_is_in_the_reference():
    named = [name for _, names in pages.FACES.values() for name in names]
    assert sorted(named) == sorted(clbench.HOMES)


@pytest.mark.parametrize("name", concepts.PICTURES)
def test_pictures_are_drawn_from_the_runs(name: str):
    """After a change: python -m benchmarks.site.concepts."""
    path = concepts.FOLDER / f"{name}.svg"
    assert path.read_text(encoding="utf-8") == concepts.drawn(name)
    page = (concepts.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert f"({name}.svg)" in page


def test_the_navigation_names_every_page():
    root = Path(pages.ROOT)
    nav = (root / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (root / "docs").rglob("*.md"):
        assert (
            f" {path.relative_to(root / 'docs').as_posix()}\n" in nav or "tutorials" in path.parts
        )
    marks = set(re.findall(r'"<(\w+)>"', nav))
    assert marks == {*pages.PLACES.values(), "api", "tutorials"}
