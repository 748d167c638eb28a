"""Help, list and show: what the command line tells about itself, and without importing torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import clbench

from clbench import cli
from clbench.plugins import registry
from clbench.results import metrics

COMMANDS = [command.__name__.rpartition(".")[2] for command in cli.COMMANDS]
PLUGINS = [p for group in registry.FOLDERS for p in registry.plugins(group).values()]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_teaches_by_an_example(capsys: Capture, command: str):
    code, out, err = clbench(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"clbench {command} " in out.split("options:")[1]


def test_help_names_every_command_and_the_exit_codes(capsys: Capture):
    code, out, _ = clbench(capsys, "--help")
    assert code == 0
    assert all(f"\n    {command}" in out for command in COMMANDS)
    assert "130 interrupted" in " ".join(out.split())
    assert clbench(capsys).code == 2


@pytest.mark.parametrize("word", ["rnu", "--nosuch"])
def test_an_unknown_command_is_refused_in_one_line(capsys: Capture, word: str):
    code, out, err = clbench(capsys, word)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert word in err


def test_commands_that_tell_of_clbench_do_not_import_torch():
    commands = [
        ["--help"],
        *([name, "--help"] for name in COMMANDS),
        ["list"],
        ["show", *(f"{p.group}={p.name}" for p in PLUGINS)],
        ["completion", "bash"],
    ]
    script = f"""
import sys
from clbench.cli import main
for words in {commands!r}:
    try:
        code = main(words)
    except SystemExit as error:
        code = error.code
    assert not code, words
    found = {{"torch", "matplotlib", "pandas", "pydantic", "scipy", "sklearn"}} & set(sys.modules)
    assert not found, (words, found)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_list_shows_every_plugin_with_a_line(capsys: Capture):
    code, out, _ = clbench(capsys, "list")
    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    measured = [[name, metric.help] for name, metric in metrics.table().items()]
    assert lines == [*([p.name, p.summary()] for p in PLUGINS), *measured]


def test_list_by_group_and_pattern(capsys: Capture):
    code, out, _ = clbench(capsys, "list", "data", "cifar*")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["data:", "cifar10", "cifar100"]


def test_list_as_json(capsys: Capture):
    code, out, _ = clbench(capsys, "list", "--json")
    found = json.loads(out)
    assert code == 0
    kinds = ["scenarios", "strategies", "data", "encoders", "models", "trackers", "metrics"]
    assert list(found) == kinds
    assert set(found["strategies"]) == set(registry.plugins("strategy"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("list", "strategeis"), "'strategies'"),
        (("show", "strategy=naiv"), "'naive'"),
        (("show", "strategie=naive"), "'strategy'"),
    ],
)
def test_did_you_mean(capsys: Capture, words: tuple[str, ...], hint: str):
    code, out, err = clbench(capsys, *words)
    assert (code, out) == (2, "")
    assert f"did you mean {hint}" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: f"{p.group}={p.name}")
def test_show_has_a_sentence_on_every_setting(capsys: Capture, plugin: registry.Plugin):
    word = f"{plugin.group}={plugin.name}"
    code, out, _ = clbench(capsys, "show", word, "--json")
    shown = json.loads(out)[word]
    assert code == 0
    assert shown["doc"]
    for setting in shown["settings"]:
        assert setting["help"].endswith("."), setting
        assert setting["type"]
    text = clbench(capsys, "show", word).out
    heads = [
        line.split("=")[0] for line in text.splitlines() if line.startswith(f"  {plugin.group}.")
    ]
    heads = [head.removesuffix(".NAME") for head in heads]  # of one with settings of its own
    assert heads == [f"  {plugin.group}.{s['name']}" for s in shown["settings"]]


def test_show_of_the_common_settings(capsys: Capture):
    out = clbench(capsys, "show", "--json").out
    [shown] = json.loads(out).values()
    assert {"seed", "device", "eval_every"} <= {s["name"] for s in shown["settings"]}
    assert all(s["help"].endswith(".") for s in shown["settings"])


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("model=mlp", "model.hidden=[64,64]"),
        ("strategy=ewc", "strategy.optimizer=sgd"),
        ("scenario=scole", "scenario.chunk=null"),
    ],
)
def test_defaults_are_shown_as_one_types_them(capsys: Capture, word: str, line: str):
    assert f"  {line}   (" in clbench(capsys, "show", word).out


def test_version(capsys: Capture):
    code, out, _ = clbench(capsys, "--version")
    assert code == 0
    assert out.startswith("clbench ")


@pytest.mark.parametrize(
    ("word", "model"),
    [
        ("data=mnist5k", "scole_cnn"),
        ("data=cifar100", "slim_resnet18"),
        ("data=digits", "mlp"),
        ("encoder=random", "mlp"),
        ("data=folder", None),
    ],
)
def test_show_says_which_network_data_give(capsys: Capture, word: str, model: str | None):
    """Against the plug-in itself, which is asked here and read there."""
    group, _, name = word.partition("=")
    if model is not None:
        assert registry.plugins(group)[name].with_defaults().default_model() == model
    said = f"A run with {word} that names no model= gets: "
    out = clbench(capsys, "show", word).out
    assert said + (model or "what suits the shape of its samples") + "\n" in out
    [shown] = json.loads(clbench(capsys, "show", word, "--json").out).values()
    assert shown["default_model"] == model
    [other] = json.loads(clbench(capsys, "show", "strategy=naive", "--json").out).values()
    assert "default_model" not in other


def test_a_signal_that_python_turns_into_another_error_is_an_interruption(
    capsys: Capture, tmp_path: Path
):
    source = """import os, signal

class Field:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)

class Settings:
    field = Field()
"""
    (tmp_path / "mine.py").write_text(source)
    words = ("run", "scenario=scole", f"strategy={tmp_path / 'mine.py'}", "--out", str(tmp_path))
    code, _, err = clbench(capsys, *words)
    assert (code, err) == (130, "clbench: interrupted\n")
