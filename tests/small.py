"""A small world for the engine's tests: blobs in memory, runs over them, runs of a few seconds."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import torch

from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.data.pool import Arrays, Pool, TensorPool
from clbench.engine.assemble import assemble
from clbench.engine.build import Run, prepare
from clbench.engine.harness import Outcome, run_stream, start_ledger
from clbench.results.record import Record
from clbench.strategy import Strategy

CPU = torch.device("cpu")


def arrays(
    n_classes: int = 4, n_train: int = 12, n_test: int = 5, shape: tuple[int, ...] = (6,)
) -> Arrays:
    """Well separated blobs; uint8 images where ``shape`` has more than one dimension.

    The values come from sine waves and no generator, so that they never change.
    """
    size = int(np.prod(shape))

    def split(n: int, phase: float) -> tuple[np.ndarray, np.ndarray]:
        y = np.repeat(np.arange(n_classes), n)
        at = np.arange(len(y) * size).reshape(len(y), size)
        noise = np.sin(at * 12.9898 + phase) * 0.6
        centre = np.cos(np.arange(n_classes)[:, None] * 2.7 + np.arange(size)[None] * 1.3)
        x = np.round(centre[y] + noise, 4)
        if len(shape) > 1:
            return (120 + 60 * x).clip(0, 255).astype(np.uint8).reshape(-1, *shape), y
        return x.astype(np.float32), y

    train_x, train_y = split(n_train, 0.0)
    test_x, test_y = split(n_test, 1.0)
    scale = 1 / 255 if len(shape) > 1 else 1.0
    return Arrays(train_x, train_y, test_x, test_y, n_classes, scale)


@cache
def pool(
    n_classes: int = 4, n_train: int = 12, n_test: int = 5, shape: tuple[int, ...] = (6,)
) -> TensorPool:
    return TensorPool(arrays(n_classes, n_train, n_test, shape), CPU)


def write_npz(path: Path, **sizes: int) -> Path:
    a = arrays(**sizes)
    np.savez(path, train_x=a.train_x, train_y=a.train_y, test_x=a.test_x, test_y=a.test_y)
    return path


def run(*words: str, on: Pool | None = None, device: torch.device = CPU) -> Run:
    """A run over a pool on a device, without reading any data set."""
    given = {word.partition("=")[0] for word in words}
    extra = [f"device={device}"]
    extra += [] if "model" in given else ["model=mlp", "model.hidden=[8]"]
    [point] = sweep([*words, *extra])
    config = resolve_point(point)
    pools = {(config.data, device, config.common.evaluate_on): pool() if on is None else on}
    return prepare(config, pools)


def go(
    run: Run,
    strategy: Strategy | None = None,
    save: object = None,
) -> tuple[Strategy, Outcome]:
    """The whole run in memory."""
    strategy = run.strategy() if strategy is None else strategy
    return strategy, run_stream(run, strategy, start_ledger(run), save=save)  # type: ignore[arg-type]


def record_of(run: Run, strategy: Strategy, outcome: Outcome) -> Record:
    return assemble(run, strategy, outcome, datetime.now(UTC))


def short_record(strategy: str = "naive", seed: int = 0, *words: str) -> Record:
    """Of a run over two tasks of SCoLE."""
    one = run(
        "scenario=scole", "scenario.n_tasks=2", f"strategy={strategy}", f"seed={seed}", *words
    )
    return record_of(one, *go(one))


def points(*words: str, npz: Path) -> list[dict[str, object]]:
    """A sweep over an npz file, small enough for tests of whole run folders."""
    extra: Sequence[str] = ("data=npz", f"data.path={npz}", "device=cpu", "model=mlp")
    return sweep([*words, *extra, "model.hidden=[8]"])


def copies(records: Sequence[Record], n: int, folder: Path, first: int = 0) -> None:
    """Records of so many runs in a folder, every one an arm of its own."""
    for k in range(first, first + n):
        record = records[k % len(records)]
        config = copy.deepcopy(record.config)
        config["strategy"]["lr"] = 0.001 * (k + 1)
        (folder / f"{k:03}").mkdir(parents=True)
        own = hashlib.sha256(str(k).encode()).hexdigest()
        one = dataclasses.replace(record, config=config, config_sha256=own, run_sha256=own)
        one.save(folder / f"{k:03}" / "record.json")
