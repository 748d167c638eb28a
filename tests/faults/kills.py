"""Kills: a run that is killed at any moment, by any signal, and resumed gives the same bits."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.forked import bits, dying_at_rename, killed, start, wait

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL")
STRATEGIES = (
    *("naive", "ewc", "si", "lwf", "er", "derpp", "mir", "agem", "kanerva", "joint", "ema"),
    *("generative_replay", "scole_replay", "gdumb"),
)
STREAMS = {
    "recurring": ("scenario=scole", "scenario.n_tasks=30", "scenario.share=0.3"),
    "chunked": ("scenario=scole", "scenario.n_tasks=8", "scenario.chunk=60"),
    "told": ("scenario=task_incremental", "scenario.n_tasks=5"),
}
START_SECONDS = 0.02
"""A signal before that may come before a process has any handler, and ends it as the system does."""
ALWAYS = ("--resume", "-q", "checkpoint_seconds=0", "threads=1")
SWEEP = (
    *("scenario=scole", "scenario.n_tasks=40", "scenario.share=0.3", "strategy=naive,er"),
    *("seed=0..1", "eval_every=log", "--jobs", "2"),
)


LAST_WORDS = "more: seed=0..4"
"""What stands below the table of a sweep: all is done, and a signal now only ends the process."""


@dataclass
class Tally:
    """What came of the kills."""

    kills: Counter[str] = field(default_factory=Counter)
    """By signal, or ``rename``."""
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str, log: Path) -> None:
        """Note a fault, with the last line that the command printed; all of it goes to stderr."""
        text = log.read_text(errors="replace") if log.exists() else ""
        sys.stderr.write(f"--- {what}\n{text}\n---\n")
        lines = text.strip().splitlines()
        self.faults.append(f"{what}: {lines[-1] if lines else ''}")


def single_runs(n: int, folder: Path, seed: int = 0) -> Tally:
    """Kill single runs ``n`` times in all, at random moments; each is resumed until it is done."""
    draw, tally = random.Random(seed), Tally()
    number = 0
    while sum(tally.kills.values()) < n:
        strategy = STRATEGIES[number % len(STRATEGIES)]
        stream = draw.choice(sorted(STREAMS))
        words = ["run", *STREAMS[stream], f"strategy={strategy}", f"seed={number}", *ALWAYS]
        number += 1
        alone, out, log = folder / "alone", folder / "killed", folder / "log"
        for stale in (alone, out):
            shutil.rmtree(stale, ignore_errors=True)
        began = time.monotonic()
        if wait(start([*words, "--out", str(alone)], log)) != 0:
            tally.fault(f"{strategy} on {stream} does not run", log)
            continue
        length = time.monotonic() - began
        for _ in range(8):
            kind = draw.choice((*SIGNALS, "rename"))
            if kind == "rename":
                dying = dying_at_rename(draw.randint(1, 30))
                code = wait(start([*words, "--out", str(out)], log, dying))
            else:
                delay = draw.uniform(START_SECONDS, length)
                code = killed([*words, "--out", str(out)], log, signal.Signals[kind], delay)
            if code == 0:  # it was done before
                break
            tally.kills[kind] += 1
            wanted = -signal.SIGKILL if kind in ("SIGKILL", "rename") else 130
            if code != wanted or "Traceback" in log.read_text(errors="replace"):
                tally.fault(f"{strategy} on {stream}, {kind}: exit code {code}", log)
        if wait(start([*words, "--out", str(out)], log)) != 0:
            tally.fault(f"{strategy} on {stream} is not resumed", log)
        elif bits(out) != bits(alone):
            tally.fault(f"{strategy} on {stream}: other bits", log)
        if left := [p.name for p in out.rglob("*.part")]:
            tally.fault(f"{strategy} on {stream}: {left} is left", log)
        _say("single runs", tally, n)
    return tally


def sweeps(n: int, folder: Path, seed: int = 0) -> Tally:
    """Kill sweeps with two workers ``n`` times in all: the parent, all, or one of the workers."""
    draw, tally = random.Random(seed), Tally()
    alone, log = folder / "sweep", folder / "log"
    began = time.monotonic()
    if wait(_sweep(alone, log)) != 0:
        tally.fault("the sweep does not run", log)
        return tally
    length, wanted = time.monotonic() - began, bits(alone)
    while sum(tally.kills.values()) < n:
        out = folder / "killed-sweep"
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(6):
            whom = draw.choice(("parent", "all", "worker"))
            name = "SIGKILL" if whom == "worker" else draw.choice(SIGNALS)
            pid = _sweep(out, log)
            time.sleep(draw.uniform(0.2, 0.9) * length)
            workers = _children(pid)
            whom = whom if workers else "parent"
            if os.waitpid(pid, os.WNOHANG)[0]:
                break
            number = signal.Signals[name]
            if whom == "worker":
                os.kill(draw.choice(workers), number)
            elif whom == "all":
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
            code, text = wait(pid), log.read_text(errors="replace")
            tally.kills[f"{name} to {whom}"] += 1
            codes = _codes(name, whom)
            if text.rstrip().endswith(LAST_WORDS):
                codes = (*codes, 0, -number)
            if code not in codes or "Traceback" in text:
                tally.fault(f"{name} to {whom}: exit code {code}", log)
            if whom == "worker" and code == 1 and "SIGKILL" not in text:
                tally.fault("the death of a worker is not named", log)
            if orphans := _left(workers, seconds=30):
                tally.fault(f"{name} to {whom}: {len(orphans)} orphans", log)
                for orphan in orphans:
                    os.kill(orphan, signal.SIGKILL)
        if wait(_sweep(out, log)) != 0:
            tally.fault("the sweep is not resumed", log)
        elif bits(out) != wanted:
            tally.fault("the sweep has other bits", log)
        _say("sweeps", tally, n)
    return tally


def _say(what: str, tally: Tally, n: int) -> None:
    """Where a long series stands, with the faults so far: it may be stopped before its end."""
    kills, faults = sum(tally.kills.values()), tally.faults
    sys.stderr.write(f"{what}: {kills} of {n} kills, {len(faults)} faults {faults[-3:]}\n")


def _codes(name: str, whom: str) -> tuple[int, ...]:
    """The exit codes that a killed sweep may leave with; 0: the worker had nothing left to do."""
    if whom == "worker":
        return (0, 1)
    return (-signal.SIGKILL,) if name == "SIGKILL" else (130,)


def _sweep(out: Path, log: Path) -> int:
    """Start a sweep in a new process: what is forked cannot spawn."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "clbench", "run", *SWEEP, *ALWAYS, "--out", str(out)],
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    process.returncode = 0  # it is waited for by its number
    return process.pid


def _children(pid: int) -> list[int]:
    """The workers of a sweep."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        return []

    def is_worker(child: str) -> bool:
        try:
            return b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            return False

    return [int(child) for child in found.read_text().split() if is_worker(child)]


def _left(pids: list[int], seconds: float) -> list[int]:
    """Which processes are still there after a while."""
    until = time.monotonic() + seconds
    left = pids
    while left and time.monotonic() < until:
        time.sleep(0.05)
        left = [pid for pid in left if _lives(pid)]
    return left


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
