"""A run's identity: what renames a run, and what does not."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import golden
import pytest
from small import pool, run

from clbench import seeding
from clbench.configure import common, config
from clbench.engine import build, version
from clbench.plugins import registry, source
from clbench.plugins.source import identity_sha256
from clbench.replay import ReplayStrategy
from clbench.seeding import Axis

MINE = '''"""A strategy of somebody's own."""
from dataclasses import dataclass
from clbench.errors import UsageError
from clbench.strategy import Batch, GradientStrategy


class Mine(GradientStrategy):
    """Descends."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        pull: float = 0.5
        """How strong."""

        def __post_init__(self):
            super().__post_init__()
            if self.pull < 0:
                raise UsageError(f"strategy.pull={self.pull} is below zero")
'''


def hash_of(*words: str) -> str:
    return run("scenario=scole", "scenario.n_tasks=2", *words).run_sha256


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def edited(path: Path, old: str, new: str) -> str:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return hash_of(f"strategy={path}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Descends."""', '"""Goes downhill."""  # a comment'),
        ("is below zero", "must not be negative"),
        ("from clbench.strategy import", "from clbench.elsewhere import"),
    ],
)
def test_rewording_and_moves_of_the_engine_rename_nothing(mine: Path, old: str, new: str):
    before = identity_sha256(mine)
    mine.write_text(mine.read_text().replace(old, new))
    assert identity_sha256(mine) == before


TELLING = '''
    def resolved(self) -> dict[str, object]:
        """Add the pull."""
        return {**super().resolved(), "pull": self.config.pull}
'''


REFUSING = TELLING.replace("resolved", "without_effect")


@pytest.mark.parametrize("telling", [TELLING, REFUSING])
def test_a_method_that_only_tells_renames_nothing(mine: Path, telling: str):
    before = identity_sha256(mine)
    mine.write_text(MINE + telling)
    assert identity_sha256(mine) == before
    mine.write_text(MINE + telling.replace("pull)", "pull + 1)"))
    assert identity_sha256(mine) == before
    mine.write_text(MINE + TELLING + REFUSING)
    assert identity_sha256(mine) == before


@pytest.mark.parametrize("use", ["self.resolved()", 'getattr(self, "resolved")()', "Mine.resolved"])
def test_it_counts_where_the_code_uses_it(mine: Path, use: str):
    learn = f"\n    def learn(self, task):\n        self.pull = {use}\n"
    mine.write_text(MINE + learn)
    before = identity_sha256(mine)
    mine.write_text(MINE + learn + TELLING)
    assert identity_sha256(mine) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [("pull: float = 0.5", "pull: float = 0.6"), ("self.pull < 0", "self.pull < -1")],
)
def test_code_of_ones_own_renames(mine: Path, old: str, new: str):
    before = hash_of(f"strategy={mine}")
    assert edited(mine, old, new) != before


def test_the_space_that_a_setting_is_tuned_over_renames_nothing(mine: Path):
    before = identity_sha256(mine)
    text = mine.read_text()
    first = "from dataclasses import dataclass\n"
    assert first in text
    assert "pull: float = 0.5" in text
    spaced = text.replace(
        first, "from dataclasses import dataclass, field\nfrom clbench.space import Log\n"
    ).replace(
        "pull: float = 0.5",
        'pull: float = field(default=0.5, metadata={"space": Log(0.1, 1)})',
    )
    mine.write_text(spaced)
    assert identity_sha256(mine) == before
    mine.write_text(spaced.replace("default=0.5", "default=0.6"))
    assert identity_sha256(mine) != before
    mine.write_text(spaced.replace('{"space": Log(0.1, 1)}', '{"identity": "always"}'))
    assert identity_sha256(mine) != before


def test_a_module_beside_a_plugin_is_its_own(mine: Path):
    (mine.parent / "helper.py").write_text("STEP = 1\n")
    mine.write_text("import helper\n" + MINE)
    before = identity_sha256(mine)
    (mine.parent / "helper.py").write_text("STEP = 2\n")
    assert identity_sha256(mine) != before


@pytest.mark.parametrize(
    ("text", "old"),
    [
        (
            "def f():\n    from clbench.nets.optim import step\n    return step\n",
            "clbench.nets.optim",
        ),
        ("import clbench.seeding as s\nx = s\n", "clbench.seeding"),
        ("if TYPE_CHECKING:\n    from clbench.stream import TaskData\n", "clbench.stream"),
    ],
)
def test_imports_of_the_engine_may_stand_anywhere(mine: Path, text: str, old: str):
    mine.write_text(text)
    before = identity_sha256(mine)
    mine.write_text(text.replace(old, f"clbench.util.{old.rpartition('.')[2]}"))
    assert identity_sha256(mine) == before


