"""Flipped bits: a damaged file is refused or made anew, and never used."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from clbench.data import latent_cache
from clbench.errors import ClbenchError
from clbench.util.files import FileError


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
    """The flipped bits with which ``read`` neither raises nor returns what it did before.

    JSON has two ways to write ``1e-5``, and an archive's dates mean nothing.
    """
    found = []
    wanted = read()
    for at in flipped(path, n, seed):
        try:
            same = read() == wanted
        except (ClbenchError, FileError, latent_cache.Damaged):
            continue
        if not same:
            found.append(at)
    return found


def strictly(load: Callable[[], object]) -> Callable[[], object]:
    """A reader whose every return counts as a difference: only an error is a notice."""

    def read() -> object:
        load()
        return object()

    return read


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
    return path, strictly(lambda: checkpoint.load(path, "it", torch.device("cpu")))


def fisher_file(folder: Path) -> tuple[Path, Callable[[], object]]:
    """A released Fisher, and what reads it."""
    from clbench.cli import main
    from clbench.fisher import load

    weights, path = folder / "weights.safetensors", folder / "fisher.safetensors"
    words = ("scenario=scole", "strategy=naive", "scenario.n_tasks=3", "model.hidden=[8]")
    assert main(["run", *words, "-q", "--out", str(folder / "runs")]) == 0
    [run] = (folder / "runs").glob("*/*/seed0")
    assert main(["export", str(run), "--weights", str(weights)]) == 0
    more = ("data=digits", "model=mlp", "model.hidden=[8]", "--samples", "64", "-q")
    files = ("--weights", str(weights), "--out", str(path))
    assert main(["fisher", "compute", *more, *files]) == 0
    return path, strictly(lambda: load(path))


def record_files(folder: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """A run's record and that of an entry, and what reads each."""
    import shutil

    from clbench.cli import main
    from clbench.leaderboard.entry import read_record
    from clbench.results.record import Record

    words = ("scenario=scole", "strategy=ewc", "scenario.n_tasks=3", "model.hidden=[8]")
    assert main(["run", *words, "-q", "--out", str(folder / "recorded")]) == 0
    [path] = folder.glob("recorded/*/*/seed0/record.json")
    entered = shutil.copy(path, folder / "seed0.json")
    return {
        "a record": (path, lambda: Record.load(path)),
        "an entry's record": (entered, lambda: read_record(entered)),
    }


def cache_files(folder: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """Two caches, and what reads each: latents and their metadata, and an archive of arrays.

    A damaged archive is made anew, which is as good as an error.
    """
    import os

    import numpy as np

    from clbench.cli import main
    from clbench.data import array_cache

    os.environ[latent_cache.CACHE_VARIABLE] = str(folder / "cache")
    words = ("scenario=scole", "strategy=naive", "scenario.n_tasks=2", "encoder=random")
    assert main(["run", *words, "-q", "--out", str(folder / "encoded")]) == 0
    [entry] = latent_cache.entries()
    arrays = {"a": np.arange(50), "b": np.ones((3, 4))}

    def cached() -> bool:
        found = array_cache.fetch("tests", {"n": 1}, lambda: dict(arrays))
        return all(np.array_equal(found[name], arrays[name]) for name in arrays)

    cached()
    [archive] = (folder / "cache" / "tests").glob("*.npz")
    return {
        "latents": (entry / "latents.npy", lambda: latent_cache.open_checked(entry)[0].tolist()),
        "metadata of latents": (entry / "meta.json", lambda: latent_cache.read_meta(entry)),
        "an archive of arrays": (archive, cached),
    }


def files(folder: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """Every kind of file that is read back, and what reads it."""
    return {
        "a checkpoint": checkpoint_file(folder),
        "a released Fisher": fisher_file(folder),
        **record_files(folder),
        **cache_files(folder),
    }
