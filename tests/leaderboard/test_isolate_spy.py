"""What an isolated process cannot see, reach or leave behind: a spy tries, here and in the parent."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from small import go, run
from test_isolate import NAIVE, skip_without

from clbench.leaderboard.reproduce.hygiene import Limits, hygiene
from clbench.leaderboard.reproduce.isolate import isolated, job_of, source_of
from clbench.plugins.registry import Plugin

SPY = '''
"""Tries what it should not be able to do, and tells through its diagnostics."""
import ctypes, gc, os, socket, sys
from pathlib import Path
import torch
from clbench.strategy import Strategy

PORT, HOME, SECRET, PARENT, PATH = {port}, {home!r}, {secret!r}, {parent}, {path!r}

def attempt(call):
    try:
        return float(bool(call()))
    except (OSError, ModuleNotFoundError, AttributeError):  # other systems lack some calls
        return 0.0

def connect():
    socket.create_connection(("127.0.0.1", PORT), timeout=2).close()
    return True

def connect_by_path():
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect(PATH) is None

def locks():
    import fcntl
    with open(torch.__file__) as file:
        return fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB) is None

def asks_for_locks():
    import fcntl
    with open(torch.__file__) as file:
        return fcntl.fcntl(file, fcntl.F_GETLK, bytes(32))

def reaches_keys():
    if sys.platform != "linux":
        return False
    keyctl, user_keyring = (250 if os.uname().machine == "x86_64" else 219), -4
    numbers = map(ctypes.c_long, (keyctl, 0, user_keyring, 1))
    return ctypes.CDLL(None).syscall(*numbers) > 0

class Spy(Strategy):
    def learn(self, task):
        self.seen = len(task)

    def forward(self, x, task_id=None):
        frame, found = sys._getframe(), []
        while frame:
            found += list(frame.f_locals.values())
            frame = frame.f_back
        things = [*gc.get_objects(), *found]
        self.inputs = len(x)
        tensors = [t for t in things if type(t) is torch.Tensor and t.dtype == torch.int64]
        self.labels = len([t for t in tensors if t.shape == x.shape[:1]])
        return torch.zeros(len(x), self.info.n_classes)

    def diagnostics(self):
        home = Path(HOME)
        found = dict(
            connects=attempt(connect),
            environment=any(SECRET in part for item in os.environ.items() for part in item),
            parent_environment=attempt(lambda: b"PYTHONHASHSEED=0" not in
                                       Path(f"/proc/{{PARENT}}/environ").read_bytes()),
            signals_parent=attempt(lambda: os.kill(PARENT, 0) is None),
            labels=self.labels,
            inputs=self.inputs,
            own_home=Path.home() == home,
            writes=attempt(lambda: (home / "written").write_text("x")),
            reads=attempt(lambda: (home / "labels").read_text()),
            lists=attempt(lambda: os.listdir(home)),
            writes_own=attempt(lambda: (Path.home() / "mine").write_text("x")),
            large_file=attempt(lambda: Path("large").write_bytes(bytes(2 << 20))),
            bytecode=not sys.dont_write_bytecode,
            hash_seed=hash("clbench"),
            fewer_instructions=torch.backends.cpu.get_cpu_capability() == "DEFAULT",
            executes=attempt(lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]) == 0),
            data_packages=attempt(lambda: __import__("sklearn.datasets") is not None),
            connects_by_path=attempt(connect_by_path),
            locks=attempt(locks),
            asks_for_locks=attempt(asks_for_locks),
            reaches_keys=attempt(reaches_keys),
            changes_times=attempt(lambda: os.utime(home) is None),
            changes_modes=attempt(lambda: home.chmod(0o755) is None),
            sees_free_disk=attempt(lambda: os.statvfs("/")),
            sees_beside=(Path.home().parent / "home").exists(),
            others=len([n for n in os.listdir("/proc") if n.isdigit()]) - 1,
        )
        return {{name: torch.tensor(float(value)) for name, value in found.items()}}
'''

CHANNELS = ("connects_by_path", "locks", "asks_for_locks", "reaches_keys", "changes_times",
            "changes_modes", "sees_free_disk")  # fmt: skip
"""What one process could leave for the next, or tell one that runs beside it."""


@contextmanager
def _server(path: str | None = None) -> Iterator[Any]:
    if path is None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]
        return
    if sys.platform != "linux":
        yield path
        return
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        yield path


@pytest.fixture(scope="module")
def finds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """What a spy finds, isolated and then in the parent, where there is something to find."""
    home = tmp_path_factory.mktemp("home")
    (home / "labels").write_text("0123")
    secret = "clbench-test-secret"
    by_path = str(tmp_path_factory.mktemp("s") / "socket")
    with pytest.MonkeyPatch.context() as patch, _server() as port, _server(by_path):
        patch.setenv("HOME", str(home))
        patch.setenv("CLBENCH_DATA", secret)
        patch.setenv("ATEN_CPU_CAPABILITY", "default")
        patch.chdir(tmp_path_factory.mktemp("current"))
        path = tmp_path_factory.mktemp("plugin") / "spy.py"
        named = dict(port=port, home=str(home), secret=secret, parent=os.getpid(), path=by_path)
        text = SPY.format(**named)
        path.write_text(text)
        this = run(*NAIVE)
        job = replace(job_of(this), strategy=source_of(Plugin("strategy", "spy", path), {}))
        limits = Limits(file_bytes=1 << 20)
        with isolated(this, limits, job, rebuild=False) as strategy:
            _, alone = go(this, strategy)
        if hygiene()["files"] is True:
            assert not (home / "written").exists()
        assert not [name for name in sys.modules if "strategy_spy_" in name], (
            "the parent imported it"
        )
        _, ordinary = go(run(*NAIVE[::2], f"strategy={path}"))
    assert alone.error is None
    assert ordinary.error is None
    return [
        {name: values[-1] or 0.0 for name, values in outcome.ledger.diagnostics.items()}
        for outcome in (alone, ordinary)
    ]


@pytest.fixture
def spied(finds: list[dict[str, float]]) -> dict[str, float]:
    return finds[0]


def test_the_spy_finds_what_is_not_kept_from_it(finds: list[dict[str, float]]) -> None:
    found = finds[1]
    on_linux = {"parent_environment"} if sys.platform == "linux" else set()
    expected = {"connects", "environment", "labels", "own_home", "writes", "reads", "lists"}
    expected |= {"signals_parent", "large_file", "executes", "data_packages"} | on_linux
    if on_linux:  # some kernels and containers have no keys
        expected |= {*CHANNELS} - {"reaches_keys"}
    assert {name for name in expected if not found[name]} == set()


def test_it_receives_inputs_and_no_labels(spied: dict[str, float]) -> None:
    assert spied["inputs"] == 20
    assert spied["labels"] == 0


def test_it_has_an_environment_and_a_home_of_its_own(spied: dict[str, float]) -> None:
    assert not spied["environment"]
    assert not spied["own_home"]
    assert spied["writes_own"]
    assert not spied["bytecode"]


def test_whoever_verifies_may_take_instructions_away(spied: dict[str, float]) -> None:
    assert spied["fewer_instructions"]


def test_it_has_no_network(spied: dict[str, float]) -> None:
    if str(hygiene()["network"]).startswith("no"):
        pytest.skip(str(hygiene()["network"]))
    assert not spied["connects"]


def test_it_does_not_see_the_processes_outside(spied: dict[str, float]) -> None:
    skip_without("processes")
    assert spied["others"] == 0
    if os.getpid() < 100:
        pytest.skip("in its namespace the number of this process may be another's")
    assert not spied["parent_environment"]
    assert not spied["signals_parent"]


def test_it_neither_reads_nor_writes_files_of_others(spied: dict[str, float]) -> None:
    skip_without("files")
    for what in ("writes", "reads", "lists", "executes", "data_packages"):
        assert not spied[what], what


def test_it_leaves_nothing_for_another_process(spied: dict[str, float]) -> None:
    skip_without("new_processes")
    for what in CHANNELS:
        assert not spied[what], what
    skip_without("processes")
    assert not spied["sees_beside"]


def test_it_writes_no_large_file(spied: dict[str, float]) -> None:
    skip_without("file_size")
    assert not spied["large_file"]