@pytest.mark.parametrize("inside", ["theirs", "."])
def test_other_packages_beside_an_installed_plugin_are_not_its_own(tmp_path: Path, inside: str):
    """As in site-packages, where torch stands beside what a user has installed."""
    site = tmp_path / "site"
    for package in ("theirs", "torch"):
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").write_text("VERSION = 1\n")
        (site / f"{package}-1.0.dist-info").mkdir()
    (site / "theirs" / "helper.py").write_text("STEP = 1\n")
    mine = site / inside / "mine.py"
    mine.write_text("import torch\nfrom theirs.helper import STEP\n" + MINE)
    before = identity_sha256(mine)
    (site / "torch" / "__init__.py").write_text("VERSION = 2\n")
    assert identity_sha256(mine) == before
    (site / "theirs" / "helper.py").write_text("STEP = 2\n")
    assert (identity_sha256(mine) == before) is (inside == ".")


def test_a_base_that_moves_keeps_its_version(monkeypatch: pytest.MonkeyPatch):
    der = registry.find("strategy", "der").load()
    before = version.results_versions(der)
    monkeypatch.setattr(ReplayStrategy, "__module__", "clbench.bases.replay")
    assert version.results_versions(der) == before
    assert {
        "engine": version.RESULTS_VERSION,
        **source.base_versions(registry.find("strategy", "der").path),
    } == before


def test_the_default_of_augment_in_ones_own_data_counts(tmp_path: Path):
    """The pool's hash does not tell it, and the source of data is no part of the identity."""
    real = registry.find("data", "npz").path.read_text()
    found = set()
    for value in ("none", "crop_flip"):
        mine = tmp_path / "my_data.py"
        line = f'    augment: str = "{value}"\n    path: Path'
        mine.write_text(real.replace("    path: Path", line, 1))
        words = ("scenario=scole", "strategy=naive", f"data={mine}")
        found.add(run(*words, on=pool(shape=(8, 8, 1))).run_sha256)
    assert len(found) == 2


def test_a_moved_plugin_is_the_same(mine: Path, tmp_path: Path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    moved = Path(shutil.copy(mine, other / "mine.py"))
    assert hash_of(f"strategy={mine}") == hash_of(f"strategy={moved}")


def test_engine_source_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch):
    before = run("scenario=scole", "strategy=er")
    real = source.source_sha256
    monkeypatch.setattr(build, "source_sha256", lambda *p: {**real(*p), "engine": "e" * 64})
    after = run("scenario=scole", "strategy=er")
    assert before.sources["engine"] != after.sources["engine"]
    assert before.run_sha256 == after.run_sha256


def test_a_version_renames_the_runs_that_stand_on_it(monkeypatch: pytest.MonkeyPatch):
    naive, er = hash_of("strategy=naive"), hash_of("strategy=er")
    monkeypatch.setattr(ReplayStrategy, "results_version", 2)
    assert (hash_of("strategy=naive"), hash_of("strategy=er") == er) == (naive, False)
    monkeypatch.setattr(version, "RESULTS_VERSION", version.RESULTS_VERSION + 1)
    assert hash_of("strategy=naive") != naive


def test_versions_name_the_bases():
    der = registry.find("strategy", "der").load()
    assert version.results_versions(der) == {
        "engine": version.RESULTS_VERSION,
        "dark": 2,
        "replay": 1,
    }


def test_a_common_setting_added_with_a_default_renames_nothing(monkeypatch: pytest.MonkeyPatch):
    before = hash_of("strategy=naive")

    @dataclass(frozen=True)
    class More(common.Common):
        later: bool = field(default=False, metadata=common.IF_SET)
        undeclared: int = 3

    for module in (common, config):
        monkeypatch.setattr(module, "Common", More)
    assert hash_of("strategy=naive") == before
    assert hash_of("strategy=naive", "later=true") != before


def test_a_plugin_setting_at_its_default_is_left_out():
    plain = run("scenario=scole", "strategy=ewc").config.identity()
    assert plain["strategy"] == {"name": "ewc"}
    assert hash_of("strategy=ewc") == hash_of("strategy=ewc", "strategy.lam=1.0")
    assert hash_of("strategy=ewc") != hash_of("strategy=ewc", "strategy.lam=2.0")


def test_every_common_setting_declares_its_part():
    assert set(common.roles().values()) <= {"always", "if_set", "never"}
    assert len(common.roles()) == len(dataclasses.fields(common.Common))


@pytest.mark.parametrize("words", ["seed=3", "device=cpu", "max_tasks=1", "checkpoint_seconds=1"])
def test_what_changes_no_result_renames_nothing(words: str):
    given = [] if words.startswith("device") else [words]
    assert hash_of("strategy=naive", *given) == hash_of("strategy=naive")


def test_seeding_every_experience_alike_fails_the_golden_counts(monkeypatch: pytest.MonkeyPatch):
    """The golden test would name ``strategy/er/recurring`` if the version were not raised."""
    real = seeding.seed_all

    def alike(seed: int, axis: Axis, *key: int) -> None:
        real(seed, axis, *(key and (0,)))

    monkeypatch.setattr(seeding, "seed_all", alike)
    name = "strategy/er/recurring"
    found: Any = golden.counts(golden.cases()[name])
    import json

    assert found != json.loads(golden.FILE.read_text())[name]
