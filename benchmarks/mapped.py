"""A data set larger than memory: what a run holds of it, and how fast its batches come.

Run by hand, ``python benchmarks/mapped.py [--gigabytes 8] [--tasks 10] [--dir DIR]``. It writes a
generated set of images of 32x32 pixels into one file under ``--dir``, measures, and removes it. All on
one thread:

- ``training``: ``naive`` on a class-incremental stream over the mapped set, and its evaluations, in a
  process of its own. Peak ``RssAnon`` is the anonymous memory of that process; pages of the file, which
  the system takes back when it needs them, do not count in it.
- ``batches``: random batches of the whole set, by the mapped pool, by torch's ``DataLoader`` with two
  workers that map the same file, and by such a map alone. Warm: the file is in the page cache, and the
  figure is samples per CPU second, workers included. Cold: the system is told to forget the file
  (``posix_fadvise``), and the figure is samples per second of the clock. The arms take turns; the table
  has the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clbench.data.mapped import Decoded, FileRows, MappedPool
from clbench.data.pixel_file import PixelFile

SHAPE = (3, 32, 32)
ROW = 3 * 32 * 32
N_CLASSES, BATCH, ROUNDS = 100, 256, 5
CPU = torch.device("cpu")


def generate(path: Path, n: int) -> None:
    """Write ``n`` images: noise on a pattern of the class, which is ``number % N_CLASSES``."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 192, (N_CLASSES, ROW), dtype=np.uint8)
    with path.open("wb") as file:
        for start in range(0, n, 8192):
            numbers = np.arange(start, min(n, start + 8192))
            noise = rng.integers(0, 64, (len(numbers), ROW), dtype=np.uint8)
            file.write((noise + patterns[numbers % N_CLASSES]).data)
        file.flush()
        os.fsync(file.fileno())


def data_of(path: Path) -> Decoded:
    """The set: a tenth, at most 50,000 images, is for testing."""
    n = path.stat().st_size // ROW
    n_test = min(n // 10, 50_000)
    sides = {"train": np.arange(n - n_test), "test": np.arange(n - n_test, n)}
    file = PixelFile(path, n, SHAPE)
    labels = np.arange(n) % N_CLASSES
    return Decoded(file, f"{path} {path.stat().st_mtime_ns}", labels, sides, N_CLASSES)  # type: ignore[arg-type]


def anonymous() -> int:
    """Bytes of this process's anonymous memory (RssAnon)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell RssAnon")


def train(path: Path, n_tasks: int) -> dict[str, float]:
    """Train and evaluate; the peak is looked at after every optimizer step and evaluation batch."""
    from clbench.configure.config import resolve_point
    from clbench.engine.build import prepare
    from clbench.engine.harness import run_stream, start_ledger

    torch.set_num_threads(1)
    peak, looks = 0, 0

    def look(*_: object) -> None:
        nonlocal peak, looks
        looks += 1
        if looks % 16 == 1:
            peak = max(peak, anonymous())

    pool = MappedPool(data_of(path), CPU)
    words = {"scenario": "class_incremental", "scenario.n_tasks": n_tasks, "strategy": "naive"}
    more = {"model": "linear", "strategy.batch_size": BATCH, "device": "cpu", "eval_every": 1}
    config = resolve_point({**words, **more})
    run = prepare(config, {(config.data, CPU, config.common.evaluate_on): pool})
    strategy = run.strategy()
    strategy.register_forward_hook(look)
    strategy.model.register_forward_hook(look)
    started = time.perf_counter()
    outcome = run_stream(run, strategy, start_ledger(run))
    if outcome.error is not None:
        raise outcome.error
    return {
        "samples": outcome.ledger.samples,
        "evaluations": len(outcome.ledger.evaluated_after),
        "task_gb": pool.size("train") / n_tasks * ROW / 1e9,
        "peak_mb": max(peak, anonymous()) / 1e6,
        "seconds": time.perf_counter() - started,
        "accuracy": sum(outcome.ledger.correct[-1]) / pool.size("test"),
    }


class Mapped(Dataset[Tensor]):
    """The same file as torch's users map it."""

    def __init__(self, path: Path, order: np.ndarray) -> None:
        self.x, self.order = np.memmap(path, np.uint8, "r").reshape(-1, *SHAPE), order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> Tensor:
        return torch.from_numpy(np.array(self.x[self.order[number]]))


def arms(path: Path) -> dict[str, Callable[[np.ndarray], Iterator[Tensor]]]:
    """Ways to get the images of an order in batches."""
    file = data_of(path).file

    def loader(order: np.ndarray) -> Iterator[Tensor]:
        return iter(DataLoader(Mapped(path, order), BATCH, num_workers=2))

    def a_map(order: np.ndarray) -> Iterator[Tensor]:
        x = np.memmap(path, np.uint8, "r").reshape(-1, *SHAPE)
        return (torch.from_numpy(x[order[at : at + BATCH]]) for at in range(0, len(order), BATCH))

    return {
        "mapped pool": lambda order: FileRows(file, order, CPU).batches(BATCH),
        "DataLoader, 2 workers": loader,
        "memory map": a_map,
    }


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def forget(path: Path) -> None:
    """Have the system drop the file from its cache."""
    number = os.open(path, os.O_RDONLY)
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)


def rates(path: Path, n: int, cold: bool) -> dict[str, list[float]]:
    """Samples per second of each arm and round: of the clock if cold, of the CPU if warm."""
    total = path.stat().st_size // ROW
    found: dict[str, list[float]] = {name: [] for name in arms(path)}
    for round_ in range(ROUNDS):
        order = np.random.default_rng(round_).choice(total, n, replace=False)
        for name, arm in arms(path).items():
            if cold:
                forget(path)
            else:
                for _ in arms(path)["memory map"](order):
                    pass
            clock, cpu, seen = time.perf_counter(), cpu_seconds(), 0
            batches = arm(order)
            for batch in batches:
                seen += len(batch)
            del batches
            used = time.perf_counter() - clock if cold else cpu_seconds() - cpu
            assert seen == n
            found[name].append(n / used)
    return found


def table(path: Path, n_warm: int, n_cold: int) -> None:
    """Measure the arms and print the table."""
    warm, cold = rates(path, n_warm, False), rates(path, n_cold, True)
    base = "DataLoader, 2 workers"
    print("| batches of 256 | warm: images per CPU second | × | cold: images per second | × |")
    print("| --- | --- | --- | --- | --- |")
    for name in warm:
        cells = []
        for found in (warm, cold):
            ratios = [a / b for a, b in zip(found[name], found[base], strict=True)]
            cells += [f"{statistics.median(found[name]):,.0f}", f"{statistics.median(ratios):.1f}"]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Parse, generate, measure, print, remove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.train:
        print(json.dumps(train(args.train, args.tasks)))
        return
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        path = Path(folder) / "pixels.u8"
        n = int(args.gigabytes * 1e9) // ROW
        generate(path, n)
        environment = {**os.environ, "CLBENCH_CACHE": folder}
        command = [sys.executable, __file__, "--train", str(path), f"--tasks={args.tasks}"]
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(done.stdout)
        print(
            f"{path.stat().st_size / 1e9:.1f} GB, {n:,} images in {args.tasks} tasks of "
            f"{found['task_gb']:.2f} GB: peak anonymous memory {found['peak_mb']:.0f} MB, "
            f"{found['samples']:,} samples and "
            f"{found['evaluations']} evaluations in {found['seconds']:.0f} s, accuracy "
            f"{found['accuracy']:.3f}"
        )
        table(path, min(n, 100_000), min(n, 20_000))


if __name__ == "__main__":
    main()
