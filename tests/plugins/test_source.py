"""What source code says without being run, against what it says when it is."""

from __future__ import annotations

import ast
import dataclasses
import shutil
from pathlib import Path

import pytest

from clbench.plugins import registry, source
from clbench.plugins.source import settings, source_sha256

PLUGINS = [
    plugin
    for group in ("scenario", "strategy", "data", "model")
    for plugin in registry.plugins(group).values()
]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: f"{p.group}-{p.name}")
def test_settings_are_the_fields_of_the_loaded_class(plugin: registry.Plugin):
    cls = plugin.load()
    of = cls.Config if plugin.group == "strategy" else cls
    fields = {field.name: field for field in dataclasses.fields(of)}
    read = settings(plugin.path)
    assert sorted(s.name for s in read) == sorted(fields)
    own = [name for name in vars(of).get("__annotations__", {}) if name in fields]
    assert [s.name for s in read[: len(own)]] == own
    for setting in read:
        field = fields[setting.name]
        # ``Annotated[float, Positive]`` is shown as a float that is positive.
        declared = str(field.type).removeprefix("Annotated[")
        assert setting.type == field.type or declared.startswith(f"{setting.type}, ")
        assert setting.help, f"{setting.name} has no sentence"
        assert setting.help.endswith(".")
        try:
            written = ast.literal_eval(setting.default)
        except ValueError:
            continue
        assert written == field.default


def test_settings_of_a_users_strategy_come_before_those_it_inherits(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(
        '"""Mine."""\nfrom dataclasses import dataclass\n'
        "from clbench.strategy import GradientStrategy as Base\n\n\n"
        "class Mine(Base):\n"
        "    @dataclass(frozen=True)\n"
        "    class Config(Base.Config):\n"
        '        own: int = 3\n        """Its own\n        setting."""\n'
        "        lr: float | None = 0.5\n"
    )
    read = {s.name: s for s in settings(path)}
    assert list(read)[:2] == ["own", "lr"]
    assert read["own"] == source.Setting("own", "int", "3", "Its own setting.")
    assert read["lr"].default == "0.5"
    assert "momentum" in read


def test_settings_of_a_strategy_without_a_config_are_inherited(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from clbench.strategy import GradientStrategy\nclass Mine(GradientStrategy):\n    pass\n"
    )
    assert [s.name for s in settings(path)] == [
        s.name for s in settings(registry.find("strategy", "naive").path)
    ]


# --- hashes --------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the engine that may be edited; plug-ins lie beside it, as in a checkout."""
    root = tmp_path / "checkout"
    shutil.copytree(source.PACKAGE, root / "clbench", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("strategies", "scenarios"):
        group = {"strategies": "strategy", "scenarios": "scenario"}[folder]
        shutil.copytree(registry.builtin_folder(group), root / folder)
    monkeypatch.setattr(source, "PACKAGE", root / "clbench")
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_hashes_do_not_depend_on_where_the_files_are(engine: Path):
    copied = source_sha256(engine / "strategies" / "ewc.py")
    source_here = registry.find("strategy", "ewc").path
    assert copied == source_sha256(source_here)


def test_comments_docstrings_and_layout_do_not_count(engine: Path):
    path = engine / "strategies" / "ewc.py"
    before = source_sha256(path)
    edit(path, '"""Elastic Weight Consolidation', '"""Rubber Weight Consolidation')
    edit(path, '"""Estimator of the Fisher diagonal.', '"""How the Fisher is found.')
    edit(path, "self.importance.add_(new)", "self.importance.add_(  # a comment\n    new\n)")
    edit(engine / "clbench" / "nets" / "optim.py", '"""The optimizer of', '"""An optimizer of')
    assert source_sha256(path) == before


def test_code_counts(engine: Path):
    path = engine / "strategies" / "ewc.py"
    before = source_sha256(path)
    edit(path, "default=1.0, metadata", "default=0.5, metadata")
    after = source_sha256(path)
    assert after["own"] != before["own"]
    assert after["engine"] == before["engine"]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("strategy.py", "self.mean_loss.div_(n_steps)", "self.mean_loss.div_(n_steps + 0)"),
        ("nets/optim.py", "alpha=-group", "alpha=-1 * group"),
        ("fisher/layers.py", "import torch\n", "import torch\nCHANGED = 1\n"),
        ("seeding.py", "TASK = 1", "TASK = 11"),
    ],
)
def test_code_of_the_engine_that_is_used_counts(engine: Path, module: str, old: str, new: str):
    path = engine / "strategies" / "ewc.py"
    before = source_sha256(path)
    edit(engine / "clbench" / module, old, new)
    after = source_sha256(path)
    assert after["own"] == before["own"]
    assert after["engine"] != before["engine"]


def test_code_of_the_engine_that_is_not_used_does_not_count(engine: Path):
    path = engine / "strategies" / "ewc.py"
    before = source_sha256(path)
    for module in (
        "trackers/progress.py",
        "results/plots.py",
        "engine/execute.py",
        "results/tables.py",
    ):
        edit(engine / "clbench" / module, "from __future__ import annotations", "CHANGED = 1")
    assert source_sha256(path) == before


def test_a_strategy_that_extends_a_built_in_one_is_hashed_with_it(engine: Path, tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text("from clbench.strategies.ewc import EWC\n\n\nclass Mine(EWC):\n    pass\n")
    before = source_sha256(path)
    edit(engine / "strategies" / "ewc.py", "default=1.0, metadata", "default=0.5, metadata")
    assert source_sha256(path)["own"] != before["own"]
    assert "lam" in [s.name for s in settings(path)]


def test_the_same_code_under_another_name_has_the_same_hash(tmp_path: Path):
    text = "from clbench.strategy import GradientStrategy\nclass Mine(GradientStrategy): pass\n"
    (tmp_path / "a.py").write_text(text)
    (tmp_path / "zzz.py").write_text("\n\n" + text)
    assert source_sha256(tmp_path / "a.py") == source_sha256(tmp_path / "zzz.py")


def test_several_plugins_may_share_what_they_use(tmp_path: Path):
    """A strategy may import a built-in model, and the run use the same one."""
    (tmp_path / "a.py").write_text("from clbench.models.mlp import Mlp\n")
    mlp = registry.find("model", "mlp").path
    for paths in ([tmp_path / "a.py", mlp], [mlp, tmp_path / "a.py"]):
        assert set(source_sha256(*paths)) == {"own", "engine"}
