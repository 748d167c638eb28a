"""What an isolated process may answer: everything else is an error in one line."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small import run
from test_isolate import NAIVE

from clbench.errors import ClbenchError
from clbench.leaderboard.reproduce import isolate
from clbench.leaderboard.reproduce.child import Child
from clbench.leaderboard.reproduce.hygiene import Limits
from clbench.leaderboard.reproduce.isolate import RemoteStrategy, job_of
from clbench.leaderboard.reproduce.processes import Popened, Zygote
from clbench.leaderboard.reproduce.remote import Start
from clbench.leaderboard.reproduce.spent import Account, Spent
from clbench.leaderboard.reproduce.state import (
    MAX_TEXT,
    MAX_TREE,
    canonical,
    join,
    refuse_hidden_text,
    split,
)
from clbench.leaderboard.reproduce.wire import WireError
from clbench.leaderboard.reproduce.zygote import _started


@pytest.mark.skipif(sys.platform != "linux", reason="counts what is open in /proc")
def test_a_process_that_the_kernel_refuses_leaves_nothing_open(tmp_path: Path):
    def refuses() -> int:
        raise OSError(28, "No space left on device")

    ours, theirs = socket.socketpair()
    zygote = object.__new__(Zygote)
    zygote.started, zygote.control = 0, ours
    zygote.folder = SimpleNamespace(name=str(tmp_path))  # type: ignore[assignment]
    before = len(os.listdir("/proc/self/fd"))

    def line() -> dict[str, str]:
        _, fds, _, _ = socket.recv_fds(theirs, 4096, 3)
        with pytest.raises(OSError, match="No space"):
            _started(refuses, fds, namespaces=True)
        return {"fault": "No space left on device"}

    zygote._line = line  # type: ignore[method-assign]
    with ours, theirs, pytest.raises(ClbenchError, match="does not start: No space left on device"):
        zygote.start()
    assert len(os.listdir("/proc/self/fd")) == before - 2  # the two sockets


def _fake(tmp_path: Path, answer: str, limits: Limits = isolate.DEFAULT_LIMITS) -> Start:
    """A worker that comes up well and then answers each call with what ``answer`` evaluates to."""
    code = f"""
