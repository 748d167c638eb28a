"""What signals do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clbench.util import stopping

NUMBERS = [getattr(signal, name) for name in stopping.NAMES if hasattr(signal, name)]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")


@pytest.fixture(autouse=True)
def a_lost_terminal_is_told() -> Iterator[None]:
    """Tests that run under ``nohup`` have SIGHUP ignored from the start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_is_deferred_and_the_second_is_not(number: signal.Signals):
    before = signal.getsignal(number)
    with stopping.deferred() as wanted:
        assert not wanted()
        os.kill(os.getpid(), number)
        assert wanted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", NUMBERS)
def test_outside_of_a_run_it_interrupts_at_once(number: signal.Signals):
    with stopping.interrupting(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_what_is_ignored_stays_ignored():
    """``nohup clbench run`` goes on when the terminal is lost."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.deferred() as wanted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not wanted()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_change_nothing():
    found = []

    def elsewhere() -> None:
        with stopping.deferred() as wanted:
            found.append((wanted(), signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [(False, before)]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX signals")
@pytest.mark.parametrize("lets_in", [False, True])
def test_a_process_started_while_signals_are_held_gets_them_when_it_lets_them_in(lets_in: bool):
    code = f"""
import os, signal
os.kill(os.getpid(), signal.SIGUSR1)
from clbench.util import stopping
with stopping.deferred() as signalled:
    if {lets_in}:
        stopping.let_in()
    print(signalled())
"""
    with stopping.held():
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.communicate() == (f"{lets_in}\n", None)
    assert child.returncode == 0


def test_a_signal_that_an_import_turns_into_its_own_error_is_told():
    with stopping.interrupting() as came:
        assert not came()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), NUMBERS[0])
        assert came()


def test_an_interruption_inside_exec_leaves_with_130(tmp_path: Path) -> None:
    # Python kills itself by SIGINT at its end if one went through exec(), as in making a dataclass.
    source = tmp_path / "mine.py"
    source.write_text("exec('import signal; signal.raise_signal(signal.SIGTERM)')\n")
    words = ["-m", "clbench", "run", "scenario=scole", f"strategy={source}", "--dry-run"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "clbench: interrupted\n")
