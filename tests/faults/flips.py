"""Flipped bits: a damaged file is refused or made anew, and never used."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from clbench.errors import ClbenchError


def flipped(path: Path, n: int, seed: int = 0) -> Iterator[int]:
    """Flip ``n`` single bits of a file, spread over all of it; each is put back afterwards.

    Yields:
        The bit that is flipped.
    """
    whole, draw = path.read_bytes(), random.Random(seed)
    step = 8 * len(whole) / n
    try:
        for k in range(n):
            at = int(step * k + draw.uniform(0, step))
            changed = bytearray(whole)
            changed[at // 8] ^= 1 << at % 8
            path.write_bytes(changed)
            yield at
    finally:
        path.write_bytes(whole)


def unnoticed(path: Path, n: int, read: Callable[[], object], seed: int = 0) -> list[int]:
    """The flipped bits with which ``read`` raises no ``ClbenchError``."""
    found = []
    for at in flipped(path, n, seed):
        try:
            read()
        except ClbenchError:
            continue
        found.append(at)
    return found


def checkpoint_file(folder: Path) -> tuple[Path, Callable[[], object]]:
    """A checkpoint of EWC after five tasks, and what reads it."""
    import clbench
    from clbench.engine import checkpoint
    from clbench.engine.harness import run_stream, start_ledger

    run = clbench.prepare(
        "scenario=scole", "strategy=ewc", "scenario.n_tasks=5", "model.hidden=[8]"
    )
    strategy, ledger = run.strategy(), start_ledger(run)
    run_stream(run, strategy, ledger)
    path = folder / "checkpoint"
    checkpoint.save(path, "it", ledger, strategy.state_dict())
    return path, lambda: checkpoint.load(path, "it", torch.device("cpu"))


def fisher_file(folder: Path) -> tuple[Path, Callable[[], object]]:
    """A released Fisher, and what reads it."""
    from clbench.cli import main
    from clbench.fisher import load

    weights, path = folder / "weights.safetensors", folder / "fisher.safetensors"
    words = ("scenario=scole", "strategy=naive", "scenario.n_tasks=3", "model.hidden=[8]")
    assert main(["run", *words, "-q", "--out", str(folder / "runs")]) == 0
    [run] = (folder / "runs").glob("*/*/seed0")
    assert main(["export", str(run), str(weights)]) == 0
    more = ("data=digits", "model=mlp", "model.hidden=[8]", "samples=64")
    assert main(["fisher", "compute", str(weights), str(path), *more]) == 0
    return path, lambda: load(path)
