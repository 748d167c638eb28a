"""A fault in a user's plug-in is one line with its file and line, before anything is trained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import clbench, tiny
from small import write_npz

Capture = pytest.CaptureFixture[str]
HEAD = "from dataclasses import dataclass\nimport torch\nfrom torch import nn\nimport clbench\n"

STRATEGY = (
    HEAD
    + """
class Mine(clbench.Strategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.n = info.n_classes

    def learn(self, task):
        pass

    def forward(self, x, task_id=None):
        return torch.zeros(len(x), self.n)
"""
)
SCENARIO = (
    HEAD
    + """
@dataclass(frozen=True)
class Mine(clbench.Scenario):
    def stream(self, pool, seed):
        def plan(t):
            return clbench.Task((0, 1))

        return clbench.Stream(pool, seed, plan, n_tasks=2, labels=(0, 1))
"""
)
DATA = (
    HEAD
    + """
import numpy as np

@dataclass(frozen=True)
class Mine(clbench.DataSet):
    def arrays(self):
        x, y = np.zeros((8, 4), dtype=np.float32), np.arange(8) % 4
        return clbench.Arrays(x, y, x, y, 4)

    def default_model(self):
        return "mlp"
"""
)
MODEL = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self, d, n):
        super().__init__()
        self.last = nn.Linear(d, n)

    def forward(self, x):
        return self.last(x.float())

@dataclass(frozen=True)
class Mine(clbench.Model):
    def build(self, input_shape, n_classes, scale):
        return Net(input_shape[0], n_classes)
"""
)
ENCODER = (
    HEAD
    + """
@dataclass(frozen=True)
class Mine(clbench.Encoder):
    def build(self, input_shape, scale):
        return nn.Linear(input_shape[0], 3)
"""
)
TRACKER = (
    HEAD
    + """
class Mine(clbench.Tracker):
    def __init__(self, config):
        super().__init__(config)

    def progress(self, progress):
        pass
"""
)
GOOD = {
    "strategy": STRATEGY,
    "scenario": SCENARIO,
    "data": DATA,
    "model": MODEL,
    "encoder": ENCODER,
    "tracker": TRACKER,
}
MAIN = {
    "strategy": "def learn(",
    "scenario": "def stream(",
    "data": "def arrays(",
    "model": "def build(",
    "encoder": "def build(",
    "tracker": "def progress(",
}
"""The method that the group's base asks for."""


def words(tmp_path: Path, group: str, text: str) -> list[str]:
    path = tmp_path / "mine.py"
    path.write_text(text)
    npz = write_npz(tmp_path / "blobs.npz")
    given = {word.partition("=")[0]: word for word in ["strategy=er", *tiny(npz), "tracker=none"]}
    if group in ("data", "model", "scenario"):
        given = {k: v for k, v in given.items() if not k.startswith(f"{group}.")}
    if group == "data":
        given = {k: v for k, v in given.items() if not k.startswith("model")}
    given[group] = f"{group}={path}"
    return [*given.values(), "--out", str(tmp_path / "runs")]


def refused(capsys: Capture, tmp_path: Path, group: str, text: str) -> tuple[str, str]:
    """The error, and the text of the line of the user's file that it names."""
    given = words(tmp_path, group, text)
    code, out, err = clbench(capsys, "run", *given)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert str(tmp_path) not in err
    assert not list(tmp_path.rglob("record.json"))
    found = re.match(r"clbench: error: mine\.py line (\d+): ", err)
    assert found, err
    return err, text.splitlines()[int(found[1]) - 1]


@pytest.mark.parametrize("group", GOOD)
def test_a_sound_one_runs(capsys: Capture, tmp_path: Path, group: str):
    code, _, err = clbench(capsys, "run", *words(tmp_path, group, GOOD[group]), "-q")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("group", GOOD)
@pytest.mark.parametrize("error", ["raise RuntimeError('spoilt')", "raise SystemExit(0)", "1 / 0"])
def test_an_error_at_import(capsys: Capture, tmp_path: Path, group: str, error: str):
    err, line = refused(capsys, tmp_path, group, GOOD[group] + f"\n{error}\n")
    assert line == error
    assert "does not import" in err


@pytest.mark.parametrize("group", GOOD)
def test_a_missing_method_is_named(capsys: Capture, tmp_path: Path, group: str):
    name = MAIN[group].removeprefix("def ").removesuffix("(")
    text = GOOD[group].replace(f"def {name}(", "def other(")
    err, line = refused(capsys, tmp_path, group, text)
    assert line.startswith("class Mine(")
    assert f"class Mine lacks the method {name}(self" in err


@pytest.mark.parametrize("group", ["scenario", "data", "model", "encoder"])
def test_settings_without_the_decorator(capsys: Capture, tmp_path: Path, group: str):
    at = GOOD[group].rindex("@dataclass(frozen=True)\n")
    text = GOOD[group][:at] + GOOD[group][at:].replace("@dataclass(frozen=True)\n", "")
    text = re.sub(r"(class Mine\(.*\):\n)", r"\1    size: int = 3\n", text)
    err, line = refused(capsys, tmp_path, group, text)
    assert line.startswith("class Mine(")
    assert "the setting size" in err
    assert "@dataclass" in err