import json, struct, sys, time
source, sink = sys.stdin.buffer, sys.stdout.buffer
def frame(header, payload=b"", n=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<IQ", len(text), len(payload) if n is None else n) + text + payload
told = {{"id": 0}}
while True:
    lengths = source.read(12)
    if not lengths: break
    source.read(sum(struct.unpack("<IQ", lengths)))
    sink.write(frame(told) if told["id"] == 0 else {answer})
    sink.flush()
    told = {{"id": told["id"] + 1, "training": True}}
"""

    def start() -> tuple[Child, Path]:
        process = Popened((sys.executable, "-c", code), tmp_path, 1)
        return Child("fake", process, limits), tmp_path

    return start


def _floats(rows: int, columns: int, name: str = "scores") -> str:
    end = rows * columns * 4
    head = {name: {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, end]}}
    text = json.dumps(head).encode()
    return f"frame(told, {struct.pack('<Q', len(text)) + text!r} + bytes({end}))"


def _ask(start: Start) -> torch.Tensor:
    remote = RemoteStrategy(job_of(run(*NAIVE)), start, rebuild=False)
    try:
        return remote(torch.zeros(3, 6))
    finally:
        remote.stop()


def test_the_fake_worker_can_answer_well(tmp_path: Path) -> None:
    assert torch.equal(_ask(_fake(tmp_path, _floats(3, 4))), torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("frame(told, n=1 << 62)", "a frame of"),
        ("struct.pack('<IQ', 1 << 31, 0)", "a frame of"),
        ("b'x' * 100", "a frame of"),
        ("frame(told, bytes(100))", "not safetensors"),
        ("frame(b'[' * 60000)", "not JSON"),
        ("frame(b'NaN')", "not JSON"),
        ("frame([])", "not a JSON object"),
        ("frame({**told, 'id': 7})", "another call"),
        ("frame({**told, 'error': 5})", "raised None"),
        ("frame({**told, 'error': {'type': 'x' * 9000, 'message': '\\ud800'}})", r"x\.\.\."),
        (_floats(4, 3), "floats of shape"),
        (_floats(3, 4, "score"), "floats of shape"),
        (_floats(300, 4000), "a frame of"),
        ("sys.exit('my last words')", "exit code 1; its last words: my last words"),
        ("b'' if sys.stdout.close() else b''", "ended with|closed"),
    ],
)
def test_an_answer_that_breaks_the_protocol_is_an_error(
    answer: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ClbenchError, match=message) as caught:
        _ask(_fake(tmp_path, answer))
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 800


def test_the_wall_clock_is_watched_while_it_is_silent(tmp_path: Path) -> None:
    start = _fake(tmp_path, "time.sleep(60)", Limits(wall_seconds=1.0))
    with pytest.raises(ClbenchError, match="longer than wall_seconds=1"):
        _ask(start)


TREES = {
    "no JSON": ("{", {}),
    "a bare list": ("[]", {}),
    "an unknown kind": ('{"set": []}', {}),
    "two kinds": ('{"list": [], "dict": []}', {}),
    "a tensor that is not there": ('{"tensor": "0"}', {}),
    "a tensor that nothing holds": ('{"dict": []}', {"0": torch.zeros(1)}),
    "a long key": (json.dumps({"dict": [["k" * 201, 1]]}), {}),
    "a key that is no text": ('{"dict": [[[1], 1]]}', {}),
    "deep nesting": ('{"list": [' * 5000 + "]}" * 5000, {}),
    "a large tree": (json.dumps("x" * (MAX_TREE + 1)), {}),
}


@pytest.mark.parametrize("what", TREES)
def test_a_state_that_is_none_is_an_error(what: str) -> None:
    with pytest.raises(WireError, match="a state "):
        join(*TREES[what])


def test_a_state_comes_back_as_it_was() -> None:
    state = OrderedDict(
        a=torch.arange(3), nested={0: (1, 2.5, None), "x": [True, "text", float("inf")]}
    )
    tree, tensors = split(state)
    back = join(tree, tensors)
    assert type(back) is OrderedDict
    assert torch.equal(back.pop("a"), state.pop("a"))
    assert back == state
    with pytest.raises(TypeError, match="keep tensors and plain data"):
        split({"a": object()})


KNOWN = OrderedDict({f"layers.{k}.weight": torch.zeros(64, 64) for k in range(20)})
RANDOM = random.Random(0)
HIDDEN = {
    "keys": {"".join(RANDOM.choices("abcdefghij", k=100)): None for _ in range(100)},
    "texts": ["".join(RANDOM.choices("abcdefghij", k=1000)) for _ in range(10)],
    "numbers": [[RANDOM.random() for _ in range(100)] for _ in range(10)],
    "large numbers": [RANDOM.randrange(10**4000)],
    "shapes": [torch.zeros(0, *[RANDOM.randrange(1 << 7) for _ in range(7)]) for _ in range(400)],
    "nesting": [RANDOM.choice(([], (), {}, [[]])) for _ in range(20_000)],
    "order": RANDOM.sample([f"k{n}" for n in range(1000)], 1000),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_a_state_hides_little_outside_its_tensors(how: str) -> None:
    known = canonical(KNOWN)[2]
    text = canonical({**KNOWN, "more": HIDDEN[how]})[2]
    with pytest.raises(TypeError, match="keep memory in tensors"):
        refuse_hidden_text(text, known, 0)


def test_what_a_state_says_of_its_tensors_is_not_memory() -> None:
    """An optimizer that has begun, counters, and a few words about each of many classes."""
    known = canonical(KNOWN)[2]
    states = {
        k: {name: torch.zeros(64, 64) for name in ("step", "exp_avg", "exp_avg_sq")}
        for k in range(20)
    }
    begun = {**KNOWN, "optimizer": {"state": states, "lr": 0.001}, "seen": [*range(100)]}
    text = canonical(begun)[2]
    assert len(text) > 2 * MAX_TEXT
    refuse_hidden_text(text, known, 0)
    refuse_hidden_text(text, text, 0)


def test_a_large_network_may_have_many_names() -> None:
    names = {f"{RANDOM.random()}": torch.zeros(1) for _ in range(200)}
    text = canonical(names)[2]
    refuse_hidden_text(text, b"", 10_000_000)
    with pytest.raises(TypeError, match="at most 1024"):
        refuse_hidden_text(text, b"", 1_000_000)


def test_work_outside_of_learning_and_predicting_is_refused() -> None:
    plain = Account(train=Spent(900, 9, 1.0), predict=Spent(100), outside=Spent(10, 0, 1.0))
    assert plain.hidden() == ""
    assert "1e+09 operations" in Account(plain.train, plain.predict, Spent(10**9)).hidden()
    assert "takes 1 optimizer steps" in Account(plain.train, plain.predict, Spent(0, 1)).hidden()


def test_cpu_seconds_outside_are_compared_with_those_of_the_anchor() -> None:
    anchor = Account(outside=Spent(seconds=1.0))
    for mine, hidden in ((1.9, 0.0), (5.0, 3.0), (None, 0.0)):
        assert Account(outside=Spent(seconds=mine)).seconds_hidden(anchor) == hidden
    known = Spent()
    known.add_seconds(1.0)
    known.add_seconds(None)
    known.add_seconds(1.0)
    assert known.seconds is None
