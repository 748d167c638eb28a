"""An isolated strategy: the same bits, and what it cannot do."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import go, run

from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.reproduce.child import one_line
from clbench.leaderboard.reproduce.hygiene import Limits, hygiene
from clbench.leaderboard.reproduce.isolate import isolated, job_of, source_of
from clbench.leaderboard.reproduce.processes import Popened, Zygote
from clbench.plugins.registry import Plugin

SCOLE = ("scenario=scole",)
NAIVE = (*SCOLE, "strategy=naive", "max_tasks=2")

NOISY = '''
"""Draws from every generator, remembers its mode, and writes to stdout."""
import os, random, sys
import numpy as np
import torch
from clbench.strategy import Strategy

class Noisy(Strategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.model = build_model()
        self.drop = torch.nn.Dropout(0.5)

    def learn(self, task):
        print("as large as a frame" * 5000)
        os.write(1, b"garbage")
        sys.__stdout__.write("more")
        self.eval() if len(task) % 2 else self.train()
        noise = random.random() + np.random.rand() + torch.rand(())
        with torch.no_grad():
            for p in self.model.parameters():
                p += self.drop(torch.randn_like(p)) * noise

    def prepare(self):
        with torch.no_grad():
            for p in self.model.parameters():
                p += torch.randn_like(p) * (1 + self.training)

    def forward(self, x, task_id=None):
        return self.model(x) + self.training

    def diagnostics(self):
        return {"draw": torch.rand(()), "modes": torch.tensor(self.drop.training)}
'''

SPY = '''
"""Tries what it should not be able to do, and tells through its diagnostics."""
import ctypes, fcntl, gc, os, socket, sys
from pathlib import Path
import torch
from clbench.strategy import Strategy

PORT, HOME, SECRET, PARENT, PATH = {port}, {home!r}, {secret!r}, {parent}, {path!r}

def attempt(call):
    try:
        return float(bool(call()))
    except (OSError, ModuleNotFoundError):
        return 0.0

def connect():
    socket.create_connection(("127.0.0.1", PORT), timeout=2).close()
    return True

def connect_by_path():
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect(PATH) is None

def locks():
    with open(torch.__file__) as file:
        return fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB) is None

def asks_for_locks():
    with open(torch.__file__) as file:
        return fcntl.fcntl(file, fcntl.F_GETLK, bytes(32))

def reaches_keys():
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

MISBEHAVING = '''
"""Does what its setting says."""
import dataclasses, os
import torch
from clbench.strategy import Strategy

class Misbehaving(Strategy):
    pretrained = True

    @dataclasses.dataclass(frozen=True)
    class Config(Strategy.Config):
        how: str = ""

    def learn(self, task):
        if self.config.how == "raise":
            raise KeyError("no\\nsuch \\x1b[31mthing")
        if self.config.how == "spin":
            while True:
                pass

    def prepare(self):
        torch.zeros(3 << 28)

    def forward(self, x, task_id=None):
        if len(x) == 1:
            os._exit(7)
        return torch.zeros(len(x), 2)

    def diagnostics(self):
        return {"pair": torch.zeros(2)}
'''


CHANNELS = ("connects_by_path", "locks", "asks_for_locks", "reaches_keys", "changes_times",
            "changes_modes", "sees_free_disk")  # fmt: skip
"""What one process could leave for the next, or tell one that runs beside it."""


@pytest.fixture
def plugin(tmp_path: Path) -> Any:
    def write(text: str, name: str = "mine") -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "words",
    [
        (*SCOLE, "strategy=er"),
        pytest.param((*SCOLE, "strategy=derpp", "prequential=true"), marks=pytest.mark.slow),
        pytest.param(
            (*SCOLE, "strategy=ewc", "strategy.lam=0.3", "strategy.penalty_step=explicit"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*SCOLE, "strategy=joint", "strategy.epochs=2", "strategy.budget=scratch"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bits_are_those_of_an_ordinary_run(words: tuple[str, ...], zygote: Zygote) -> None:
    """And so are all that is counted, although the learner is built anew twice."""
    this = run(*words, "max_tasks=5", "eval_every=2", "seed=3")
    _, here = go(this)
    with isolated(this, cuts=(2, 4), count=True, zygote=zygote) as strategy:
        first = strategy.learner
        _, there = go(this, strategy)
        assert strategy.learner is not first
        assert strategy.rebuild
        assert strategy.cpu_seconds
    assert (here.status, there.status) == ("completed", "completed")
    for what in ("learned", "prepared", "predicted", "updates", "uncounted", "memory_bytes"):
        assert getattr(there.ledger, what) == getattr(here.ledger, what), what
    assert max(there.ledger.state_bytes, strategy.held) == here.ledger.state_bytes
    assert strategy.train_operations >= here.ledger.learned[0][2]
    assert there.ledger.predictions_sha256 == here.ledger.predictions_sha256
    assert there.ledger.diagnostics == here.ledger.diagnostics


def test_bits_of_a_strategy_that_draws_and_prints(plugin: Any, zygote: Zygote) -> None:
    """In one process, as of a strategy that is not resumable."""
    this = run("scenario=class_incremental", f"strategy={plugin(NOISY)}", "eval_every=2")
    torch.manual_seed(0)  # the evaluation before the first experience draws from what is there
    _, here = go(this)
    torch.manual_seed(0)
    with isolated(this, rebuild=False, zygote=zygote) as strategy:
        assert strategy.state_dict() == {}
        _, there = go(this, strategy)
    assert there.ledger.correct == here.ledger.correct
    assert there.ledger.predictions_sha256 == here.ledger.predictions_sha256
    assert there.ledger.diagnostics["draw"][1:] == here.ledger.diagnostics["draw"][1:]
    assert there.ledger.diagnostics["modes"] == here.ledger.diagnostics["modes"]


@contextmanager
def _server(path: str | None = None) -> Iterator[Any]:
    if path is None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]
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
    expected |= {*CHANNELS} - {"reaches_keys"}  # some kernels and containers have no keys
    assert {name for name in expected if not found[name]} == set()


def _skip_without(measure: str) -> None:
    if hygiene()[measure] is not True:
        pytest.skip(f"{measure}: {hygiene()[measure]}")


def test_it_receives_inputs_and_no_labels(spied: dict[str, float]) -> None:
    assert spied["inputs"] == 20
    assert spied["labels"] == 0


def test_it_has_an_environment_and_a_home_of_its_own(spied: dict[str, float]) -> None:
    assert not spied["environment"]
    assert not spied["own_home"]
    assert spied["writes_own"]
    assert not spied["bytecode"]


def test_it_has_no_network(spied: dict[str, float]) -> None:
    if str(hygiene()["network"]).startswith("no"):
        pytest.skip(str(hygiene()["network"]))
    assert not spied["connects"]


def test_it_does_not_see_the_processes_outside(spied: dict[str, float]) -> None:
    _skip_without("processes")
    assert spied["others"] == 0
    if os.getpid() < 100:
        pytest.skip("in its namespace the number of this process may be another's")
    assert not spied["parent_environment"]
    assert not spied["signals_parent"]


def test_it_neither_reads_nor_writes_files_of_others(spied: dict[str, float]) -> None:
    _skip_without("files")
    for what in ("writes", "reads", "lists", "executes", "data_packages"):
        assert not spied[what], what


def test_it_leaves_nothing_for_another_process(spied: dict[str, float]) -> None:
    _skip_without("new_processes")
    for what in CHANNELS:
        assert not spied[what], what
    _skip_without("processes")
    assert not spied["sees_beside"]


def test_it_writes_no_large_file(spied: dict[str, float]) -> None:
    _skip_without("file_size")
    assert not spied["large_file"]


def test_errors_say_what_happened_and_the_process_goes_on(plugin: Any, zygote: Zygote) -> None:
    path = plugin(MISBEHAVING)
    this = run("scenario=scole", f"strategy={path}", "strategy.how=raise", "max_tasks=2")
    line = MISBEHAVING[: MISBEHAVING.index("raise KeyError")].count("\n") + 1
    limits = Limits(memory_bytes=1 << 30)
    with isolated(this, limits, rebuild=False, zygote=zygote) as strategy:
        assert strategy.pretrained
        with pytest.raises(ClbenchError, match=rf"'mine' raised KeyError at line {line}: .*thing"):
            strategy.learn(this.stream.experience(0))
        with pytest.raises(ClbenchError, match=r"must answer with floats of shape \(3, 4\)"):
            strategy(torch.zeros(3, 6))
        with pytest.raises(ClbenchError, match="0-d"):
            strategy.diagnostics()
        if hygiene()["memory"] is True:
            with pytest.raises(ClbenchError, match=r"raised RuntimeError .*allocate"):
                strategy.prepare()
        outcome = go(this, strategy)[1]
        for _ in range(2):
            with pytest.raises(ClbenchError, match="'mine' ended with exit code 7"):
                strategy(torch.zeros(1, 6))
    assert outcome.status == "error"


@pytest.mark.slow
def test_a_process_that_spins_is_an_error(plugin: Any) -> None:
    _skip_without("cpu")
    words = ("scenario=scole", f"strategy={plugin(MISBEHAVING)}", "strategy.how=spin")
    this = run(*words, "max_tasks=2")
    with (
        pytest.raises(ClbenchError, match="'mine' used more than cpu_seconds=4"),
        isolated(this, Limits(cpu_seconds=4)) as strategy,
    ):
        strategy.learn(this.stream.experience(0))


def test_what_cannot_be_built_is_a_usage_error(plugin: Any, zygote: Zygote) -> None:
    this = run(*NAIVE)
    source = source_of(Plugin("strategy", "mine", plugin("x = 1\nimport nothing_such\n")), {})
    with (
        pytest.raises(UsageError, match=r"mine\.py line 2: does not import: ModuleNotFoundError"),
        isolated(this, job=replace(job_of(this), strategy=source), zygote=zygote),
    ):
        pass


@pytest.mark.parametrize("name", ["../mine", "", "a/b", ".hidden", "C:x", "a\n"])
def test_a_name_is_not_a_path(name: str) -> None:
    this = run(*NAIVE)
    job = job_of(this)
    with (
        pytest.raises(UsageError, match="cannot be the name"),
        isolated(this, job=replace(job, strategy=replace(job.strategy, name=name))),
    ):
        pass


@pytest.mark.slow
def test_a_system_without_fork_starts_each_process_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    this = run(*NAIVE, "eval_every=2")
    _, here = go(this)
    monkeypatch.setattr("clbench.leaderboard.reproduce.isolate.can_fork", lambda: False)
    with isolated(this, count=True) as strategy:
        assert isinstance(strategy.learner.process, Popened)
        _, there = go(this, strategy)
        assert strategy.cpu_seconds is None
    assert there.ledger.predictions_sha256 == here.ledger.predictions_sha256


def test_settings_have_to_be_plain(plugin: Any) -> None:
    naive = Plugin("strategy", "mine", plugin("pass"))
    with pytest.raises(UsageError, match="not plain data"):
        source_of(naive, {"weights": Path("weights.pt")})
    assert source_of(naive, {"a": (1, float("inf"))}).settings == {"a": [1, "inf"]}


def test_every_measure_is_in_force_or_says_why() -> None:
    for device in ("cpu", "cuda"):
        for name, works in hygiene(device).items():
            assert works is True or str(works).startswith(("no: ", "partly: ")), name
    assert isinstance(hygiene("cuda")["memory"], str)


def test_one_line() -> None:
    assert one_line("a\n\x1b[31m b\ud800", 100) == "a [31m b"
    assert one_line("x" * 1000, 10) == "xxxxxxx..."
