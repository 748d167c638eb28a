"""Completion: scripts for three shells, and the words they ask for."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from commands import clbench

from clbench import cli
from clbench.cli.completion import OPTIONS, SCRIPTS
from clbench.plugins import registry

Capture = pytest.CaptureFixture[str]


def complete(capsys: Capture, *words: str) -> list[str]:
    code, out, err = clbench(capsys, "__complete", *words)
    assert (code, err) == (0, "")
    return out.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(capsys: Capture, shell: str):
    code, out, _ = clbench(capsys, "completion", shell)
    assert code == 0
    assert "clbench __complete" in out
    program = shutil.which(shell)
    if program:
        done = subprocess.run([program, "-n"], input=out, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_only_these_shells(capsys: Capture):
    assert clbench(capsys, "completion", "tcsh").code == 2
    assert set(SCRIPTS) == {"bash", "zsh", "fish"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("ru",), ["run"]),
        (("list", "s"), ["scenarios", "strategies"]),
        (("run", "scenario=s"), ["scole", "subgroup_shift", "synbols"]),
        (("run", "scenario", "=", "s"), ["scole", "subgroup_shift", "synbols"]),
        (("list", "e"), ["encoders"]),
        (("list", "m"), ["models", "metrics"]),
        (("cache", "v"), ["verify"]),
        (("cache", "list", "v"), []),
        (("run", "encoder=r"), ["random"]),
        (("run", "encoder=random:mlp", "encoder.se"), ["encoder.seed="]),
        (("run", "encoder.d"), []),
        (("--whole", "run", "strategy=ew"), ["strategy=ewc"]),
        (("run", "strategy", "=", "ewc,na"), ["ewc,naive"]),
        (("run", "strategy=ewc", "strategy.la"), ["strategy.lam="]),
        (("run", "strategy", "=", "ewc", "strategy.la"), ["strategy.lam="]),
        (("run", "strategy=naive", "strategy.la"), []),
        (("run", "strategy=naive,ewc", "strategy.la"), ["strategy.lam="]),
        (("run", "see"), ["seed="]),
        (("run", "data.pa"), []),
        (("run", "data=npz", "data.pa"), ["data.path="]),
        (("show", "sce"), ["scenario="]),
        (("run", "--dry"), ["--dry-run"]),
        (("run", "strategy=nosuch", "strategy.l"), []),
        (("nosuch", "x"), []),
    ],
)
def test_words(capsys: Capture, words: tuple[str, ...], found: list[str]):
    assert complete(capsys, *words) == found


@pytest.mark.parametrize("words", [("run", "strategy="), ("run", "strategy", "=")])
def test_every_strategy_is_offered(capsys: Capture, words: tuple[str, ...]):
    assert complete(capsys, *words) == list(registry.plugins("strategy"))


def test_every_option_of_every_command_is_completed():
    parser = cli.build_parser()
    [commands] = [a for a in parser._actions if a.dest == "command"]
    assert set(OPTIONS) == set(commands.choices or ())
    for name, sub in dict(commands.choices or {}).items():
        shown = {o for a in sub._actions if a.help != "==SUPPRESS==" for o in a.option_strings}
        long = {o for o in shown if o.startswith("--")} - {"--help"}
        assert set(OPTIONS[name]) == long, name


BASH = """
{script}
compopt() {{ :; }}
clbench() {{ printf '%s\\n' {answers}; }}
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_clbench
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "answers", "found"),
    [
        ("clbench run scenario = s", "scole", "scole"),
        ("clbench run scenario = ''", "scole", "scole"),
        ("clbench ru", "run", "run"),
    ],
)
def test_bash_takes_the_words_up(words: str, answers: str, found: str):
    text = BASH.format(script=SCRIPTS["bash"], answers=answers, words=words)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([found], "")
