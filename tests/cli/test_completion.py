"""Completion: argcomplete's scripts for three shells, and the words that they ask for."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from commands import clbench

from clbench.cli import completion
from clbench.plugins import registry

Capture = pytest.CaptureFixture[str]

# Asks for each command line as the script for bash does, in one process, and prints a line of answers.
ASK = """
import io, os, sys
from argcomplete.finders import CompletionFinder
from clbench.cli import main

class Asked(Exception):
    pass

def leave(code):
    raise Asked

call = CompletionFinder.__call__
os.environ |= {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
os.environ["_ARGCOMPLETE_COMP_WORDBREAKS"] = sys.argv[1]
os.environ["_ARGCOMPLETE_IFS"] = " "
for line in sys.argv[2:]:
    os.environ |= {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    out = io.StringIO()
    CompletionFinder.__call__ = lambda self, parser, **given: call(
        self, parser, **given, exit_method=leave, output_stream=out
    )
    try:
        main(line.split()[1:])
        raise SystemExit(f"{line}: was run")
    except Asked:
        print(out.getvalue())
found = {"torch", "matplotlib", "pandas", "sklearn", "omegaconf"} & set(sys.modules)
assert not found, found
"""
BASH_BREAKS = " \t\n\"'><=;|&(:"


def ask(*lines: str, breaks: str = " \t\n") -> list[list[str]]:
    """The candidates for the last word of each command line; none imports torch."""
    command = [sys.executable, "-c", ASK, breaks, *lines]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_scripts(capsys: Capture, shell: str):
    code, out, _ = clbench(capsys, "completion", shell)
    assert code == 0
    assert "_ARGCOMPLETE" in out
    program = shutil.which(shell)
    if program:
        done = subprocess.run([program, "-n"], input=out, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_only_these_shells(capsys: Capture):
    assert clbench(capsys, "completion", "tcsh").code == 2
    assert set(completion.SHELLS) == {"bash", "zsh", "fish"}


WORDS = {
    "clbench ru": ["run"],
    "clbench list s": ["scenarios", "strategies"],
    "clbench list e": ["encoders"],
    "clbench list m": ["models", "metrics"],
    "clbench run scenario=s": ["scenario=scole", "scenario=subgroup_shift", "scenario=synbols"],
    "clbench cache v": ["verify"],
    "clbench cache list v": [],
    "clbench run encoder=ra": ["encoder=random"],
    "clbench run encoder=random:mlp encoder.se": ["encoder.seed="],
    "clbench run encoder.d": [],
    "clbench run strategy=ew": ["strategy=ewc"],
    "clbench run strategy=ewc,na": ["strategy=ewc,naive"],
    "clbench run strategy=ewc strategy.lam": ["strategy.lam="],
    "clbench run strategy=ewc --jobs 2 strategy.lam": ["strategy.lam="],
    "clbench run strategy=ewc --quiet seed=1 strategy.lam": ["strategy.lam="],
    "clbench run --quiet strategy=ewc --jobs 2 sce": ["scenario="],
    "clbench run strategy=naive strategy.lam": [],
    "clbench run strategy=naive,ewc strategy.lam": ["strategy.lam="],
    "clbench run strategy=ewc strategy.mode=": ["strategy.mode=online", "strategy.mode=separate"],
    "clbench run compile=t": ["compile=true"],
    "clbench run strategy=ewc --jobs ": [],
    "clbench run see": ["seed="],
    "clbench run data.pa": [],
    "clbench run data=npz data.pa": ["data.path="],
    "clbench run strategy=nosuch strategy.l": [],
    "clbench tune strategy=ewc strategy.lam": ["strategy.lam="],
    "clbench fisher compute model=ml": ["model=mlp"],
    "clbench show sce": ["scenario="],
    "clbench check strategy=ew": ["strategy=ewc"],
    "clbench run --dry": ["--dry-run"],
    "clbench fisher compute --estimator s": ["sampled"],
    "clbench fisher convert x": [],
    "clbench nosuch x": [],
}


def test_words():
    assert dict(zip(WORDS, ask(*WORDS), strict=True)) == WORDS


def test_bash_parts_words_at_equal_signs():
    lines = ("clbench run scenario=sco", "clbench run strategy=ewc,na")
    assert ask(*lines, breaks=BASH_BREAKS) == [["scole"], ["ewc,naive"]]


def test_every_plugin_is_offered():
    lines = [f"clbench run {group}=" for group in registry.GROUPS]
    named = [[f"{g}={name}" for name in registry.plugins(g)] for g in registry.GROUPS]
    assert ask(*lines) == named


def test_a_setting_is_offered_with_its_sentence():
    found = completion.settings("strategy.la", ["strategy=ewc"])
    assert found["strategy.lam="].endswith(".")


BASH = """
clbench() {{ {python} -m clbench "$@"; }}
compopt() {{ :; }}
eval "$(clbench completion bash)"
COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9
_python_argcomplete clbench
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_takes_the_words_up():
    text = BASH.format(python=sys.executable, line="clbench run scenario=sco")
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["scole"], "")