@pytest.mark.parametrize("group", ["strategy", "tracker"])
@pytest.mark.parametrize("head", ["class Config:", "class Config(clbench.{base}.Config):"])
def test_a_config_of_the_wrong_form(capsys: Capture, tmp_path: Path, group: str, head: str):
    config = f"    {head.format(base=group.capitalize())}\n        size: int = 3\n\n"
    text = re.sub(r"(class Mine\(.*\):\n)", rf"\1{config}", GOOD[group])
    _, line = refused(capsys, tmp_path, group, text)
    assert line.strip().startswith("class Config")


@pytest.mark.parametrize(
    ("group", "method"),
    [
        ("strategy", "__init__"),
        ("scenario", "stream"),
        ("scenario", "plan"),
        ("data", "arrays"),
        ("data", "default_model"),
        ("model", "__init__"),
        ("model", "forward"),
        ("model", "build"),
        ("encoder", "build"),
        ("tracker", "__init__"),
    ],
)
def test_an_error_in_a_method(capsys: Capture, tmp_path: Path, group: str, method: str):
    """Whatever is called before training: the line that raises, not that of a built-in."""
    text = re.sub(
        rf"^( *)(def {method}\(.*\):)$",
        r"\1\2\n\1    raise KeyError('spoilt')",
        GOOD[group],
        count=1,
        flags=re.MULTILINE,
    )
    err, line = refused(capsys, tmp_path, group, text)
    assert line.strip() == "raise KeyError('spoilt')"
    assert "KeyError: 'spoilt'" in err
    assert "er.py" not in err


@pytest.mark.parametrize(
    ("group", "method", "value", "says"),
    [
        ("scenario", "stream", "None", "must return a clbench.Stream, not None"),
        ("scenario", "stream", "[clbench.Task((0,))]", "must return a clbench.Stream, not a list"),
        ("scenario", "plan", "(0, 1)", "plan(0) must return a clbench.Task, not a tuple"),
        ("scenario", "plan", "clbench.Task((7,))", "IndexError"),
        ("scenario", "plan", "clbench.Task(3)", "TypeError"),
        ("data", "arrays", "(1, 2)", "must return clbench.Arrays, not a tuple"),
        ("data", "default_model", "None", "must return the name of a model, not None"),
        ("data", "default_model", "'mlpp'", "did you mean 'mlp'"),
        ("model", "build", "None", "must return a torch.nn.Module, not None"),
        ("model", "forward", "None", "must return scores of shape (2, 4), not None"),
        ("model", "forward", "x.float()[:, :2]", "shape (2, 2) for 2 samples of 4 classes"),
        ("encoder", "build", "3", "must return a torch.nn.Module, not a int"),
    ],
)
def test_a_wrong_value_is_told_by_its_type(
    capsys: Capture, tmp_path: Path, group: str, method: str, value: str, says: str
):
    text = re.sub(
        rf"^( *)(def {method}\(.*\):)$",
        rf"\1\2\n\1    return {value}",
        GOOD[group],
        count=1,
        flags=re.MULTILINE,
    )
    err, line = refused(capsys, tmp_path, group, text)
    assert says in err
    assert f"def {method}(" in line or value in line


@pytest.mark.parametrize("plan", ["[clbench.Task((0, 1))]", "clbench.Task((0, 1))"])
def test_a_plan_that_is_no_function(capsys: Capture, tmp_path: Path, plan: str):
    text = SCENARIO.replace("seed, plan,", f"seed, {plan},")
    err, line = refused(capsys, tmp_path, "scenario", text)
    assert "must be a function of the task's number" in err
    assert "def " in line


@pytest.mark.parametrize("labels", ["(0, 9)", "('a', 'b')", "3"])
def test_labels_that_the_data_do_not_have(capsys: Capture, tmp_path: Path, labels: str):
    text = SCENARIO.replace("labels=(0, 1)", f"labels={labels}")
    err, line = refused(capsys, tmp_path, "scenario", text)
    assert "TypeError" in err
    assert "def " in line


def test_a_clbench_error_that_a_users_file_causes(capsys: Capture, tmp_path: Path):
    text = DATA.replace("np.arange(8) % 4", "np.arange(8)")
    err, line = refused(capsys, tmp_path, "data", text)
    assert "labels run from 0 to 7" in err
    assert line.strip().startswith("return clbench.Arrays")


@pytest.mark.parametrize(
    ("group", "before", "after"),
    [
        ("strategy", "        pass\n", "        raise KeyError('late')\n"),
        (
            "model",
            "        return self.last",
            "        assert not x.any()\n        return self.last",
        ),
        ("scenario", "    return clbench.Task((0, 1))", "    return [clbench.Task((0, 1))][t % 2]"),
    ],
)
def test_an_error_in_training_has_its_place_in_the_record(
    capsys: Capture, tmp_path: Path, group: str, before: str, after: str
):
    text = GOOD[group].replace(before, after).replace("n_tasks=2", "n_tasks=3")
    code, _, err = clbench(capsys, "run", *words(tmp_path, group, text), "-q")
    assert code == 1, err
    [path] = tmp_path.rglob("record.json")
    error = json.loads(path.read_text())["error"]
    assert re.search(r" \(mine\.py line \d+\)$", error["message"])
    assert err.count("\n") == 1
